#include "ipc/session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ipc/names.h"
#include "ipc/options.h"
#include "ipc/request.h"

BusSession *session_find(Peer *p, const char *path)
{
    BusSession *b;

    LIST_FOREACH(b, &p->sessions, link)
        if (strcmp(b->path, path) == 0)
            return b;
    return NULL;
}

static int session_charge(const Peer *p, Failure *failure)
{
    if (p->n_sessions >= LIMIT_SESSIONS_PER_CONNECTION)
        return failure_set(failure, ERROR_QUOTA_EXCEEDED,
                           "This connection has %u sessions open: close one.", p->n_sessions);
    if (p->user->n_sessions >= LIMIT_SESSIONS_PER_UID)
        return failure_set(failure, ERROR_QUOTA_EXCEEDED,
                           "This user has %u sessions open: close one.", p->user->n_sessions);
    if (p->server->n_sessions >= LIMIT_SESSIONS)
        return failure_set(failure, ERROR_BUSY, "The service has %u sessions open: try later.",
                           p->server->n_sessions);
    return 0;
}

static int session_new(Peer *p, const char *model, Failure *failure)
{
    Server *s = p->server;
    BusSession *b = calloc(1, sizeof *b);
    _cleanup_free_ char *prefix = path_prefix(PERCEPT_SESSIONS, p->name);
    int r;

    if (!b || !prefix ||
        asprintf(&b->path, "%ss%llu", prefix, (unsigned long long)s->next_token) < 0) {
        free(b);
        return failure_set(failure, ERROR_NO_MEMORY, "Out of memory.");
    }
    r = s->events.handlers->open_session(s->events.userdata, model, &b->conversation, failure);
    if (r < 0) {
        free(b->path);
        free(b);
        return r;
    }
    s->next_token++;
    b->peer = p;
    LIST_INSERT_HEAD(&p->sessions, b, link);
    p->n_sessions++;
    p->user->n_sessions++;
    s->n_sessions++;
    return 0;
}

void session_start(Peer *p, DBusMessage *call)
{
    Server *s = p->server;
    WorkArgs args = {.kind = WORK_SESSION};
    DBusMessageIter iter;
    Failure failure;
    int r;

    dbus_message_iter_init(call, &iter);
    r = options_read(&iter, s->facts, &args, &failure);
    if (r == -ENOMEM)
        r = failure_set(&failure, ERROR_NO_MEMORY, "Out of memory.");
    if (r >= 0) {
        r = session_charge(p, &failure);
        if (r < 0)
            s->events.quota_hit(s->events.userdata, p->user->uid, p->name);
    }
    if (r >= 0)
        r = session_new(p, args.options.model, &failure);
    if (r < 0)
        server_reply_failure(s, call, &failure);
    else
        server_reply_basic(s, call, DBUS_TYPE_OBJECT_PATH, &LIST_FIRST(&p->sessions)->path);
}

void session_end(BusSession *b)
{
    Server *s = b->peer->server;
    Work *w = b->work;

    if (w) {
        w->session = NULL;
        work_cancel(w);
    }
    s->events.handlers->close_session(s->events.userdata, b->conversation);
    LIST_REMOVE(b, link);
    b->peer->n_sessions--;
    b->peer->user->n_sessions--;
    s->n_sessions--;
    free(b->path);
    free(b);
}
