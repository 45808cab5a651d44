#include "ipc/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL /* Linux 6.3 */
#define MFD_NOEXEC_SEAL 8u
#endif
#define SEALS_ALL (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

int memory_new(void)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = memfd_create("perceptd", flags | MFD_NOEXEC_SEAL);

    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("perceptd", flags);
    return fd < 0 ? -errno : fd;
}

int memory_write(int fd, const void *data, size_t size)
{
    const uint8_t *next = data;

    while (size > 0) {
        ssize_t n = write(fd, next, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        next += n;
        size -= (size_t)n;
    }
    return 0;
}

int memory_seal(int fd)
{
    return fcntl(fd, F_ADD_SEALS, SEALS_ALL) < 0 ? -errno : 0;
}

int memory_is_sealed(int fd)
{
    int seals = fcntl(fd, F_GET_SEALS);

    return seals >= 0 && (seals & MEMORY_SEALS_REQUIRED) == MEMORY_SEALS_REQUIRED;
}
