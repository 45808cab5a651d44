#include "engine/base/detokenizer.h"

#include <string.h>

#include "engine/base/utf8.h"

#define REPLACEMENT "\xef\xbf\xbd"
#define BLANK       "\xe2\x96\x81"

void detokenizer_init(Detokenizer *d, const Tokenizer *tokenizer)
{
    d->tokenizer = tokenizer;
    d->begun = false;
    d->n_waiting = 0;
}

/* Appends a piece's bytes to those that wait; blanks are spelt out, and the one that encoding put
 * in front of the text is taken off. */
static void piece_take(Detokenizer *d, const char *piece, size_t length)
{
    bool blanks = tokenizer_spells_blanks(d->tokenizer);

    if (blanks && !d->begun && tokenizer_leads_blank(d->tokenizer) && length >= 3 &&
        memcmp(piece, BLANK, 3) == 0) {
        piece += 3;
        length -= 3;
    }
    d->begun = true;
    for (size_t i = 0; i < length;) {
        bool blank = blanks && length - i >= 3 && memcmp(piece + i, BLANK, 3) == 0;

        d->waiting[d->n_waiting++] = blank ? ' ' : piece[i];
        i += blank ? 3 : 1;
    }
}

/* Whether these bytes, all that there are, begin a character that more could complete. */
static bool is_begun(const char *bytes, size_t n)
{
    uint8_t first = (uint8_t)bytes[0];
    size_t whole = first < 0xc2 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 1;

    return n < whole && utf8_broken(bytes, n) == n;
}

/* Text of what waits, but for a last character that may still be completed. */
static const char *text_take(Detokenizer *d, bool last, size_t *ret_length)
{
    size_t at = 0, length = 0;

    while (at < d->n_waiting) {
        const char *from = d->waiting + at;
        size_t left = d->n_waiting - at, sound = utf8_length(from, left);
        size_t put = sound ? sound : strlen(REPLACEMENT);

        if (!sound && !last && is_begun(from, left))
            break;
        memcpy(d->text + length, sound ? from : REPLACEMENT, put);
        length += put;
        at += sound ? sound : utf8_broken(from, left);
    }
    d->n_waiting -= at;
    memmove(d->waiting, d->waiting + at, d->n_waiting);
    *ret_length = length;
    return d->text;
}

const char *detokenizer_push(Detokenizer *d, int32_t id, size_t *ret_length)
{
    size_t length;
    const char *piece = tokenizer_piece(d->tokenizer, id, &length);

    if (length > 0)
        piece_take(d, piece, length);
    return text_take(d, false, ret_length);
}

const char *detokenizer_finish(Detokenizer *d, size_t *ret_length)
{
    return text_take(d, true, ret_length);
}
