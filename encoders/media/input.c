#include "encoders/media/input.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "encoders/media/media.h"

#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK)

static Reason input_copy(Input *in, int fd)
{
    size_t done = 0;

    in->data = mmap(NULL, in->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (in->data == MAP_FAILED) {
        in->data = NULL;
        return REASON_MEMORY;
    }
    while (done < in->size) {
        ssize_t n = pread(fd, in->data + done, in->size - done, (off_t)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) /* an error, or the file shrank meanwhile */
            return REASON_READ;
        done += (size_t)n;
    }
    return REASON_NONE;
}

static Reason input_map(Input *in, int fd)
{
    in->data = mmap(NULL, in->size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (in->data == MAP_FAILED) {
        in->data = NULL;
        return REASON_MEMORY;
    }
    return REASON_NONE;
}

Reason input_init(Input *in, int fd)
{
    struct stat st;
    int seals;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return REASON_NO_FILE;
    if (st.st_size == 0)
        return REASON_NO_BYTES;
    if (st.st_size > MEDIA_BYTES_MAX)
        return REASON_BYTES;
    in->size = (size_t)st.st_size;
    seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & SEALS) == SEALS ? input_map(in, fd) : input_copy(in, fd);
}

void input_deinit(Input *in)
{
    if (in->data)
        munmap(in->data, in->size);
    *in = (Input){0};
}
