#include "daemon/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "engine/base/log.h"

#define MESSAGE_SIZE 512
#define WAITING_MAX  8 /* there are fewer first keys than this */

struct Notify {
    int fd;                 /* -1: nobody wants to be told */
    sd_event_source *ready; /* on while something waits */
    char waiting[WAITING_MAX][MESSAGE_SIZE];
    size_t n_waiting;
};

static bool try_send(Notify *n, const char *message)
{
    return send(n->fd, message, strlen(message), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ||
           (errno != EAGAIN && errno != ENOBUFS);
}

static void drop(Notify *n, size_t i)
{
    memmove(n->waiting[i], n->waiting[i + 1], (n->n_waiting - i - 1) * MESSAGE_SIZE);
    n->n_waiting--;
}

static void flush(Notify *n)
{
    while (n->n_waiting > 0 && try_send(n, n->waiting[0]))
        drop(n, 0);
    sd_event_source_set_enabled(n->ready, n->n_waiting > 0 ? SD_EVENT_ON : SD_EVENT_OFF);
}

static int on_ready(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    (void)source, (void)fd, (void)events;
    flush(userdata);
    return 0;
}

/* Connects to the socket that systemd names, by path or, with an @, by abstract name. */
static int connect_to(const char *name, int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    _cleanup_close_ int fd = -1;

    if ((*name != '/' && *name != '@') || length >= sizeof address.sun_path)
        return -EINVAL;
    memcpy(address.sun_path, name, length);
    if (*name == '@')
        address.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0)
        return -errno;
    *ret_fd = steal_fd(&fd);
    return 0;
}

int notify_new(sd_event *event, Notify **ret_notify)
{
    const char *name = getenv("NOTIFY_SOCKET");
    _cleanup_(notify_freep) Notify *n = calloc(1, sizeof *n);
    int r;

    if (!n)
        return -ENOMEM;
    n->fd = -1;
    if (name && *name) {
        r = connect_to(name, &n->fd);
        if (r < 0)
            log_warning("systemd cannot be told how things stand: %s.", strerror(-r));
    }
    if (n->fd >= 0) {
        r = sd_event_add_io(event, &n->ready, n->fd, EPOLLOUT, on_ready, n);
        if (r >= 0)
            r = sd_event_source_set_enabled(n->ready, SD_EVENT_OFF);
        if (r < 0)
            return r;
    }
    *ret_notify = steal_ptr(&n);
    return 0;
}

Notify *notify_free(Notify *n)
{
    if (!n)
        return NULL;
    if (n->ready)
        flush(n);
    sd_event_source_disable_unref(n->ready);
    if (n->fd >= 0)
        close(n->fd);
    free(n);
    return NULL;
}

static bool same_key(const char *a, const char *b)
{
    size_t n = strcspn(a, "=");

    return n == strcspn(b, "=") && strncmp(a, b, n) == 0;
}

void notify_send(Notify *n, const char *format, ...)
{
    char message[MESSAGE_SIZE];
    va_list args;

    if (n->fd < 0)
        return;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (n->n_waiting == 0 && try_send(n, message))
        return;
    for (size_t i = n->n_waiting; i-- > 0;)
        if (same_key(n->waiting[i], message))
            drop(n, i);
    if (n->n_waiting == WAITING_MAX)
        drop(n, 0);
    strcpy(n->waiting[n->n_waiting++], message);
    flush(n);
}
