#include "ipc/stream.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "ipc/limits.h"

struct Stream {
    int fd;
    uint32_t sequence;
    sd_event_source *source;
    StreamEvents events;
};

static int on_stream(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    Stream *s = userdata;

    (void)fd;
    if (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
        s->events.closed(s->events.userdata);
        return 0;
    }
    sd_event_source_set_io_events(source, EPOLLRDHUP);
    s->events.writable(s->events.userdata);
    return 0;
}

int stream_new(sd_event *event, const StreamEvents *events, Stream **ret_stream, int *ret_reader_fd)
{
    _cleanup_(stream_freep) Stream *s = calloc(1, sizeof *s);
    _cleanup_close_ int reader = -1;
    int fds[2], r;

    if (!s)
        return -ENOMEM;
    *s = (Stream){.fd = -1, .events = *events};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    /* Sends are MSG_DONTWAIT: O_NONBLOCK on our end only, the reader chooses for its own. */
    s->fd = fds[0];
    reader = fds[1];
    r = sd_event_add_io(event, &s->source, s->fd, EPOLLRDHUP, on_stream, s);
    if (r < 0)
        return r;
    *ret_stream = steal_ptr(&s);
    *ret_reader_fd = steal_fd(&reader);
    return 0;
}

Stream *stream_free(Stream *s)
{
    if (!s)
        return NULL;
    sd_event_source_disable_unref(s->source);
    if (s->fd >= 0)
        close(s->fd);
    free(s);
    return NULL;
}

int stream_send(Stream *s, StreamKind kind, const char *text, size_t n)
{
    uint8_t frame[STREAM_HEADER_SIZE + STREAM_PAYLOAD_MAX] = {0};
    uint32_t sequence = htole32(s->sequence);

    assert(n <= STREAM_PAYLOAD_MAX);
    memcpy(frame, &sequence, sizeof sequence);
    frame[4] = (uint8_t)kind;
    memcpy(frame + STREAM_HEADER_SIZE, text, n);
    if (send(s->fd, frame, STREAM_HEADER_SIZE + n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        if (errno == EAGAIN)
            sd_event_source_set_io_events(s->source, EPOLLRDHUP | EPOLLOUT);
        return -errno;
    }
    s->sequence++;
    return 0;
}
