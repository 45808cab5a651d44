#include "ipc/input.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "engine/base/cleanup.h"
#include "ipc/memory.h"

#define CHUNK      (256u << 10)
#define STACK_SIZE (64u << 10)

struct Input {
    InputEvents events;
    int fd, memfd, done_fd;
    mode_t type;
    uint64_t max_bytes;
    uint64_t deadline_usec;
    bool abandoned; /* the loop's thread only */
    sd_event_source *done_source, *timer;
    Failure failure;
    int result;
};

int input_from_bytes(const void *data, size_t size)
{
    _cleanup_close_ int fd = memory_new();
    int r = fd;

    if (r >= 0)
        r = memory_write(fd, data, size);
    if (r >= 0)
        r = memory_seal(fd);
    return r < 0 ? r : steal_fd(&fd);
}

static int fail_descriptor(Failure *failure)
{
    return failure_set(failure, ERROR_BAD_DESCRIPTOR,
                       "Pass a readable file, a memfd, a pipe or a socket.");
}

static int fail_size(uint64_t max_bytes, Failure *failure)
{
    return failure_set(failure, ERROR_TOO_LARGE, "The media have more than %llu bytes.",
                       (unsigned long long)max_bytes);
}

static int descriptor_type(int fd, mode_t *ret_type, uint64_t *ret_size, Failure *failure)
{
    struct statx sx;
    int flags = fcntl(fd, F_GETFL);

    /* A file system in user space is not asked: what it said last is enough to tell the kind. */
    if (flags < 0 || (flags & O_PATH) || (flags & O_ACCMODE) == O_WRONLY ||
        statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_SIZE, &sx) < 0)
        return fail_descriptor(failure);
    mode_t type = sx.stx_mode & S_IFMT;
    if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK)
        return fail_descriptor(failure);
    *ret_type = type;
    *ret_size = sx.stx_size;
    return 0;
}

int input_check(int fd, uint64_t max_bytes, Failure *failure)
{
    mode_t type;
    uint64_t size;
    int r = descriptor_type(fd, &type, &size, failure);

    if (r < 0)
        return r;
    if (type != S_IFREG)
        return 0;
    if (size > max_bytes)
        return fail_size(max_bytes, failure);
    return memory_is_sealed(fd);
}

static uint64_t now_usec(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static ssize_t read_file(const Input *in, uint8_t *buffer, size_t size, uint64_t offset)
{
    return pread(in->fd, buffer, size, (off_t)offset);
}

/* A client may hold the same end and take what poll() saw, so that a read() would wait: neither
 * call here does. */
static ssize_t read_pipe(const Input *in, uint8_t *buffer, size_t size)
{
    if (in->type == S_IFSOCK)
        return recv(in->fd, buffer, size, MSG_DONTWAIT);
    return splice(in->fd, NULL, in->memfd, NULL, size, SPLICE_F_NONBLOCK);
}

/* Waits for bytes or the end; -ETIMEDOUT. */
static int wait_readable(const Input *in)
{
    uint64_t now = now_usec();
    struct pollfd p = {.fd = in->fd, .events = POLLIN};
    int n;

    if (now >= in->deadline_usec)
        return -ETIMEDOUT;
    n = poll(&p, 1, (int)((in->deadline_usec - now) / 1000) + 1);
    return n < 0 && errno != EINTR ? -errno : 0;
}

/* Copies to the end. Bytes of a pipe go to the memfd in the kernel, the others through the
 * buffer. */
static int copy_all(Input *in, uint8_t *buffer)
{
    uint64_t total = 0;

    for (;;) {
        ssize_t n = in->type == S_IFREG ? read_file(in, buffer, CHUNK, total)
                                        : read_pipe(in, buffer, CHUNK);
        int r = 0;

        if (n == 0)
            return 0;
        if (n < 0 && errno == EAGAIN)
            r = wait_readable(in);
        else if (n < 0 && errno != EINTR)
            r = -errno;
        else if (n > 0 && (total += (uint64_t)n) > in->max_bytes)
            r = -EFBIG;
        else if (n > 0 && in->type != S_IFIFO)
            r = memory_write(in->memfd, buffer, (size_t)n);
        if (r >= 0 && now_usec() >= in->deadline_usec)
            r = -ETIMEDOUT;
        if (r < 0)
            return r;
    }
}

static void input_explain(Input *in, int r)
{
    if (r == -EFBIG)
        fail_size(in->max_bytes, &in->failure);
    else if (r == -ETIMEDOUT)
        failure_set(&in->failure, ERROR_TIMEOUT,
                    "The descriptor gave no end in time: close its writer.");
    else if (r == -ENOMEM || r == -ENOSPC)
        failure_set(&in->failure, ERROR_NO_MEMORY, "Out of memory.");
    else
        failure_set(&in->failure, ERROR_BAD_DESCRIPTOR, "The descriptor cannot be read.");
}

static void *input_thread(void *userdata)
{
    Input *in = userdata;
    _cleanup_free_ uint8_t *buffer = malloc(CHUNK);
    int r = buffer ? copy_all(in, buffer) : -ENOMEM;

    if (r >= 0)
        r = memory_seal(in->memfd);
    if (r < 0)
        input_explain(in, r);
    in->result = r;
    /* The loop's thread reads what stands above only after this. */
    eventfd_write(in->done_fd, 1);
    return NULL;
}

static void input_free(Input *in)
{
    sd_event_source_disable_unref(in->done_source);
    sd_event_source_disable_unref(in->timer);
    if (in->fd >= 0)
        close(in->fd);
    if (in->memfd >= 0)
        close(in->memfd);
    if (in->done_fd >= 0)
        close(in->done_fd);
    free(in);
}

static void input_tell(Input *in, int memfd, const Failure *failure)
{
    in->timer = sd_event_source_disable_unref(in->timer);
    if (in->abandoned) {
        if (memfd >= 0)
            close(memfd);
        return;
    }
    in->abandoned = true;
    in->events.done(in->events.userdata, memfd, failure);
}

static int on_done(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    Input *in = userdata;
    InputEvents told = in->events;
    eventfd_t count;

    (void)source, (void)events;
    if (eventfd_read(fd, &count) < 0)
        return 0;
    input_tell(in, in->result < 0 ? -1 : steal_fd(&in->memfd), &in->failure);
    input_free(in);
    told.released(told.userdata);
    return 0;
}

/* The thread did not notice the deadline by itself, so it hangs in the file system. */
static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
    Failure failure;

    (void)source, (void)usec;
    failure_set(&failure, ERROR_TIMEOUT, "The descriptor could not be read in time.");
    input_tell(userdata, -1, &failure);
    return 0;
}

void input_abandon(Input *in)
{
    in->timer = sd_event_source_disable_unref(in->timer);
    in->abandoned = true;
}

static int thread_start(Input *in)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int r;

    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    r = -pthread_create(&thread, &attributes, input_thread, in);
    pthread_attr_destroy(&attributes);
    return r;
}

int input_start(sd_event *event, int fd, uint64_t max_bytes, unsigned deadline_msec,
                const InputEvents *events, Input **ret_input)
{
    Input *in = calloc(1, sizeof *in);
    uint64_t grace = (uint64_t)deadline_msec * 1000 + 500000;
    uint64_t size;
    int r;

    if (!in)
        return -ENOMEM;
    *in = (Input){.events = *events, .fd = -1, .done_fd = -1, .max_bytes = max_bytes};
    in->deadline_usec = now_usec() + (uint64_t)deadline_msec * 1000;
    in->memfd = memory_new();
    in->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r = in->memfd < 0 || in->done_fd < 0 ? -EMFILE : 0;
    if (r >= 0)
        r = descriptor_type(fd, &in->type, &size, &in->failure);
    if (r >= 0)
        r = sd_event_add_io(event, &in->done_source, in->done_fd, EPOLLIN, on_done, in);
    if (r >= 0)
        r = sd_event_add_time_relative(event, &in->timer, CLOCK_MONOTONIC, grace, 0, on_deadline,
                                       in);
    if (r >= 0) {
        in->fd = fd;
        r = thread_start(in);
    }
    if (r < 0) {
        in->fd = -1; /* still the caller's */
        input_free(in);
        return r;
    }
    *ret_input = in;
    return 0;
}
