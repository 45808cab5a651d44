/* A model's file: keys and tensors, then the tokenizer that its keys describe. */

#include <stdlib.h>
#include <string.h>

#include "engine/base/detokenizer.h"
#include "engine/base/utf8.h"
#include "tests/fuzz/fuzz.h"

#define TEXT "An apple\tand 12 p\xc3\xa4rs, \xff\n it's <|im_start|> a\xcc\x81\xe2\x82 "

/* Every byte that the parser vouches for must be there. */
static void tensors_read(const Weights *w)
{
    volatile uint8_t sink;

    for (size_t i = 0; i < weights_tensor_count(w); i++) {
        Tensor t;
        const uint8_t *data;

        if (!weights_tensor_at(w, i, &t)[0])
            abort();
        data = t.data;
        sink = data[0];
        sink = data[tensor_bytes(&t) - 1];
        (void)sink;
    }
}

/* What comes back is sound UTF-8, of any tokenizer. */
static void text_read(const Tokenizer *t, const int32_t *ids, size_t n)
{
    static Detokenizer d;
    size_t length;

    detokenizer_init(&d, t);
    for (size_t i = 0; i <= n; i++) {
        const char *text =
            i < n ? detokenizer_push(&d, ids[i], &length) : detokenizer_finish(&d, &length);
        for (size_t at = 0, step; at < length; at += step) {
            step = utf8_length(text + at, length - at);
            if (step == 0)
                abort();
        }
    }
}

/* Percept's tokens give back every byte. */
static void bytes_read(const Weights *w, const Tokenizer *t, const int32_t *ids, size_t n)
{
    WeightsString pre;
    size_t bytes = 0, length;

    if (weights_get_string(w, "tokenizer.ggml.pre", &pre) < 0 || pre.length != 7 ||
        memcmp(pre.data, "percept", 7) != 0 || tokenizer_spells_blanks(t))
        return;
    for (size_t i = 0; i < n; i++) {
        (void)tokenizer_piece(t, ids[i], &length);
        bytes += length;
    }
    if (bytes != sizeof TEXT - 1)
        abort();
}

static void tokenizer_use(const Weights *w, const Tokenizer *t)
{
    /* A byte that is no UTF-8 becomes three, and so may a blank; one blank may lead. */
    int32_t ids[3 * sizeof TEXT + 3];
    const TextPart parts[] = {{TEXT, sizeof TEXT - 1, true}, {TEXT, sizeof TEXT - 1, false}};
    size_t n;

    if (tokenizer_encode(t, TEXT, sizeof TEXT - 1, ids, sizeof ids / sizeof *ids, &n) < 0)
        abort();
    text_read(t, ids, n);
    bytes_read(w, t, ids, n);
    if (tokenizer_encode_parts(t, parts, 2, ids, sizeof ids / sizeof *ids, &n) == 0)
        text_read(t, ids, n);
    (void)tokenizer_is_stop(t, ids[0]);
    (void)tokenizer_control(t, "<|im_start|>");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[WEIGHTS_ERROR_MAX] = "";
    void *copy = NULL;
    Weights *w = NULL;
    Tokenizer *t = NULL;

    /* As long as the content, so that a sanitizer sees a step too far. */
    if (posix_memalign(&copy, 64, size ? size : 1) != 0)
        abort();
    memcpy(copy, data, size);
    if (weights_open_memory(copy, size, &w, error) < 0) {
        if (!error[0] || !memchr(error, '\0', sizeof error))
            abort();
    } else {
        tensors_read(w);
        if (tokenizer_new(w, &t) < 0) {
            if (!weights_error(w)[0])
                abort();
        } else {
            tokenizer_use(w, t);
        }
    }
    tokenizer_free(t);
    weights_close(w);
    free(copy);
    return 0;
}
