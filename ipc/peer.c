#include "ipc/peer.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ipc/session.h"

#define UID_TIMEOUT_MSEC 10000

static int user_get(Server *s, uid_t uid, User **ret_user)
{
    User *u;

    LIST_FOREACH(u, &s->users, link)
        if (u->uid == uid)
            break;
    if (!u) {
        u = calloc(1, sizeof *u);
        if (!u)
            return -ENOMEM;
        u->uid = uid;
        LIST_INSERT_HEAD(&s->users, u, link);
    }
    *ret_user = user_ref(u);
    return 0;
}

User *user_ref(User *u)
{
    u->n_refs++;
    return u;
}

User *user_unref(User *u)
{
    if (u && --u->n_refs == 0) {
        assert(u->n_works == 0);
        LIST_REMOVE(u, link);
        free(u);
    }
    return NULL;
}

Peer *peer_find(Server *s, const char *name)
{
    Peer *p;

    LIST_FOREACH(p, &s->peers, link)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

static void peer_free(Peer *p)
{
    assert(LIST_EMPTY(&p->works) && LIST_EMPTY(&p->sessions));
    if (p->asking) {
        dbus_pending_call_cancel(p->asking);
        dbus_pending_call_unref(p->asking);
    }
    for (size_t i = 0; i < p->n_waiting; i++)
        dbus_message_unref(p->waiting[i]);
    LIST_REMOVE(p, link);
    p->server->n_peers--;
    user_unref(p->user);
    free(p->name);
    free(p);
}

void peer_left(Peer *p)
{
    Work *w;
    BusSession *b;

    while ((b = LIST_FIRST(&p->sessions)))
        session_end(b);
    while ((w = LIST_FIRST(&p->works)))
        work_orphan(w);
    peer_free(p);
}

/* Answers the calls that waited for the uid; without one, the sender is nobody we can charge.
 * error: why there is none. */
static void peer_resume(Peer *p, int error)
{
    Server *s = p->server;
    DBusMessage *waiting[LIMIT_CALLS_PER_CONNECTION];
    size_t n = p->n_waiting;
    bool known = p->user != NULL;

    memcpy(waiting, p->waiting, n * sizeof *waiting);
    p->n_waiting = 0;
    if (!known)
        peer_free(p);
    for (size_t i = 0; i < n; i++) {
        if (known)
            server_dispatch(s, waiting[i]);
        else if (error == -ENOMEM)
            server_reply_error(s, waiting[i], ERROR_NO_MEMORY, "Out of memory.");
        else
            server_reply_error(s, waiting[i], ERROR_ACCESS_DENIED,
                               "The bus does not know your uid.");
        dbus_message_unref(waiting[i]);
    }
}

static bool groups_have(DBusMessageIter *array, gid_t group)
{
    DBusMessageIter element;
    const dbus_uint32_t *groups;
    int n;

    dbus_message_iter_recurse(array, &element);
    dbus_message_iter_get_fixed_array(&element, &groups, &n);
    for (int i = 0; i < n; i++)
        if (groups[i] == group)
            return true;
    return false;
}

static void read_credential(DBusMessageIter *entry, gid_t group, bool *member, bool *known,
                            dbus_uint32_t *uid)
{
    DBusMessageIter value;
    const char *key;

    dbus_message_iter_get_basic(entry, &key);
    dbus_message_iter_next(entry);
    dbus_message_iter_recurse(entry, &value);
    if (strcmp(key, "UnixUserID") == 0 &&
        dbus_message_iter_get_arg_type(&value) == DBUS_TYPE_UINT32) {
        dbus_message_iter_get_basic(&value, uid);
        *known = true;
    } else if (strcmp(key, "UnixGroupIDs") == 0 &&
               dbus_message_iter_get_arg_type(&value) == DBUS_TYPE_ARRAY &&
               dbus_message_iter_get_element_type(&value) == DBUS_TYPE_UINT32)
        *member = group != (gid_t)-1 && groups_have(&value, group);
}

/* -ENOENT: the bus does not know the uid. */
static int peer_read(Peer *p, DBusMessage *reply)
{
    DBusMessageIter iter, entries, entry;
    bool member = false, known = false;
    dbus_uint32_t uid = 0;
    int r;

    dbus_message_iter_init(reply, &iter);
    dbus_message_iter_recurse(&iter, &entries);
    for (; dbus_message_iter_get_arg_type(&entries) != DBUS_TYPE_INVALID;
         dbus_message_iter_next(&entries)) {
        dbus_message_iter_recurse(&entries, &entry);
        read_credential(&entry, p->server->admin_group, &member, &known, &uid);
    }
    r = known ? user_get(p->server, uid, &p->user) : -ENOENT;
    p->admin = r >= 0 && (member || uid == 0 || uid == geteuid());
    return r;
}

static void on_credentials(DBusPendingCall *pending, void *userdata)
{
    Peer *p = userdata;
    DBusMessage *reply = dbus_pending_call_steal_reply(pending);
    int r = -ENOENT;

    dbus_pending_call_unref(p->asking);
    p->asking = NULL;
    if (dbus_message_get_type(reply) == DBUS_MESSAGE_TYPE_METHOD_RETURN &&
        dbus_message_has_signature(reply, "a{sv}"))
        r = peer_read(p, reply);
    dbus_message_unref(reply);
    peer_resume(p, r);
}

static int peer_ask(Peer *p)
{
    DBusMessage *m = dbus_message_new_method_call(DBUS_SERVICE_DBUS, DBUS_PATH_DBUS,
                                                  DBUS_INTERFACE_DBUS, "GetConnectionCredentials");
    int r = -ENOMEM;

    if (m && dbus_message_append_args(m, DBUS_TYPE_STRING, &p->name, DBUS_TYPE_INVALID) &&
        dbus_connection_send_with_reply(p->server->connection, m, &p->asking, UID_TIMEOUT_MSEC) &&
        p->asking)
        r = dbus_pending_call_set_notify(p->asking, on_credentials, p, NULL) ? 0 : -ENOMEM;
    if (m)
        dbus_message_unref(m);
    return r;
}

/* Makes room by forgetting a peer that has nothing here; it can be asked about again. */
static bool peers_make_room(Server *s)
{
    Peer *p;

    if (s->n_peers < LIMIT_PEERS)
        return true;
    LIST_FOREACH(p, &s->peers, link)
        if (LIST_EMPTY(&p->works) && LIST_EMPTY(&p->sessions) && !p->asking) {
            peer_free(p);
            return true;
        }
    return false;
}

static int peer_new(Server *s, const char *name, Peer **ret_peer)
{
    Peer *p = calloc(1, sizeof *p);
    int r;

    if (!p)
        return -ENOMEM;
    p->server = s;
    p->name = strdup(name);
    LIST_INSERT_HEAD(&s->peers, p, link);
    s->n_peers++;
    r = p->name ? peer_ask(p) : -ENOMEM;
    if (r < 0) {
        peer_free(p);
        return r;
    }
    *ret_peer = p;
    return 0;
}

void peer_defer(Server *s, const char *name, DBusMessage *call)
{
    Peer *p = peer_find(s, name);

    if (!p && !peers_make_room(s)) {
        server_reply_error(s, call, ERROR_BUSY, "Too many connections use the service: try later.");
        return;
    }
    if (!p && peer_new(s, name, &p) < 0) {
        server_reply_error(s, call, ERROR_NO_MEMORY, "Out of memory.");
        return;
    }
    if (p->n_waiting == LIMIT_CALLS_PER_CONNECTION) {
        server_reply_error(s, call, ERROR_QUOTA_EXCEEDED,
                           "Too many calls of this connection: wait for replies.");
        return;
    }
    p->waiting[p->n_waiting++] = dbus_message_ref(call);
}
