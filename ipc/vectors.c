#include "ipc/vectors.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/collection-args.h"
#include "ipc/text.h"

static int fail_format(Failure *failure)
{
    return failure_set(failure, ERROR_INVALID_ARGS,
                       "The memfd must hold 'perceptv', u32 count, u32 0, the vectors, and count "
                       "times identifier and text, each with a NUL behind it.");
}

static uint32_t header_u32(const char *header, size_t offset)
{
    uint32_t value;

    memcpy(&value, header + offset, sizeof value);
    return le32toh(value);
}

static int parse_string(const char **next, const char *end, String *s, Failure *failure)
{
    const char *nul = memchr(*next, '\0', (size_t)(end - *next));

    if (!nul)
        return fail_format(failure);
    *s = (String){*next, (size_t)(nul - *next)};
    *next = nul + 1;
    if (!utf8_is_sound(s->data, s->length))
        return failure_set(failure, ERROR_INVALID_ARGS, "A text or identifier is not UTF-8.");
    return 0;
}

static int parse_item(const char **next, const char *end, ItemInput *item, String *text,
                      Failure *failure)
{
    int r = parse_string(next, end, &item->id, failure);

    if (r >= 0)
        r = args_check_name(item->id.data, "An identifier", failure);
    if (r >= 0)
        r = parse_string(next, end, text, failure);
    if (r >= 0 && text->length > LIMIT_TEXT_BYTES)
        r = failure_set(failure, ERROR_TOO_LARGE, "A text has more than %d bytes: shorten it.",
                        LIMIT_TEXT_BYTES);
    return r;
}

static int parse_items(const char *next, const char *end, size_t n, WorkArgs *args,
                       Failure *failure)
{
    CollectionArgs *c = &args->collection;

    c->items = calloc(n, sizeof *c->items);
    args->texts = calloc(n, sizeof *args->texts);
    if (!c->items || !args->texts)
        return -ENOMEM;
    for (; c->n_items < n; c->n_items++, args->n_texts++) {
        int r = parse_item(&next, end, &c->items[c->n_items], &args->texts[args->n_texts], failure);
        if (r < 0)
            return r;
    }
    return next == end ? 0 : fail_format(failure);
}

int vectors_parse(size_t space_length, WorkArgs *args, Failure *failure)
{
    size_t width = space_length * (args->options.dtype == VECTOR_F16 ? 2 : 4), n;
    const char *end = args->bulk + args->bulk_size;

    if (!args->collection.model)
        return failure_set(failure, ERROR_INVALID_ARGS,
                           "Say by the option model which digest's vectors these are.");
    if (args->bulk_size < VECTORS_HEADER_SIZE || memcmp(args->bulk, VECTORS_MAGIC, 8) != 0 ||
        header_u32(args->bulk, 12) != 0)
        return fail_format(failure);
    n = header_u32(args->bulk, 8);
    if (n == 0)
        return failure_set(failure, ERROR_INVALID_ARGS, "Vectors: give at least one.");
    if (n > (args->bulk_size - VECTORS_HEADER_SIZE) / width)
        return fail_format(failure);
    args->collection.vectors = (const uint8_t *)args->bulk + VECTORS_HEADER_SIZE;
    return parse_items(args->bulk + VECTORS_HEADER_SIZE + n * width, end, n, args, failure);
}
