#include "ipc/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <dbus/dbus.h>

#include "ipc/client-private.h"
#include "ipc/client-values.h"
#include "ipc/limits.h"
#include "ipc/names.h"
#include "ipc/stream.h"
#include "ipc/writer.h"

static int fail(ClientError *e, int error, const char *name, const char *message)
{
    size_t n = strlen(PERCEPT_ERROR);

    snprintf(e->name, sizeof e->name, "%s", name + (strncmp(name, PERCEPT_ERROR, n) == 0 ? n : 0));
    snprintf(e->message, sizeof e->message, "%s", message);
    return error;
}

static int fail_bus(ClientError *e, DBusError *error)
{
    int r = dbus_error_has_name(error, DBUS_ERROR_SERVICE_UNKNOWN) ||
                    dbus_error_has_name(error, DBUS_ERROR_NAME_HAS_NO_OWNER)
                ? -EHOSTUNREACH
                : -EREMOTEIO;

    fail(e, r, error->name, error->message);
    dbus_error_free(error);
    return r;
}

int client_fail_memory(ClientError *e)
{
    return fail(e, -ENOMEM, DBUS_ERROR_NO_MEMORY, "out of memory");
}

int client_fail_reply(ClientError *e)
{
    return fail(e, -EBADMSG, DBUS_ERROR_INVALID_SIGNATURE, "the service replied in an unknown way");
}

static DBusConnection *connect_bus(const char *bus, DBusError *error)
{
    DBusConnection *c;

    if (strcmp(bus, "session") == 0)
        c = dbus_bus_get_private(DBUS_BUS_SESSION, error);
    else if (strcmp(bus, "system") == 0)
        c = dbus_bus_get_private(DBUS_BUS_SYSTEM, error);
    else {
        c = dbus_connection_open_private(bus, error);
        if (c && !dbus_bus_register(c, error)) {
            dbus_connection_close(c);
            dbus_connection_unref(c);
            c = NULL;
        }
    }
    if (c)
        dbus_connection_set_exit_on_disconnect(c, FALSE);
    return c;
}

Client *client_close(Client *c)
{
    if (!c)
        return NULL;
    if (c->connection) {
        dbus_connection_close(c->connection);
        dbus_connection_unref(c->connection);
    }
    free(c->bus);
    free(c);
    return NULL;
}

int client_connect(const char *bus, Client **ret_client, ClientError *ret_error)
{
    _cleanup_(client_closep) Client *c = calloc(1, sizeof *c);
    DBusError error = DBUS_ERROR_INIT;

    if (!c || !(c->bus = strdup(bus)))
        return client_fail_memory(ret_error);
    c->connection = connect_bus(bus, &error);
    if (!c->connection)
        return fail_bus(ret_error, &error);
    *ret_client = steal_ptr(&c);
    return 0;
}

int client_open(const char *bus, Client **ret_client, ClientError *ret_error)
{
    static const char *const buses[] = {"session", "system"};
    int r = -EHOSTUNREACH;

    if (bus)
        return client_connect(bus, ret_client, ret_error);
    for (size_t i = 0; i < 2; i++) {
        _cleanup_(client_closep) Client *c = NULL;
        Dict properties;
        r = client_connect(buses[i], &c, ret_error);
        if (r >= 0)
            r = client_properties(c, &properties, ret_error);
        if (r >= 0) {
            dict_deinit(&properties);
            *ret_client = steal_ptr(&c);
            return 0;
        }
    }
    return fail(ret_error, r, DBUS_ERROR_SERVICE_UNKNOWN,
                "perceptd is neither on the session bus nor on the system bus");
}

const char *client_bus(const Client *c)
{
    return c->bus;
}

DBusMessage *client_call_new(const char *path, const char *interface, const char *member, Writer *w)
{
    DBusMessage *m = dbus_message_new_method_call(PERCEPT_BUS_NAME, path, interface, member);

    if (m)
        writer_init(w, m);
    return m;
}

int client_call_begin(Client *c, DBusMessage *call, Writer *w, int timeout,
                      DBusPendingCall **ret_pending, ClientError *ret_error)
{
    DBusPendingCall *pending = NULL;
    bool sent;

    call = writer_end_message(w, call);
    if (!call)
        return client_fail_memory(ret_error);
    sent = dbus_connection_send_with_reply(c->connection, call, &pending, timeout);
    dbus_message_unref(call);
    if (!sent)
        return client_fail_memory(ret_error);
    if (!pending)
        return fail(ret_error, -EREMOTEIO, DBUS_ERROR_DISCONNECTED, "the bus has gone");
    *ret_pending = pending;
    return 0;
}

int client_call_end(DBusPendingCall *pending, const char *signature, DBusMessage **ret_reply,
                    ClientError *ret_error)
{
    DBusError error = DBUS_ERROR_INIT;
    DBusMessage *reply;

    dbus_pending_call_block(pending);
    reply = dbus_pending_call_steal_reply(pending);
    dbus_pending_call_unref(pending);
    if (!reply)
        return client_fail_memory(ret_error);
    if (dbus_set_error_from_message(&error, reply)) {
        dbus_message_unref(reply);
        return fail_bus(ret_error, &error);
    }
    if (!dbus_message_has_signature(reply, signature)) {
        dbus_message_unref(reply);
        return client_fail_reply(ret_error);
    }
    *ret_reply = reply;
    return 0;
}

int client_call_send(Client *c, DBusMessage *call, Writer *w, const char *signature, int timeout,
                     DBusMessage **ret_reply, ClientError *ret_error)
{
    DBusPendingCall *pending;
    int r = client_call_begin(c, call, w, timeout, &pending, ret_error);

    return r < 0 ? r : client_call_end(pending, signature, ret_reply, ret_error);
}

int client_call_path(Client *c, DBusMessage *call, Writer *w, char ret_path[CLIENT_PATH_MAX],
                     ClientError *ret_error)
{
    DBusMessage *reply;
    const char *path;
    int r = client_call_send(c, call, w, "o", CLIENT_TIMEOUT_MSEC, &reply, ret_error);

    if (r < 0)
        return r;
    (void)dbus_message_get_args(reply, NULL, DBUS_TYPE_OBJECT_PATH, &path, DBUS_TYPE_INVALID);
    if (strlen(path) < CLIENT_PATH_MAX)
        strcpy(ret_path, path);
    else
        r = client_fail_reply(ret_error);
    dbus_message_unref(reply);
    return r;
}

static void write_media(Writer *w, const ClientMedium *media, size_t n)
{
    writer_open(w, DBUS_TYPE_ARRAY, "(hs)");
    for (size_t i = 0; i < n; i++) {
        writer_open(w, DBUS_TYPE_STRUCT, NULL);
        writer_basic(w, DBUS_TYPE_UNIX_FD, &media[i].fd);
        writer_string(w, media[i].type);
        writer_close(w);
    }
    writer_close(w);
}

static void write_strings(Writer *w, const char *const *strings, size_t n)
{
    writer_open(w, DBUS_TYPE_ARRAY, "s");
    for (size_t i = 0; i < n; i++)
        writer_string(w, strings[i]);
    writer_close(w);
}

static void write_no_options(Writer *w)
{
    writer_open(w, DBUS_TYPE_ARRAY, "{sv}");
    writer_close(w);
}

int client_properties_within(Client *c, int timeout, Dict *ret_properties, ClientError *ret_error)
{
    DBusMessageIter iter;
    DBusMessage *reply;
    Writer w;
    DBusMessage *call = client_call_new(PERCEPT_PATH, DBUS_INTERFACE_PROPERTIES, "GetAll", &w);
    int r;

    if (!call)
        return client_fail_memory(ret_error);
    writer_string(&w, PERCEPT_MANAGER);
    r = client_call_send(c, call, &w, "a{sv}", timeout, &reply, ret_error);
    if (r < 0)
        return r;
    dbus_message_iter_init(reply, &iter);
    r = dict_read(&iter, ret_properties);
    dbus_message_unref(reply);
    return r < 0 ? client_fail_memory(ret_error) : 0;
}

int client_properties(Client *c, Dict *ret_properties, ClientError *ret_error)
{
    return client_properties_within(c, CLIENT_TIMEOUT_MSEC, ret_properties, ret_error);
}

/* Vectors and info of a reply, which is taken. */
static int embed_reply(DBusMessage *reply, size_t n, Vectors *ret_vectors, Dict *ret_info,
                       ClientError *ret_error)
{
    _cleanup_(vectors_deinit) Vectors v = {0};
    DBusMessageIter iter;
    int r;

    dbus_message_iter_init(reply, &iter);
    r = vectors_read(&iter, &v);
    if (r >= 0 && v.n != n)
        r = -EBADMSG;
    dbus_message_iter_next(&iter);
    if (r >= 0)
        r = dict_read(&iter, ret_info);
    dbus_message_unref(reply);
    if (r < 0)
        return r == -EBADMSG ? client_fail_reply(ret_error) : client_fail_memory(ret_error);
    *ret_vectors = v;
    v = (Vectors){0};
    return 0;
}

int client_embed_text(Client *c, const char *const *texts, size_t n, Vectors *ret_vectors,
                      Dict *ret_info, ClientError *ret_error)
{
    DBusMessage *reply;
    Writer w;
    DBusMessage *call = client_call_new(PERCEPT_PATH, PERCEPT_MANAGER, "EmbedText", &w);
    int r;

    if (!call)
        return client_fail_memory(ret_error);
    write_strings(&w, texts, n);
    write_no_options(&w);
    r = client_call_send(c, call, &w, "aaya{sv}", CLIENT_TIMEOUT_MSEC, &reply, ret_error);
    return r < 0 ? r : embed_reply(reply, n, ret_vectors, ret_info, ret_error);
}

int client_embed_media(Client *c, const ClientMedium *media, size_t n, Vectors *ret_vectors,
                       Dict *ret_info, ClientError *ret_error)
{
    DBusMessage *reply;
    Writer w;
    DBusMessage *call = client_call_new(PERCEPT_PATH, PERCEPT_MANAGER, "EmbedMedia", &w);
    int r;

    if (!call)
        return client_fail_memory(ret_error);
    write_media(&w, media, n);
    write_no_options(&w);
    r = client_call_send(c, call, &w, "a(uay)a{sv}", CLIENT_TIMEOUT_MSEC, &reply, ret_error);
    return r < 0 ? r : embed_reply(reply, n, ret_vectors, ret_info, ret_error);
}

/* Scores with their labels' indices. */
static int scores_read(DBusMessageIter *iter, const char *const *labels, size_t n,
                       size_t *ret_labels, double *ret_scores)
{
    DBusMessageIter element, part;
    const char *label;

    if ((size_t)dbus_message_iter_get_element_count(iter) != n)
        return -EBADMSG;
    dbus_message_iter_recurse(iter, &element);
    for (size_t i = 0; i < n; i++, dbus_message_iter_next(&element)) {
        dbus_message_iter_recurse(&element, &part);
        dbus_message_iter_get_basic(&part, &label);
        dbus_message_iter_next(&part);
        dbus_message_iter_get_basic(&part, &ret_scores[i]);
        for (ret_labels[i] = 0; strcmp(labels[ret_labels[i]], label) != 0;)
            if (++ret_labels[i] == n)
                return -EBADMSG;
    }
    return 0;
}

int client_classify(Client *c, const ClientMedium *medium, const char *const *labels, size_t n,
                    size_t *ret_labels, double *ret_scores, Dict *ret_info, ClientError *ret_error)
{
    DBusMessageIter iter;
    DBusMessage *reply;
    Writer w;
    DBusMessage *call = client_call_new(PERCEPT_PATH, PERCEPT_MANAGER, "Classify", &w);
    int r;

    if (!call)
        return client_fail_memory(ret_error);
    writer_basic(&w, DBUS_TYPE_UNIX_FD, &medium->fd);
    writer_string(&w, medium->type);
    write_strings(&w, labels, n);
    write_no_options(&w);
    r = client_call_send(c, call, &w, "a(sd)a{sv}", CLIENT_TIMEOUT_MSEC, &reply, ret_error);
    if (r < 0)
        return r;
    dbus_message_iter_init(reply, &iter);
    r = scores_read(&iter, labels, n, ret_labels, ret_scores);
    dbus_message_iter_next(&iter);
    if (r >= 0)
        r = dict_read(&iter, ret_info);
    dbus_message_unref(reply);
    return r == -EBADMSG ? client_fail_reply(ret_error) : r < 0 ? client_fail_memory(ret_error) : 0;
}

static void write_ask_options(Writer *w, const AskOptions *o)
{
    writer_open(w, DBUS_TYPE_ARRAY, "{sv}");
    if (o->system)
        writer_entry_string(w, "system", o->system);
    if (o->model)
        writer_entry_string(w, "model", o->model);
    if (o->effort != 0)
        writer_entry_double(w, "effort", o->effort);
    if (o->temperature != 0)
        writer_entry_double(w, "temperature", o->temperature);
    if (o->seed)
        writer_entry_u64(w, "seed", o->seed);
    if (o->max_tokens)
        writer_entry_u32(w, "max_tokens", o->max_tokens);
    if (o->high_detail)
        writer_entry_string(w, "detail", "high");
    if (o->think)
        writer_entry_bool(w, "think", true);
    writer_close(w);
}

int client_ask(Client *c, const char *question, const ClientMedium *media, size_t n,
               const AskOptions *options, char ret_path[CLIENT_PATH_MAX], ClientError *ret_error)
{
    Writer w;
    DBusMessage *call = client_call_new(PERCEPT_PATH, PERCEPT_MANAGER, "Ask", &w);

    if (!call)
        return client_fail_memory(ret_error);
    writer_string(&w, question);
    write_media(&w, media, n);
    write_ask_options(&w, options);
    return client_call_path(c, call, &w, ret_path, ret_error);
}

int client_open_stream(Client *c, const char *path, int *ret_fd, ClientError *ret_error)
{
    DBusMessageIter iter;
    DBusMessage *reply;
    Writer w;
    DBusMessage *call = client_call_new(path, PERCEPT_REQUEST, "OpenStream", &w);
    int fd, r;

    if (!call)
        return client_fail_memory(ret_error);
    write_no_options(&w);
    r = client_call_send(c, call, &w, "h", CLIENT_TIMEOUT_MSEC, &reply, ret_error);
    if (r < 0)
        return r;
    dbus_message_iter_init(reply, &iter);
    dbus_message_iter_get_basic(&iter, &fd);
    dbus_message_unref(reply);
    if (fd < 0)
        return client_fail_reply(ret_error);
    *ret_fd = fd;
    return 0;
}

int client_wait(Client *c, const char *path, Dict *ret_result, ClientError *ret_error)
{
    DBusMessageIter iter;
    DBusMessage *reply;
    Writer w;
    DBusMessage *call = client_call_new(path, PERCEPT_REQUEST, "Wait", &w);
    int r;

    if (!call)
        return client_fail_memory(ret_error);
    r = client_call_send(c, call, &w, "a{sv}", DBUS_TIMEOUT_INFINITE, &reply, ret_error);
    if (r < 0)
        return r;
    dbus_message_iter_init(reply, &iter);
    r = dict_read(&iter, ret_result);
    dbus_message_unref(reply);
    return r < 0 ? client_fail_memory(ret_error) : 0;
}

int client_read_frame(int fd, ClientFrame *ret_frame)
{
    uint8_t packet[STREAM_HEADER_SIZE + STREAM_PAYLOAD_MAX];
    ssize_t n;

    do
        n = recv(fd, packet, sizeof packet, 0);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return 0;
    if (n < 0)
        return -errno;
    if (n < STREAM_HEADER_SIZE)
        return -EBADMSG;
    ret_frame->kind = packet[4];
    ret_frame->length = (size_t)n - STREAM_HEADER_SIZE;
    memcpy(ret_frame->text, packet + STREAM_HEADER_SIZE, ret_frame->length);
    ret_frame->text[ret_frame->length] = '\0';
    return 1;
}
