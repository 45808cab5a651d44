#include "engine/base/vocab.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"

void vocab_deinit(Vocab *v)
{
    free(v->bytes);
    free(v->starts);
    free(v->types);
    free(v->pieces);
    free(v->merges);
    free(v->ranks);
    free(v->added);
}

const Merge *vocab_merge(const Vocab *v, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;

    for (size_t i = hash_u64(v->seed, pair);; i++) {
        const Merge *m = &v->merges[i & v->merges_mask];

        if (m->rank < 0)
            return NULL;
        if (m->pair == pair)
            return m;
    }
}

int32_t vocab_piece(const Vocab *v, const char *bytes, size_t length)
{
    if (length > v->longest)
        return -1;
    for (size_t i = hash_bytes(v->seed, bytes, length);; i++) {
        int32_t id = (int32_t)v->pieces[i & v->pieces_mask] - 1;

        if (id < 0 ||
            (vocab_length(v, id) == length && memcmp(v->bytes + v->starts[id], bytes, length) == 0))
            return id;
    }
}

/* The first of the sorted tokens [low, high), all alike up to `depth`, whose byte there is at
 * least `byte`; tokens that end at `depth` come before all. */
static size_t added_bound(const Vocab *v, size_t low, size_t high, size_t depth, unsigned byte)
{
    while (low < high) {
        size_t middle = (low + high) / 2;
        int32_t id = v->added[middle];
        bool before =
            vocab_length(v, id) <= depth || (uint8_t)v->bytes[v->starts[id] + depth] < byte;

        if (before)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Byte by byte, fewer and fewer of the sorted tokens begin as the text does. */
int32_t vocab_added(const Vocab *v, const char *text, size_t length, size_t markup,
                    size_t *ret_length)
{
    size_t low = 0, high = v->n_added;
    int32_t best = -1;

    if (length == 0 || !v->added_first[(uint8_t)text[0]])
        return -1;
    for (size_t depth = 0; depth < length && low < high; depth++) {
        unsigned byte = (uint8_t)text[depth];

        low = added_bound(v, low, high, depth, byte);
        high = added_bound(v, low, high, depth, byte + 1);
        if (low == high || vocab_length(v, v->added[low]) != depth + 1)
            continue;
        if (v->types[v->added[low]] == TOKEN_CONTROL && depth + 1 > markup)
            continue;
        best = v->added[low];
        *ret_length = depth + 1;
    }
    return best;
}
