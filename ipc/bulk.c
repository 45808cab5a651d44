#include "ipc/bulk.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/args.h"
#include "ipc/memory.h"
#include "ipc/text.h"

static int fail_format(Failure *failure)
{
    return failure_set(failure, ERROR_INVALID_ARGS,
                       "The texts must be 'percept1', u32 count, u32 0, and count times UTF-8 "
                       "with a NUL behind it.");
}

/* Copied, not mapped: what a mapped hole or huge page costs would be ours to pay, or to die of. */
static int read_all(int fd, char *buffer, size_t size)
{
    for (size_t n = 0; n < size;) {
        ssize_t r = pread(fd, buffer + n, size - n, (off_t)n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? -errno : -EIO;
        n += (size_t)r;
    }
    return 0;
}

static uint32_t header_u32(const char *header, size_t offset)
{
    uint32_t value;

    memcpy(&value, header + offset, sizeof value);
    return le32toh(value);
}

static int parse_text(const char **next, const char *end, String *s, size_t i, Failure *failure)
{
    const char *nul = memchr(*next, '\0', (size_t)(end - *next));

    if (!nul)
        return fail_format(failure);
    *s = (String){*next, (size_t)(nul - *next)};
    *next = nul + 1;
    if (!utf8_is_sound(s->data, s->length))
        return failure_set(failure, ERROR_INVALID_ARGS, "Text %zu is not UTF-8.", i);
    return args_check_text(*s, i, failure);
}

int bulk_parse(size_t size, WorkArgs *args, Failure *failure)
{
    const char *next = args->bulk + BULK_HEADER_SIZE, *end = args->bulk + size;
    uint32_t n;

    if (size < BULK_HEADER_SIZE || memcmp(args->bulk, BULK_MAGIC, 8) != 0 ||
        header_u32(args->bulk, 12) != 0)
        return fail_format(failure);
    n = header_u32(args->bulk, 8);
    if (n == 0)
        return failure_set(failure, ERROR_INVALID_ARGS, "Texts: give at least one.");
    if (n > LIMIT_BULK_TEXTS)
        return failure_set(failure, ERROR_TOO_LARGE, "Texts: at most %d in one EmbedBulk.",
                           LIMIT_BULK_TEXTS);
    args->texts = calloc(n, sizeof *args->texts);
    if (!args->texts)
        return -ENOMEM;
    for (; args->n_texts < n; args->n_texts++) {
        int r = parse_text(&next, end, &args->texts[args->n_texts], args->n_texts, failure);
        if (r < 0)
            return r;
    }
    return next == end ? 0 : fail_format(failure);
}

int bulk_read(int fd, WorkArgs *args, Failure *failure)
{
    struct stat st;
    int r;

    if (fstat(fd, &st) < 0)
        return failure_set(failure, ERROR_BAD_DESCRIPTOR, "The descriptor cannot be read.");
    if (!memory_is_sealed(fd))
        return failure_set(failure, ERROR_NOT_SEALED,
                           "Seal the memfd with F_SEAL_SHRINK and F_SEAL_WRITE first.");
    if ((uint64_t)st.st_size > LIMIT_BULK_BYTES)
        return failure_set(failure, ERROR_TOO_LARGE, "The texts have more than %u bytes.",
                           LIMIT_BULK_BYTES);
    args->bulk = malloc((size_t)st.st_size + 1);
    if (!args->bulk)
        return -ENOMEM;
    args->bulk[st.st_size] = '\0';
    args->bulk_size = (size_t)st.st_size;
    r = read_all(fd, args->bulk, args->bulk_size);
    return r < 0 ? failure_set(failure, ERROR_BAD_DESCRIPTOR, "The descriptor cannot be read.") : 0;
}
