/* A model's file: keys and tensors, then the tokenizer that its keys describe. */

#include <stdlib.h>
#include <string.h>

#include "engine/base/tokenizer.h"
#include "tests/fuzz/fuzz.h"

#define TEXT "An apple\tand 12 p\xc3\xa4rs, \xff\n"

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

static void tokenizer_use(const Tokenizer *t)
{
    int32_t ids[sizeof TEXT];
    size_t n, bytes = 0;

    if (tokenizer_encode(t, TEXT, sizeof TEXT - 1, ids, sizeof TEXT, &n) < 0)
        abort();
    for (size_t i = 0; i < n; i++) {
        size_t length;

        (void)tokenizer_piece(t, ids[i], &length);
        bytes += length;
    }
    if (bytes != sizeof TEXT - 1)
        abort();
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
            tokenizer_use(t);
        }
    }
    tokenizer_free(t);
    weights_close(w);
    free(copy);
    return 0;
}
