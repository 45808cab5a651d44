#include "ipc/request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ipc/names.h"
#include "ipc/options.h"

char *path_prefix(const char *base, const char *sender)
{
    char *prefix = NULL;

    /* A unique name is a colon and then what an object path allows, but for dots. */
    if (asprintf(&prefix, "%s%s/", base, sender + (*sender == ':')) < 0)
        return NULL;
    for (char *c = prefix + strlen(base); *c; c++)
        if (*c == '.' || *c == '-')
            *c = '_';
    return prefix;
}

Work *request_find(Peer *p, const char *path)
{
    Work *w;

    LIST_FOREACH(w, &p->works, link)
        if (w->request && strcmp(w->request->path, path) == 0)
            return w;
    return NULL;
}

int request_new(Work *w, Failure *failure)
{
    const char *token = w->args.options.handle_token;
    _cleanup_free_ char *prefix = path_prefix(PERCEPT_REQUESTS, w->peer->name), *path = NULL;

    if (!prefix)
        return -ENOMEM;
    do {
        free(path);
        path = NULL;
        if ((*token ? asprintf(&path, "%s%s", prefix, token)
                    : asprintf(&path, "%st%llu", prefix,
                               (unsigned long long)w->server->next_token++)) < 0) {
            path = NULL;
            return -ENOMEM;
        }
    } while (!*token && request_find(w->peer, path));
    if (request_find(w->peer, path))
        return failure_set(failure, ERROR_INVALID_ARGS,
                           "handle_token is that of a request you have not released.");
    w->request = calloc(1, sizeof *w->request);
    if (!w->request)
        return -ENOMEM;
    w->request->path = steal_ptr(&path);
    w->request->stage = "received";
    w->request->signals = w->args.options.signals;
    return 0;
}

/* To the client alone, and never without being asked for: others must not see it. NULL: there is
 * nobody to tell, or no memory; what a signal tells can be asked for. */
static DBusMessage *signal_begin(const Work *w, const char *member, Writer *writer)
{
    const Request *q = w->request;
    DBusMessage *m =
        q->signals && w->peer ? dbus_message_new_signal(q->path, PERCEPT_REQUEST, member) : NULL;

    if (m && !dbus_message_set_destination(m, w->peer->name)) {
        dbus_message_unref(m);
        return NULL;
    }
    if (m)
        writer_init(writer, m);
    return m;
}

static void signal_text(Work *w)
{
    Request *q = w->request;
    Writer writer;
    DBusMessage *m = q->signalled < q->text.length ? signal_begin(w, "Text", &writer) : NULL;

    if (!m)
        return;
    writer_string(&writer, q->text.data + q->signalled);
    q->signalled = q->text.length;
    server_signal(w->server, writer_end_message(&writer, m));
}

static void signal_progress(Work *w)
{
    Writer writer;
    DBusMessage *m = signal_begin(w, "Advanced", &writer);

    if (!m)
        return;
    writer_string(&writer, w->request->stage);
    writer_basic(&writer, DBUS_TYPE_DOUBLE, &w->request->progress);
    server_signal(w->server, writer_end_message(&writer, m));
}

/* result NULL: there was no memory for it. */
static void signal_done(Work *w, DBusMessage *result)
{
    const char *error = result ? dbus_message_get_error_name(result) : DBUS_ERROR_NO_MEMORY;
    Writer writer;
    DBusMessage *m;

    signal_text(w);
    m = signal_begin(w, "Done", &writer);
    if (!m)
        return;
    writer_string(&writer, error ? error : "");
    server_signal(w->server, writer_end_message(&writer, m));
}

void request_free(Request *q)
{
    if (!q)
        return;
    for (size_t i = 0; i < q->n_waiters; i++)
        dbus_message_unref(q->waiters[i]);
    if (q->result)
        dbus_message_unref(q->result);
    sd_event_source_disable_unref(q->expire);
    sd_event_source_disable_unref(q->stall);
    stream_free(q->stream);
    text_deinit(&q->text);
    sources_deinit(&q->sources);
    free(q->path);
    free(q);
}

/* A copy of the result, addressed to one waiter. */
static void send_result(Server *s, const Request *q, DBusMessage *call)
{
    DBusMessage *m = q->result ? dbus_message_copy(q->result) : NULL;

    if (m && (!dbus_message_set_reply_serial(m, dbus_message_get_serial(call)) ||
              !dbus_message_set_destination(m, dbus_message_get_sender(call)))) {
        dbus_message_unref(m);
        m = NULL;
    }
    server_reply(s, call, m);
}

static int on_stall(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source, (void)usec;
    work_time_out(userdata, "Nobody reads the stream: read it, or ask without one.");
    return 0;
}

static void request_pause(Work *w, bool paused)
{
    Request *q = w->request;

    if (paused == q->paused || w->ended)
        return;
    q->paused = paused;
    if (!paused)
        q->stall = sd_event_source_disable_unref(q->stall);
    else if (sd_event_add_time_relative(w->server->event, &q->stall, CLOCK_MONOTONIC,
                                        (uint64_t)w->server->facts->stall_msec * 1000, 0, on_stall,
                                        w) < 0)
        q->stall = NULL;
    w->server->events.handlers->pause(w->server->events.userdata, w, paused);
}

static int send_end(Request *q)
{
    char text[512];
    const char *name = dbus_message_get_error_name(q->result), *message = "";

    if (!name)
        return stream_send(q->stream, STREAM_END, "", 0);
    (void)dbus_message_get_args(q->result, NULL, DBUS_TYPE_STRING, &message, DBUS_TYPE_INVALID);
    snprintf(text, sizeof text, "%s %s", name, message);
    return stream_send(q->stream, STREAM_ERROR, text, text_prefix(text, strlen(text), 500));
}

/* Sends the next frame, if there is something to tell: 1 sent, 0 nothing, or an error of
 * stream_send(). */
static int send_next(Work *w)
{
    Request *q = w->request;
    char line[64 + LIMIT_NAME];
    int r;

    if (q->sent_sources < q->sources.n) {
        size_t n = sources_line(&q->sources, q->sent_sources, line, sizeof line);
        r = stream_send(q->stream, STREAM_SOURCE, line, n);
        q->sent_sources += r >= 0;
        return r < 0 ? r : 1;
    }
    if (q->sent < q->text.length) {
        const char *next = q->text.data + q->sent;
        size_t n = text_prefix(next, q->text.length - q->sent, STREAM_PAYLOAD_MAX);
        r = stream_send(q->stream, STREAM_DELTA, next, n);
        if (r >= 0)
            q->sent += n;
        return r < 0 ? r : 1;
    }
    if (w->ended) {
        r = q->result ? send_end(q)
                      : stream_send(q->stream, STREAM_ERROR, DBUS_ERROR_NO_MEMORY,
                                    strlen(DBUS_ERROR_NO_MEMORY));
        if (r >= 0)
            q->stream = stream_free(q->stream);
        return r < 0 ? r : 0;
    }
    if (q->stage == q->sent_stage)
        return 0;
    snprintf(line, sizeof line, "%s %d", q->stage, (int)(q->progress * 1000));
    r = stream_send(q->stream, STREAM_PROGRESS, line, strlen(line));
    if (r >= 0)
        q->sent_stage = q->stage;
    return r < 0 ? r : 1;
}

/* The work stays: the daemon is asked to stop, and ends it later or has ended it before. */
static void request_pump(Work *w)
{
    Request *q = w->request;
    int r = 1;

    while (q->stream && r > 0)
        r = send_next(w);
    request_pause(w, q->stream && r == -EAGAIN);
}

static void on_stream_writable(void *userdata)
{
    request_pump(userdata);
}

static void on_stream_closed(void *userdata)
{
    Work *w = userdata;

    w->request->stream = stream_free(w->request->stream);
    request_pause(w, false);
    work_cancel(w);
}

void work_text(Work *w, const char *bytes, size_t n)
{
    if (!w->peer)
        return;
    if (text_append(&w->request->text, bytes, n) < 0)
        w->request->text_lost = true;
    signal_text(w);
    request_pump(w);
}

void work_sources(Work *w, const WorkRecord *sources, size_t n)
{
    if (!w->peer)
        return;
    if (sources_set(&w->request->sources, sources, n) < 0)
        w->request->text_lost = true;
    request_pump(w);
}

void work_progress(Work *w, const char *stage, double progress)
{
    w->request->stage = stage;
    w->request->progress = progress;
    signal_progress(w);
    request_pump(w);
}

static int on_expire(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source, (void)usec;
    work_release(userdata);
    return 0;
}

void request_ended(Work *w, DBusMessage *result)
{
    Request *q = w->request;

    q->result = result;
    q->stage = "done";
    q->progress = 1;
    q->stall = sd_event_source_disable_unref(q->stall);
    if (!w->peer)
        return;
    for (size_t i = 0; i < q->n_waiters; i++) {
        send_result(w->server, q, q->waiters[i]);
        dbus_message_unref(q->waiters[i]);
    }
    q->n_waiters = 0;
    signal_done(w, result);
    request_pump(w);
    if (sd_event_add_time_relative(w->server->event, &q->expire, CLOCK_MONOTONIC,
                                   (uint64_t)w->server->facts->keep_msec * 1000, 0, on_expire,
                                   w) < 0)
        q->expire = NULL; /* then its client's leaving ends it */
}

void request_orphan(Work *w)
{
    Request *q = w->request;

    for (size_t i = 0; i < q->n_waiters; i++) {
        server_reply_error(w->server, q->waiters[i], ERROR_CANCELLED, "The request was released.");
        dbus_message_unref(q->waiters[i]);
    }
    q->n_waiters = 0;
    q->stream = stream_free(q->stream);
    request_pause(w, false);
}

void request_wait(Server *s, Work *w, DBusMessage *call)
{
    Request *q = w->request;

    if (w->ended)
        send_result(s, q, call);
    else if (q->n_waiters == LIMIT_WAITERS)
        server_reply_error(s, call, ERROR_LIMITS_EXCEEDED, "Too many Wait calls on one request.");
    else
        q->waiters[q->n_waiters++] = dbus_message_ref(call);
}

void request_open_stream(Server *s, Work *w, DBusMessage *call)
{
    const StreamEvents events = {on_stream_writable, on_stream_closed, w};
    Request *q = w->request;
    _cleanup_close_ int reader = -1;
    Failure failure;
    int r;

    if (options_read_none(call, &failure) < 0) {
        server_reply_failure(s, call, &failure);
        return;
    }
    if (q->stream_opened) {
        server_reply_error(s, call, ERROR_LIMITS_EXCEEDED, "A request has one stream only.");
        return;
    }
    r = stream_new(s->event, &events, &q->stream, &reader);
    if (r == -ENOMEM)
        server_reply_error(s, call, ERROR_NO_MEMORY, "Out of memory.");
    else if (r < 0)
        server_reply_error(s, call, ERROR_LIMITS_EXCEEDED, "No descriptor is left for a stream.");
    if (r < 0)
        return;
    q->stream_opened = true;
    server_reply_basic(s, call, DBUS_TYPE_UNIX_FD, &reader);
    request_pump(w);
}
