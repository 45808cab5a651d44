#include "ipc/server.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <string.h>

#include "engine/base/log.h"
#include "ipc/collection.h"
#include "ipc/methods.h"
#include "ipc/models.h"
#include "ipc/names.h"
#include "ipc/request.h"
#include "ipc/session.h"

/* Messages in memory, of calls in flight and not yet read; beyond, libdbus stops reading. The
 * quotas end before this, or one user could silence the others. */
#define RECEIVED_MAX (1 << 30)
#define LEAVE_MATCH                                                                                \
    "type='signal',sender='" DBUS_SERVICE_DBUS "',interface='" DBUS_INTERFACE_DBUS                 \
    "',member='NameOwnerChanged',arg2=''"

/* What queueing a message takes is kept aside for when there is no memory: whoever asked hears. */
static void send_reserved(Server *s, DBusMessage *reply)
{
    if (s->reserve)
        dbus_connection_send_preallocated(s->connection, s->reserve, reply, NULL);
    s->reserve = dbus_connection_preallocate_send(s->connection);
}

void server_reply(Server *s, DBusMessage *call, DBusMessage *reply)
{
    if (!reply) {
        server_reply_error(s, call, ERROR_NO_MEMORY, "Out of memory.");
        return;
    }
    if (!dbus_message_get_no_reply(call) && !dbus_connection_send(s->connection, reply, NULL))
        send_reserved(s, reply);
    dbus_message_unref(reply);
}

void server_reply_basic(Server *s, DBusMessage *call, int type, const void *value)
{
    DBusMessage *reply = dbus_message_new_method_return(call);
    Writer w;

    if (reply) {
        writer_init(&w, reply);
        writer_basic(&w, type, value);
        reply = writer_end_message(&w, reply);
    }
    server_reply(s, call, reply);
}

void server_reply_empty(Server *s, DBusMessage *call)
{
    server_reply(s, call, dbus_message_new_method_return(call));
}

static DBusMessage *error_new(DBusMessage *call, ErrorCode code, const char *text)
{
    DBusMessage *reply = dbus_message_new_error(call, error_name(code), NULL);
    Writer w;

    if (!reply)
        return NULL;
    writer_init(&w, reply);
    writer_string(&w, text);
    return writer_end_message(&w, reply);
}

void server_reply_error(Server *s, DBusMessage *call, ErrorCode code, const char *text)
{
    DBusMessage *reply = error_new(call, code, text);

    if (!reply) /* its name alone may find room */
        reply = dbus_message_new_error(call, error_name(code), NULL);
    /* Not even that: the client learns by its time-out. */
    if (reply)
        server_reply(s, call, reply);
}

void server_reply_failure(Server *s, DBusMessage *call, const Failure *failure)
{
    server_reply_error(s, call, failure->code, failure->message);
}

void server_signal(Server *s, DBusMessage *signal)
{
    if (!signal)
        return;
    (void)dbus_connection_send(s->connection, signal, NULL);
    dbus_message_unref(signal);
}

/* Whether a path is one of the sender's own below `base`: 1 it is, 0 it lies elsewhere. */
static int path_is_own(const char *path, const char *base, const char *sender, Failure *failure)
{
    _cleanup_free_ char *prefix = NULL;

    if (strncmp(path, base, strlen(base)) != 0)
        return 0;
    prefix = path_prefix(base, sender);
    if (!prefix)
        return failure_set(failure, ERROR_NO_MEMORY, "Out of memory.");
    if (strncmp(path, prefix, strlen(prefix)) != 0)
        return failure_set(failure, ERROR_ACCESS_DENIED,
                           "This object is for the connection that made it.");
    return 1;
}

/* The objects that everybody may see. */
static bool target_find_public(Server *s, const char *path, Target *target)
{
    if (strcmp(path, PERCEPT_PATH) == 0)
        target->kind = OBJECT_MANAGER;
    else if (strcmp(path, LOG_CONTROL_PATH) == 0)
        target->kind = OBJECT_LOG;
    else if (strncmp(path, PERCEPT_MODELS, strlen(PERCEPT_MODELS) - 1) != 0)
        return false;
    else if (strlen(path) == strlen(PERCEPT_MODELS) - 1)
        target->kind = OBJECT_MODELS;
    else if ((target->model = models_find(s, path)))
        target->kind = OBJECT_MODEL;
    return target->kind != OBJECT_NONE;
}

static bool path_is_collection(const char *path)
{
    return strncmp(path, PERCEPT_COLLECTIONS, strlen(PERCEPT_COLLECTIONS)) == 0;
}

/* A user's own; root may use anybody's. The peer is known by now. */
static int target_find_collection(const Peer *p, const char *path, Target *target, Failure *failure)
{
    if (!collection_parse(path, &target->collection))
        return failure_set(failure, ERROR_UNKNOWN_OBJECT, "There is no such object.");
    if (target->collection.uid != p->user->uid && p->user->uid != 0)
        return failure_set(failure, ERROR_ACCESS_DENIED, "This collection is another user's.");
    target->kind = OBJECT_COLLECTION;
    return 0;
}

/* Which object a path names, for this sender. Requests and sessions are their sender's own. */
static int target_find(Server *s, const char *path, const char *sender, Target *ret_target,
                       Failure *failure)
{
    Peer *p = peer_find(s, sender);
    int r;

    *ret_target = (Target){.peer = p};
    if (target_find_public(s, path, ret_target))
        return 0;
    if (path_is_collection(path))
        return target_find_collection(p, path, ret_target, failure);
    r = path_is_own(path, PERCEPT_REQUESTS, sender, failure);
    if (r > 0) {
        ret_target->kind = OBJECT_REQUEST;
        ret_target->work = p ? request_find(p, path) : NULL;
        if (!ret_target->work)
            return failure_set(failure, ERROR_UNKNOWN_OBJECT,
                               "There is no such request, or it was released.");
    }
    if (r == 0)
        r = path_is_own(path, PERCEPT_SESSIONS, sender, failure);
    if (r > 0 && ret_target->kind == OBJECT_NONE) {
        ret_target->kind = OBJECT_SESSION;
        ret_target->session = p ? session_find(p, path) : NULL;
        if (!ret_target->session)
            return failure_set(failure, ERROR_UNKNOWN_OBJECT,
                               "There is no such session, or it was closed.");
    }
    return r != 0 ? r : failure_set(failure, ERROR_UNKNOWN_OBJECT, "There is no such object.");
}

static int method_find(const Target *target, DBusMessage *call, const Method **ret_method,
                       Failure *failure)
{
    const char *interface = dbus_message_get_interface(call);
    const char *member = dbus_message_get_member(call);

    for (size_t i = 0; i < n_methods; i++) {
        const Method *m = &methods[i];
        if (!(m->objects & target->kind) || (interface && strcmp(m->interface, interface) != 0))
            continue;
        if (strcmp(m->member, member) != 0)
            continue;
        if (!dbus_message_has_signature(call, m->in))
            return failure_set(failure, ERROR_INVALID_ARGS, "%s takes '%s'.", m->member, m->in);
        *ret_method = m;
        return 0;
    }
    if (interface && !target_has_interface(target, interface))
        return failure_set(failure, ERROR_UNKNOWN_INTERFACE, "This object has no such interface.");
    return failure_set(failure, ERROR_UNKNOWN_METHOD, "This object has no such method.");
}

void server_dispatch(Server *s, DBusMessage *call)
{
    const char *sender = dbus_message_get_sender(call), *path = dbus_message_get_path(call);
    const Method *method = NULL;
    Failure failure;
    Target target;

    if (path_is_collection(path) && !peer_find(s, sender))
        peer_defer(s, sender, call); /* whose it is decides who may see it */
    else if (target_find(s, path, sender, &target, &failure) < 0 ||
             method_find(&target, call, &method, &failure) < 0)
        server_reply_failure(s, call, &failure);
    else if (method->needs_peer && !target.peer)
        peer_defer(s, sender, call);
    else
        method->call(s, &target, call);
}

static DBusHandlerResult on_call(DBusConnection *c, DBusMessage *message, void *userdata)
{
    Server *s = userdata;
    const char *sender = dbus_message_get_sender(message);
    Peer *p;

    (void)c;
    if (dbus_message_get_type(message) != DBUS_MESSAGE_TYPE_METHOD_CALL || !sender)
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    /* Calls of a sender that is being asked about keep their order: a Wait must not overtake its
     * Ask. */
    p = peer_find(s, sender);
    if (p && !p->user)
        peer_defer(s, sender, message);
    else
        server_dispatch(s, message);
    return DBUS_HANDLER_RESULT_HANDLED;
}

static DBusHandlerResult on_signal(DBusConnection *c, DBusMessage *message, void *userdata)
{
    Server *s = userdata;
    const char *name, *old_owner, *new_owner;
    Peer *p;

    (void)c;
    if (dbus_message_is_signal(message, DBUS_INTERFACE_LOCAL, "Disconnected") ||
        (dbus_message_is_signal(message, DBUS_INTERFACE_DBUS, "NameLost") &&
         dbus_message_has_sender(message, DBUS_SERVICE_DBUS))) {
        s->events.lost(s->events.userdata);
        return DBUS_HANDLER_RESULT_HANDLED;
    }
    /* Anyone may send a signal of this name straight to us; only the bus itself is believed. */
    if (!dbus_message_is_signal(message, DBUS_INTERFACE_DBUS, "NameOwnerChanged") ||
        !dbus_message_has_sender(message, DBUS_SERVICE_DBUS) ||
        !dbus_message_get_args(message, NULL, DBUS_TYPE_STRING, &name, DBUS_TYPE_STRING, &old_owner,
                               DBUS_TYPE_STRING, &new_owner, DBUS_TYPE_INVALID))
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    p = *new_owner ? NULL : peer_find(s, name);
    if (p)
        peer_left(p);
    return DBUS_HANDLER_RESULT_HANDLED;
}

static int error_to_errno(DBusError *error)
{
    int r = dbus_error_has_name(error, DBUS_ERROR_NO_MEMORY)       ? -ENOMEM
            : dbus_error_has_name(error, DBUS_ERROR_ACCESS_DENIED) ? -EACCES
            : dbus_error_has_name(error, DBUS_ERROR_BAD_ADDRESS)   ? -EINVAL
                                                                   : -ECONNREFUSED;

    log_debug("bus: %s", error->message);
    dbus_error_free(error);
    return r;
}

static int server_connect(const char *bus, DBusConnection **ret_connection)
{
    DBusError error = DBUS_ERROR_INIT;
    DBusConnection *c;

    if (strcmp(bus, "session") == 0)
        c = dbus_bus_get_private(DBUS_BUS_SESSION, &error);
    else if (strcmp(bus, "system") == 0)
        c = dbus_bus_get_private(DBUS_BUS_SYSTEM, &error);
    else {
        c = dbus_connection_open_private(bus, &error);
        if (c && !dbus_bus_register(c, &error)) {
            dbus_connection_close(c);
            dbus_connection_unref(c);
            c = NULL;
        }
    }
    if (!c)
        return error_to_errno(&error);
    dbus_connection_set_exit_on_disconnect(c, FALSE);
    dbus_connection_set_max_received_size(c, RECEIVED_MAX);
    dbus_connection_set_max_received_unix_fds(c, LIMIT_DESCRIPTORS / 2);
    *ret_connection = c;
    return 0;
}

static int server_take_name(Server *s)
{
    DBusError error = DBUS_ERROR_INIT;
    int r =
        dbus_bus_request_name(s->connection, PERCEPT_BUS_NAME, DBUS_NAME_FLAG_DO_NOT_QUEUE, &error);

    if (r < 0)
        return error_to_errno(&error);
    return r == DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER ? 0 : -EEXIST;
}

/* Asked once, before the loop runs: the name service may wait. */
static gid_t admin_group(void)
{
    const struct group *g = getgrnam(PERCEPT_ADMIN_GROUP);

    return g ? g->gr_gid : (gid_t)-1;
}

int server_open(sd_event *event, const char *bus, const ServerFacts *facts,
                const ServerEvents *events, Server **ret_server)
{
    static const DBusObjectPathVTable vtable = {.message_function = on_call};
    _cleanup_(server_closep) Server *s = calloc(1, sizeof *s);
    int r;

    if (!s || !dbus_threads_init_default())
        return -ENOMEM;
    *s = (Server){.event = sd_event_ref(event), .facts = facts, .events = *events};
    s->admin_group = admin_group();
    r = server_connect(bus, &s->connection);
    if (r < 0)
        return r;
    /* Whoever leaves after the name is ours must not be missed, so the match comes first. */
    DBusError error = DBUS_ERROR_INIT;
    dbus_bus_add_match(s->connection, LEAVE_MATCH, &error);
    if (dbus_error_is_set(&error)) {
        dbus_error_free(&error);
        return -EIO;
    }
    if (!dbus_connection_add_filter(s->connection, on_signal, s, NULL) ||
        !dbus_connection_register_fallback(s->connection, PERCEPT_PATH, &vtable, s) ||
        !dbus_connection_register_object_path(s->connection, LOG_CONTROL_PATH, &vtable, s))
        return -ENOMEM;
    s->reserve = dbus_connection_preallocate_send(s->connection);
    r = s->reserve ? server_take_name(s) : -ENOMEM;
    if (r >= 0)
        r = bus_loop_attach(s->connection, event, &s->loop);
    if (r < 0)
        return r;
    *ret_server = steal_ptr(&s);
    return 0;
}

void server_status_changed(Server *s)
{
    properties_emit(s);
}

unsigned server_works_open(const Server *s)
{
    return s->n_running;
}

static Work *work_to_stop(Server *s)
{
    Peer *p;
    Work *w;

    LIST_FOREACH(p, &s->peers, link)
        LIST_FOREACH(w, &p->works, link)
            if (!w->ended && !w->stopping)
                return w;
    return NULL;
}

void server_cancel_all(Server *s)
{
    Work *w;

    /* From the start each time: cancelling one may free it, and others. */
    while ((w = work_to_stop(s))) {
        w->stopping = true;
        work_cancel(w);
    }
}

/* What was registered with it goes with it, be it all or, after a failure, a part. */
static void connection_close(Server *s)
{
    if (s->reserve)
        dbus_connection_free_preallocated_send(s->connection, s->reserve);
    dbus_connection_flush(s->connection);
    dbus_connection_close(s->connection);
    dbus_connection_unref(s->connection);
}

Server *server_close(Server *s)
{
    Peer *p;

    if (!s)
        return NULL;
    while ((p = LIST_FIRST(&s->peers)))
        peer_left(p);
    assert(s->n_running == 0);
    if (s->connection) {
        bus_loop_detach(s->loop);
        connection_close(s);
    }
    sd_event_unref(s->event);
    free(s->models);
    free(s);
    return NULL;
}
