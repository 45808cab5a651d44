#include "engine/base/direct.h"

#include <fcntl.h>
#include <stdio.h>

#include "engine/base/cleanup.h"

/* The page cache keeps a file in pieces of up to this size, and gives up whole ones alone. */
#define CACHE_PIECE (2u << 20)

/* Whether the file can be read directly in blocks of `block` bytes, by trying it. */
static bool block_works(int fd, char *buffer, size_t block)
{
    return pread(fd, buffer, block, (off_t)block) >= 0;
}

int direct_open(int origin, DirectFile *ret_file)
{
    _cleanup_free_ char *buffer = aligned_alloc(DIRECT_BLOCK_MAX, DIRECT_BLOCK_MAX);
    char path[32];

    if (!buffer)
        return -ENOMEM;
    snprintf(path, sizeof path, "/proc/self/fd/%d", origin);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
    for (size_t block = 512; fd >= 0 && block <= DIRECT_BLOCK_MAX; block *= 8)
        if (block_works(fd, buffer, block)) {
            *ret_file = (DirectFile){steal_fd(&fd), block, true};
            return 0;
        }
    int copy = fcntl(origin, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        return -errno;
    *ret_file = (DirectFile){copy, 512, false};
    return 0;
}

void direct_close(DirectFile *f)
{
    close(f->fd);
    f->fd = -1;
}

int64_t direct_read(const DirectFile *f, uint64_t offset, void *to, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = pread(f->fd, (char *)to + done, size - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        done += (size_t)n;
        if (n == 0 || (size_t)n % f->block != 0)
            break; /* the end: what follows a broken block could not be read directly */
    }
    direct_forget(f, offset, done);
    return (int64_t)done;
}

void direct_forget(const DirectFile *f, uint64_t offset, size_t size)
{
    uint64_t first = offset < CACHE_PIECE ? 0 : offset - CACHE_PIECE;

    if (!f->direct)
        (void)posix_fadvise(f->fd, (off_t)first, (off_t)(offset - first + size + CACHE_PIECE),
                            POSIX_FADV_DONTNEED);
}
