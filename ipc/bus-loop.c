#include "ipc/bus-loop.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>

#define DISPATCH_PER_TURN 16            /* so that timers and the watchdog run in between */
#define BACK_OFF_USEC     (100 * 1000u) /* before asking libdbus again after it ran out of memory */
#define WATCHES_PER_FD    4

/* libdbus registers two watches on one descriptor, which epoll refuses: one source per
 * descriptor stands for all of them, with the union of their masks. */
typedef struct BusFd {
    LIST_ENTRY(BusFd) link;
    BusLoop *loop;
    int fd;
    sd_event_source *source;
    DBusWatch *watches[WATCHES_PER_FD];
    bool handling; /* watches may be removed from inside dbus_watch_handle() */
} BusFd;

struct BusLoop {
    DBusConnection *connection;
    sd_event *event;
    sd_event_source *dispatch;
    sd_event_source *back_off;
    sd_event_source *wakeup;
    int wakeup_fd;
    LIST_HEAD(BusFdList, BusFd) fds;
};

static uint32_t fd_events(const BusFd *f)
{
    uint32_t mask = 0;

    for (size_t i = 0; i < WATCHES_PER_FD; i++) {
        DBusWatch *w = f->watches[i];
        if (!w || !dbus_watch_get_enabled(w))
            continue;
        if (dbus_watch_get_flags(w) & DBUS_WATCH_READABLE)
            mask |= EPOLLIN;
        if (dbus_watch_get_flags(w) & DBUS_WATCH_WRITABLE)
            mask |= EPOLLOUT;
    }
    return mask;
}

/* epoll reports a hang-up even for an empty mask, so a descriptor nobody watches is switched
 * off. */
static void fd_update(BusFd *f)
{
    uint32_t mask = fd_events(f);

    sd_event_source_set_io_events(f->source, mask);
    sd_event_source_set_enabled(f->source, mask ? SD_EVENT_ON : SD_EVENT_OFF);
}

static bool fd_is_unused(const BusFd *f)
{
    for (size_t i = 0; i < WATCHES_PER_FD; i++)
        if (f->watches[i])
            return false;
    return true;
}

static void fd_free(BusFd *f)
{
    LIST_REMOVE(f, link);
    sd_event_source_disable_unref(f->source);
    free(f);
}

/* Stops reading and dispatching for a moment instead of spinning on memory that is not there. */
static void loop_back_off(BusLoop *l)
{
    BusFd *f;

    LIST_FOREACH(f, &l->fds, link)
        sd_event_source_set_enabled(f->source, SD_EVENT_OFF);
    sd_event_source_set_time_relative(l->back_off, BACK_OFF_USEC);
    sd_event_source_set_enabled(l->back_off, SD_EVENT_ONESHOT);
}

static int on_back_off(sd_event_source *source, uint64_t usec, void *userdata)
{
    BusLoop *l = userdata;
    BusFd *f;

    (void)source, (void)usec;
    LIST_FOREACH(f, &l->fds, link)
        fd_update(f);
    sd_event_source_set_enabled(l->dispatch, SD_EVENT_ONESHOT);
    return 0;
}

static unsigned flags_from_epoll(uint32_t events)
{
    return (events & EPOLLIN ? DBUS_WATCH_READABLE : 0) |
           (events & EPOLLOUT ? DBUS_WATCH_WRITABLE : 0) |
           (events & EPOLLERR ? DBUS_WATCH_ERROR : 0) | (events & EPOLLHUP ? DBUS_WATCH_HANGUP : 0);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    BusFd *f = userdata;
    unsigned happened = flags_from_epoll(events);

    (void)source, (void)fd;
    f->handling = true;
    for (size_t i = 0; i < WATCHES_PER_FD; i++) {
        DBusWatch *w = f->watches[i];
        if (!w || !dbus_watch_get_enabled(w))
            continue;
        unsigned wanted = dbus_watch_get_flags(w) | DBUS_WATCH_ERROR | DBUS_WATCH_HANGUP;
        if ((happened & wanted) && !dbus_watch_handle(w, happened & wanted))
            loop_back_off(f->loop);
    }
    f->handling = false;
    if (fd_is_unused(f))
        fd_free(f);
    return 0;
}

static int fd_new(BusLoop *l, int fd, BusFd **ret_fd)
{
    _cleanup_free_ BusFd *f = calloc(1, sizeof *f);
    int r;

    if (!f)
        return -ENOMEM;
    *f = (BusFd){.loop = l, .fd = fd};
    r = sd_event_add_io(l->event, &f->source, fd, 0, on_io, f);
    if (r < 0)
        return r;
    LIST_INSERT_HEAD(&l->fds, f, link);
    *ret_fd = steal_ptr(&f);
    return 0;
}

static dbus_bool_t watch_add(DBusWatch *watch, void *data)
{
    BusLoop *l = data;
    int fd = dbus_watch_get_unix_fd(watch);
    BusFd *f;

    LIST_FOREACH(f, &l->fds, link)
        if (f->fd == fd)
            break;
    if (!f && fd_new(l, fd, &f) < 0)
        return FALSE;
    for (size_t i = 0; i < WATCHES_PER_FD; i++)
        if (!f->watches[i]) {
            f->watches[i] = watch;
            dbus_watch_set_data(watch, f, NULL);
            fd_update(f);
            return TRUE;
        }
    return FALSE;
}

static void watch_remove(DBusWatch *watch, void *data)
{
    BusFd *f = dbus_watch_get_data(watch);

    (void)data;
    for (size_t i = 0; i < WATCHES_PER_FD; i++)
        if (f->watches[i] == watch)
            f->watches[i] = NULL;
    dbus_watch_set_data(watch, NULL, NULL);
    fd_update(f);
    if (!f->handling && fd_is_unused(f))
        fd_free(f);
}

static void watch_toggle(DBusWatch *watch, void *data)
{
    (void)data;
    fd_update(dbus_watch_get_data(watch));
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
    DBusTimeout *t = userdata;

    (void)usec;
    /* libdbus time-outs repeat until removed; arm before handling, which may remove this one. */
    sd_event_source_set_time_relative(source, (uint64_t)dbus_timeout_get_interval(t) * 1000);
    sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    dbus_timeout_handle(t);
    return 0;
}

static void timeout_toggle(DBusTimeout *timeout, void *data)
{
    sd_event_source *source = dbus_timeout_get_data(timeout);

    (void)data;
    sd_event_source_set_time_relative(source, (uint64_t)dbus_timeout_get_interval(timeout) * 1000);
    sd_event_source_set_enabled(source, dbus_timeout_get_enabled(timeout) ? SD_EVENT_ONESHOT
                                                                          : SD_EVENT_OFF);
}

static dbus_bool_t timeout_add(DBusTimeout *timeout, void *data)
{
    BusLoop *l = data;
    sd_event_source *source;

    if (sd_event_add_time_relative(l->event, &source, CLOCK_MONOTONIC,
                                   (uint64_t)dbus_timeout_get_interval(timeout) * 1000, 0,
                                   on_timeout, timeout) < 0)
        return FALSE;
    dbus_timeout_set_data(timeout, source, NULL);
    timeout_toggle(timeout, NULL);
    return TRUE;
}

static void timeout_remove(DBusTimeout *timeout, void *data)
{
    (void)data;
    sd_event_source_disable_unref(dbus_timeout_get_data(timeout));
    dbus_timeout_set_data(timeout, NULL, NULL);
}

static int on_dispatch(sd_event_source *source, void *userdata)
{
    BusLoop *l = userdata;
    DBusDispatchStatus status = DBUS_DISPATCH_DATA_REMAINS;

    for (unsigned i = 0; i < DISPATCH_PER_TURN && status == DBUS_DISPATCH_DATA_REMAINS; i++)
        status = dbus_connection_dispatch(l->connection);
    if (status == DBUS_DISPATCH_DATA_REMAINS)
        sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    else if (status == DBUS_DISPATCH_NEED_MEMORY)
        loop_back_off(l);
    return 0;
}

static void dispatch_status_changed(DBusConnection *c, DBusDispatchStatus status, void *data)
{
    BusLoop *l = data;

    (void)c;
    if (status == DBUS_DISPATCH_DATA_REMAINS)
        sd_event_source_set_enabled(l->dispatch, SD_EVENT_ONESHOT);
    else if (status == DBUS_DISPATCH_NEED_MEMORY)
        loop_back_off(l);
}

static void wakeup_main(void *data)
{
    BusLoop *l = data;

    eventfd_write(l->wakeup_fd, 1);
}

static int on_wakeup(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    BusLoop *l = userdata;
    eventfd_t count;

    (void)source, (void)events;
    eventfd_read(fd, &count);
    sd_event_source_set_enabled(l->dispatch, SD_EVENT_ONESHOT);
    return 0;
}

static int loop_init(BusLoop *l)
{
    int r;

    l->wakeup_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->wakeup_fd < 0)
        return -errno;
    r = sd_event_add_io(l->event, &l->wakeup, l->wakeup_fd, EPOLLIN, on_wakeup, l);
    if (r >= 0)
        r = sd_event_add_defer(l->event, &l->dispatch, on_dispatch, l);
    if (r >= 0)
        r = sd_event_add_time_relative(l->event, &l->back_off, CLOCK_MONOTONIC, BACK_OFF_USEC, 0,
                                       on_back_off, l);
    if (r >= 0)
        r = sd_event_source_set_enabled(l->back_off, SD_EVENT_OFF);
    if (r < 0)
        return r;
    if (!dbus_connection_set_watch_functions(l->connection, watch_add, watch_remove, watch_toggle,
                                             l, NULL) ||
        !dbus_connection_set_timeout_functions(l->connection, timeout_add, timeout_remove,
                                               timeout_toggle, l, NULL))
        return -ENOMEM;
    dbus_connection_set_dispatch_status_function(l->connection, dispatch_status_changed, l, NULL);
    dbus_connection_set_wakeup_main_function(l->connection, wakeup_main, l, NULL);
    /* The new dispatch source is armed once: messages may have arrived before the functions were
     * set. */
    return 0;
}

int bus_loop_attach(DBusConnection *connection, sd_event *event, BusLoop **ret_loop)
{
    _cleanup_(bus_loop_detachp) BusLoop *l = calloc(1, sizeof *l);
    int r;

    if (!l)
        return -ENOMEM;
    *l = (BusLoop){.connection = connection, .event = event, .wakeup_fd = -1};
    r = loop_init(l);
    if (r < 0)
        return r;
    *ret_loop = steal_ptr(&l);
    return 0;
}

BusLoop *bus_loop_detach(BusLoop *l)
{
    if (!l)
        return NULL;
    dbus_connection_set_wakeup_main_function(l->connection, NULL, NULL, NULL);
    dbus_connection_set_dispatch_status_function(l->connection, NULL, NULL, NULL);
    /* Setting no functions makes libdbus remove its watches and time-outs through the old ones. */
    (void)dbus_connection_set_timeout_functions(l->connection, NULL, NULL, NULL, NULL, NULL);
    (void)dbus_connection_set_watch_functions(l->connection, NULL, NULL, NULL, NULL, NULL);
    sd_event_source_disable_unref(l->back_off);
    sd_event_source_disable_unref(l->dispatch);
    sd_event_source_disable_unref(l->wakeup);
    if (l->wakeup_fd >= 0)
        close(l->wakeup_fd);
    free(l);
    return NULL;
}
