#include "encoders/media/media.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "encoders/media/wire.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

/* How long killed processes are waited for where waiting is allowed. */
#define PATIENCE_MSEC 100
/* Killed and not dead yet, because they have much memory to give back or wait for a file system.
 * With so many of them no other is started. */
#define DYING_MAX 4

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

struct MediaHelper {
    char *program;
    pid_t pid; /* 0: not running */
    pid_t dying[DYING_MAX];
    size_t n_dying;
    int socket;
    int result; /* the memfd of the request under way; -1: idle */
    MediaRequest request;
    int64_t deadline_msec;
};

static int64_t now_msec(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int media_helper_new(const char *program, MediaHelper **ret_helper)
{
    _cleanup_(media_helper_freep) MediaHelper *h = calloc(1, sizeof *h);

    if (!h)
        return -ENOMEM;
    h->socket = h->result = -1;
    h->program = strdup(program);
    if (!h->program)
        return -ENOMEM;
    *ret_helper = steal_ptr(&h);
    return 0;
}

static void request_end(MediaHelper *h)
{
    if (h->result >= 0)
        close(h->result);
    h->result = -1;
}

size_t media_helper_reap(MediaHelper *h)
{
    size_t n = 0;

    for (size_t i = 0; i < h->n_dying; i++) {
        pid_t found = waitpid(h->dying[i], NULL, WNOHANG);
        if (found == 0 || (found < 0 && errno == EINTR))
            h->dying[n++] = h->dying[i];
    }
    h->n_dying = n;
    return n;
}

/* Ends the process. Its exit status is taken later, so that no zombie stays and nobody waits. There
 * is room for it: see helper_start(). */
static void helper_drop(MediaHelper *h)
{
    request_end(h);
    if (h->socket >= 0)
        close(h->socket);
    h->socket = -1;
    if (h->pid > 0) {
        kill(h->pid, SIGKILL);
        h->dying[h->n_dying++] = h->pid;
    }
    h->pid = 0;
    (void)media_helper_reap(h);
}

/* Until no more than so many are dying, or patience has ended. */
static void helper_wait(MediaHelper *h, size_t most)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    for (int i = 0; i < PATIENCE_MSEC && media_helper_reap(h) > most; i++)
        nanosleep(&moment, NULL);
}

MediaHelper *media_helper_free(MediaHelper *h)
{
    if (!h)
        return NULL;
    helper_drop(h);
    helper_wait(h, 0);
    free(h->program);
    free(h);
    return NULL;
}

/* A clean process: the socket as WIRE_FD, the caller's standard error, nothing else. */
static int helper_spawn(const MediaHelper *h, int socket, pid_t *ret_pid)
{
    char *const argv[] = {h->program, NULL};
#if WIRE_SANITIZED
    char *const *environment = environ; /* options of the sanitizers */
#else
    char *const environment[] = {NULL};
#endif
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    int error;

    sigemptyset(&none);
    sigfillset(&all);
    error = posix_spawn_file_actions_init(&actions);
    if (error != 0)
        return -error;
    error = posix_spawnattr_init(&attributes);
    if (error != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return -error;
    }
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    error = posix_spawn_file_actions_adddup2(&actions, socket, WIRE_FD);
    if (error == 0)
        error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (error == 0)
        error = posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    if (error == 0)
        error = posix_spawn_file_actions_addclosefrom_np(&actions, WIRE_FD + 1);
    if (error == 0)
        error = posix_spawn(ret_pid, h->program, &actions, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -error;
}

static int helper_start(MediaHelper *h)
{
    _cleanup_close_ int ours = -1, theirs = -1;
    int pair[2], r;

    if (h->pid > 0)
        return 0;
    if (media_helper_reap(h) == DYING_MAX)
        return -EAGAIN;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -errno;
    ours = pair[0];
    theirs = pair[1];
    /* Their end waits for requests. */
    if (fcntl(theirs, F_SETFL, 0) < 0)
        return -errno;
    r = helper_spawn(h, theirs, &h->pid);
    if (r < 0) {
        h->pid = 0;
        return r;
    }
    h->socket = steal_fd(&ours);
    return 0;
}

/* Memory for the result. Kernels before 6.3 do not know MFD_NOEXEC_SEAL. */
static int result_create(void)
{
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = memfd_create("percept-media", flags | MFD_NOEXEC_SEAL);

    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("percept-media", flags);
    return fd < 0 ? -errno : fd;
}

static int request_send(const MediaHelper *h, int fd, int result, const MediaRequest *request)
{
    union {
        char bytes[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    WireRequest wire = {
        .kind = request->kind,
        .max_patches = request->max_patches,
        .truncate_audio = request->truncate_audio,
    };
    struct iovec iov = {&wire, sizeof wire};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    int fds[2] = {fd, result};

    memcpy(wire.region, request->region, sizeof wire.region);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(c), fds, sizeof fds);
    return sendmsg(h->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int media_helper_submit(MediaHelper *h, int fd, const MediaRequest *request)
{
    _cleanup_close_ int result = -1;
    int r;

    if (h->result >= 0)
        return -EBUSY;
    if (fcntl(fd, F_GETFD) < 0)
        return -EINVAL;
    result = result_create();
    if (result < 0)
        return result;
    r = helper_start(h);
    if (r < 0)
        return r;
    r = request_send(h, fd, result, request);
    if (r == -EPIPE || r == -ECONNRESET) { /* it ended while it had nothing to do */
        helper_drop(h);
        r = helper_start(h);
        if (r >= 0)
            r = request_send(h, fd, result, request);
    }
    if (r < 0) {
        helper_drop(h);
        return r;
    }
    h->result = steal_fd(&result);
    h->request = *request;
    h->deadline_msec = now_msec() + MEDIA_TIMEOUT_MSEC;
    return 0;
}

int media_helper_fd(const MediaHelper *h)
{
    return h->result >= 0 ? h->socket : -1;
}

int media_helper_timeout_msec(const MediaHelper *h)
{
    int64_t left = h->deadline_msec - now_msec();

    if (h->result < 0)
        return -1;
    return left > 0 ? (int)left : 0;
}

void media_helper_cancel(MediaHelper *h)
{
    if (h->result >= 0)
        helper_drop(h);
}

void media_helper_renew(MediaHelper *h)
{
    if (h->result < 0)
        helper_drop(h);
}

/* Bytes of a result that a sound helper may have written; 0 when the reply is not believable. */
static size_t reply_bytes(const WireReply *r, const MediaRequest *request)
{
    if (request->kind != MEDIA_ANY && r->kind != request->kind)
        return 0;
    if (r->kind == MEDIA_IMAGE) {
        if (r->width == 0 || r->height == 0 || r->width > MEDIA_SIDE_MAX ||
            r->height > MEDIA_SIDE_MAX || (uint64_t)r->width * r->height > MEDIA_PIXELS_MAX)
            return 0;
        return (size_t)r->width * r->height * 3;
    }
    if (r->kind != MEDIA_AUDIO || r->n_samples > MEDIA_SECONDS_MAX * MEDIA_RATE)
        return 0;
    return r->n_samples * sizeof(float);
}

/* The helper is not trusted: once sealed, what it wrote can be checked and stays so. */
static int result_take(const MediaHelper *h, const WireReply *reply, Media *ret_media)
{
    size_t size = reply_bytes(reply, &h->request);
    struct stat st;
    void *map;

    if (size == 0 || fcntl(h->result, F_ADD_SEALS, SEALS) < 0)
        return -EBADMSG;
    if (fstat(h->result, &st) < 0 || st.st_size < (off_t)size)
        return -EBADMSG;
    map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, h->result, 0);
    if (map == MAP_FAILED)
        return -ENOMEM;
    *ret_media = (Media){
        .kind = (MediaKind)reply->kind,
        .truncated = reply->truncated != 0,
        .map = map,
        .map_size = size,
    };
    if (reply->kind == MEDIA_IMAGE) {
        ret_media->rgb = map;
        ret_media->width = reply->width;
        ret_media->height = reply->height;
        ret_media->source_width = reply->source_width;
        ret_media->source_height = reply->source_height;
    } else {
        ret_media->samples = map;
        ret_media->n_samples = reply->n_samples;
        ret_media->source_rate = reply->source_rate;
        ret_media->source_channels = reply->source_channels;
    }
    return 0;
}

static int refuse(Reason reason, const char **ret_message)
{
    *ret_message = reason_message(reason);
    return reason_error(reason);
}

int media_helper_receive(MediaHelper *h, Media *ret_media, const char **ret_message)
{
    WireReply reply;
    ssize_t n;
    int r;

    if (h->result < 0)
        return -EINVAL;
    do
        n = recv(h->socket, &reply, sizeof reply, MSG_DONTWAIT | MSG_TRUNC);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        if (media_helper_timeout_msec(h) > 0)
            return -EAGAIN;
        helper_drop(h);
        return refuse(REASON_TIMEOUT, ret_message);
    }
    if (n != sizeof reply || reply.reason >= _REASON_COUNT) {
        helper_drop(h);
        return refuse(REASON_CRASHED, ret_message);
    }
    r = reply.reason == REASON_NONE ? result_take(h, &reply, ret_media) : 0;
    if (r == -EBADMSG) {
        helper_drop(h);
        return refuse(REASON_CRASHED, ret_message);
    }
    request_end(h);
    if (reply.retiring)
        helper_drop(h);
    if (r < 0) {
        *ret_message = "no memory";
        return r;
    }
    return refuse((Reason)reply.reason, ret_message);
}

int media_decode(MediaHelper *h, int fd, const MediaRequest *request, Media *ret_media,
                 const char **ret_message)
{
    int r;

    helper_wait(h, DYING_MAX - 1);
    r = media_helper_submit(h, fd, request);
    if (r < 0) {
        *ret_message = r == -EINVAL  ? "not a descriptor"
                       : r == -EBUSY ? "the media helper is at work for somebody else"
                                     : "the media helper cannot be started";
        return r;
    }
    do {
        struct pollfd p = {.fd = media_helper_fd(h), .events = POLLIN};

        poll(&p, 1, media_helper_timeout_msec(h));
        r = media_helper_receive(h, ret_media, ret_message);
    } while (r == -EAGAIN);
    return r;
}

void media_deinit(Media *m)
{
    if (m->map)
        munmap(m->map, m->map_size);
    *m = (Media){0};
}
