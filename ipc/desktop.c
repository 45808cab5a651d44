#include "ipc/desktop.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include <dbus/dbus.h>

#include "ipc/client-private.h"
#include "ipc/desktop-introspection.h"
#include "ipc/names.h"
#include "ipc/writer.h"

#define GNOME     "org.gnome.Shell.SearchProvider2"
#define KRUNNER   "org.kde.krunner1"
#define TEXT_MAX  1024 /* bytes of what is searched for; nobody types more */
#define CALLS_MAX 256  /* waiting */

#define KRUNNER_POSSIBLE 30 /* QueryMatch::PossibleMatch */
#define KRUNNER_FOLDER   "folder"

typedef struct Waiting {
    STAILQ_ENTRY(Waiting) link;
    DBusMessage *call;
} Waiting;

typedef struct Desktop {
    DBusConnection *connection;
    const DesktopHandlers *handlers;
    void *userdata;
    STAILQ_HEAD(WaitingQueue, Waiting) waiting;
    size_t n_waiting;
    DesktopHits hits;
    char token[256]; /* for the next Run */
} Desktop;

void desktop_hits_clear(DesktopHits *h)
{
    for (size_t i = 0; i < h->n; i++) {
        free(h->items[i].id);
        free(h->items[i].name);
        free(h->items[i].place);
    }
    h->n = 0;
}

/* ---- replies ---- */

static DBusMessage *reply_new(DBusMessage *call, Writer *w)
{
    DBusMessage *reply = dbus_message_new_method_return(call);

    if (reply)
        writer_init(w, reply);
    return reply;
}

/* Takes the reply; without memory there is none, and the caller's time-out has to do. */
static void reply_send(Desktop *d, DBusMessage *call, DBusMessage *reply, Writer *w)
{
    reply = reply ? writer_end_message(w, reply) : NULL;
    if (reply && !dbus_message_get_no_reply(call))
        (void)dbus_connection_send(d->connection, reply, NULL);
    if (reply)
        dbus_message_unref(reply);
}

static void reply_empty(Desktop *d, DBusMessage *call)
{
    Writer w;
    DBusMessage *reply = reply_new(call, &w);

    reply_send(d, call, reply, &w);
}

static void reply_error(Desktop *d, DBusMessage *call, const char *name, const char *text)
{
    DBusMessage *reply = dbus_message_new_error(call, name, text);

    if (reply && !dbus_message_get_no_reply(call))
        (void)dbus_connection_send(d->connection, reply, NULL);
    if (reply)
        dbus_message_unref(reply);
}

/* The words of an array as one text. */
static void read_terms(DBusMessageIter *iter, char text[TEXT_MAX])
{
    DBusMessageIter element;
    size_t used = 0;

    text[0] = '\0';
    dbus_message_iter_recurse(iter, &element);
    for (; dbus_message_iter_get_arg_type(&element) == DBUS_TYPE_STRING;
         dbus_message_iter_next(&element)) {
        const char *word;
        size_t n;

        dbus_message_iter_get_basic(&element, &word);
        n = strlen(word);
        if (used + n + 2 > TEXT_MAX) /* whole words only */
            break;
        if (used > 0)
            text[used++] = ' ';
        memcpy(text + used, word, n + 1);
        used += n;
    }
}

static size_t letters(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += (*text & 0xc0) != 0x80 && *text != ' ';
    return n;
}

static void search(Desktop *d, const char *text, bool pictures)
{
    desktop_hits_clear(&d->hits);
    if (letters(text) >= DESKTOP_LETTERS_MIN)
        d->handlers->search(d->userdata, text, pictures, &d->hits);
}

/* (iiibiiay), as in notifications: width, height, bytes of a row, alpha, bits, channels, pixels. */
static void write_picture(Writer *w, const DesktopHit *hit)
{
    const dbus_int32_t numbers[] = {(dbus_int32_t)hit->width, (dbus_int32_t)hit->height,
                                    (dbus_int32_t)hit->width * 3, 8, 3};
    const dbus_bool_t alpha = FALSE;

    writer_entry_open(w, "icon-data", "(iiibiiay)");
    writer_open(w, DBUS_TYPE_STRUCT, NULL);
    for (size_t i = 0; i < 5; i++) {
        if (i == 3)
            writer_basic(w, DBUS_TYPE_BOOLEAN, &alpha);
        writer_basic(w, DBUS_TYPE_INT32, &numbers[i]);
    }
    writer_bytes(w, hit->picture, (size_t)hit->width * hit->height * 3);
    writer_close(w);
    writer_entry_close(w);
}

/* ---- GNOME Shell ---- */

static void write_ids(Desktop *d, DBusMessage *call)
{
    Writer w;
    DBusMessage *reply = reply_new(call, &w);

    if (reply) {
        writer_open(&w, DBUS_TYPE_ARRAY, "s");
        for (size_t i = 0; i < d->hits.n; i++)
            writer_string(&w, d->hits.items[i].id);
        writer_close(&w);
    }
    reply_send(d, call, reply, &w);
}

static void gnome_initial(Desktop *d, DBusMessage *call, DBusMessageIter *iter)
{
    char text[TEXT_MAX];

    read_terms(iter, text);
    search(d, text, false);
    write_ids(d, call);
}

/* More letters change the meaning, so what was found before does not limit what is found now. */
static void gnome_subsearch(Desktop *d, DBusMessage *call, DBusMessageIter *iter)
{
    dbus_message_iter_next(iter);
    gnome_initial(d, call, iter);
}

/* A GIcon as g_icon_serialize() has it: ('themed', <['name']>), and as its text for old shells. */
static void write_icon(Writer *w, const char *name)
{
    writer_entry_open(w, "icon", "(sv)");
    writer_open(w, DBUS_TYPE_STRUCT, NULL);
    writer_string(w, "themed");
    writer_open(w, DBUS_TYPE_VARIANT, "as");
    writer_open(w, DBUS_TYPE_ARRAY, "s");
    writer_string(w, name);
    writer_close(w);
    writer_close(w);
    writer_close(w);
    writer_entry_close(w);
    writer_entry_string(w, "gicon", name);
}

static void write_meta(Writer *w, const DesktopHit *hit)
{
    writer_open(w, DBUS_TYPE_ARRAY, "{sv}");
    writer_entry_string(w, "id", hit->id);
    writer_entry_string(w, "name", hit->name);
    writer_entry_string(w, "description", hit->place);
    /* The shell takes the icon before the picture where it is given both. */
    if (hit->picture)
        write_picture(w, hit);
    else
        write_icon(w, hit->icon);
    writer_close(w);
}

static void gnome_metas(Desktop *d, DBusMessage *call, DBusMessageIter *iter)
{
    DBusMessageIter element;
    DBusMessage *reply;
    Writer w;

    desktop_hits_clear(&d->hits);
    dbus_message_iter_recurse(iter, &element);
    for (; dbus_message_iter_get_arg_type(&element) == DBUS_TYPE_STRING &&
           d->hits.n < DESKTOP_IDS_MAX;
         dbus_message_iter_next(&element)) {
        const char *id;

        dbus_message_iter_get_basic(&element, &id);
        if (d->handlers->describe(d->userdata, id, &d->hits.items[d->hits.n]) >= 0)
            d->hits.n++;
    }
    reply = reply_new(call, &w);
    if (reply) {
        writer_open(&w, DBUS_TYPE_ARRAY, "a{sv}");
        for (size_t i = 0; i < d->hits.n; i++)
            write_meta(&w, &d->hits.items[i]);
        writer_close(&w);
    }
    reply_send(d, call, reply, &w);
}

static void gnome_activate(Desktop *d, DBusMessage *call, DBusMessageIter *iter)
{
    const char *id;

    dbus_message_iter_get_basic(iter, &id);
    d->handlers->open(d->userdata, id, false, "");
    reply_empty(d, call);
}

static void gnome_launch(Desktop *d, DBusMessage *call, DBusMessageIter *iter)
{
    char text[TEXT_MAX];

    read_terms(iter, text);
    d->handlers->show(d->userdata, text);
    reply_empty(d, call);
}

/* ---- KRunner ---- */

static void write_action(Writer *w)
{
    writer_open(w, DBUS_TYPE_ARRAY, "(sss)");
    writer_open(w, DBUS_TYPE_STRUCT, NULL);
    writer_string(w, KRUNNER_FOLDER);
    writer_string(w, "Open the folder");
    writer_string(w, "document-open-folder");
    writer_close(w);
    writer_close(w);
}

static void krunner_config(Desktop *d, DBusMessage *call, DBusMessageIter *iter)
{
    const dbus_int32_t least = DESKTOP_LETTERS_MIN;
    Writer w;
    DBusMessage *reply = reply_new(call, &w);

    (void)iter;
    if (reply) {
        writer_open(&w, DBUS_TYPE_ARRAY, "{sv}");
        writer_entry_open(&w, "MinLetterCount", "i");
        writer_basic(&w, DBUS_TYPE_INT32, &least);
        writer_entry_close(&w);
        writer_entry_open(&w, "Actions", "a(sss)");
        write_action(&w);
        writer_entry_close(&w);
        writer_close(&w);
    }
    reply_send(d, call, reply, &w);
}

static void krunner_actions(Desktop *d, DBusMessage *call, DBusMessageIter *iter)
{
    Writer w;
    DBusMessage *reply = reply_new(call, &w);

    (void)iter;
    if (reply)
        write_action(&w);
    reply_send(d, call, reply, &w);
}

static void write_match(Writer *w, const DesktopHit *hit)
{
    const dbus_int32_t type = KRUNNER_POSSIBLE;

    writer_open(w, DBUS_TYPE_STRUCT, NULL);
    writer_string(w, hit->id);
    writer_string(w, hit->name);
    writer_string(w, hit->icon);
    writer_basic(w, DBUS_TYPE_INT32, &type);
    writer_basic(w, DBUS_TYPE_DOUBLE, &hit->score);
    writer_open(w, DBUS_TYPE_ARRAY, "{sv}");
    writer_entry_string(w, "subtext", hit->place);
    writer_entry_string(w, "category", "Pictures and Recordings");
    writer_entry_open(w, "urls", "as");
    writer_open(w, DBUS_TYPE_ARRAY, "s");
    writer_string(w, hit->id);
    writer_close(w);
    writer_entry_close(w);
    writer_entry_open(w, "actions", "as");
    writer_open(w, DBUS_TYPE_ARRAY, "s");
    writer_string(w, KRUNNER_FOLDER);
    writer_close(w);
    writer_entry_close(w);
    if (hit->picture)
        write_picture(w, hit);
    writer_close(w);
    writer_close(w);
}

static void write_matches(Desktop *d, DBusMessage *call)
{
    Writer w;
    DBusMessage *reply = reply_new(call, &w);

    if (reply) {
        writer_open(&w, DBUS_TYPE_ARRAY, "(sssida{sv})");
        for (size_t i = 0; i < d->hits.n; i++)
            write_match(&w, &d->hits.items[i]);
        writer_close(&w);
    }
    reply_send(d, call, reply, &w);
}

static void krunner_match(Desktop *d, DBusMessage *call, DBusMessageIter *iter)
{
    const char *text;

    dbus_message_iter_get_basic(iter, &text);
    if (strlen(text) < TEXT_MAX)
        search(d, text, true);
    else
        desktop_hits_clear(&d->hits);
    write_matches(d, call);
}

static void krunner_run(Desktop *d, DBusMessage *call, DBusMessageIter *iter)
{
    const char *id, *action;

    dbus_message_iter_get_basic(iter, &id);
    dbus_message_iter_next(iter);
    dbus_message_iter_get_basic(iter, &action);
    d->handlers->open(d->userdata, id, strcmp(action, KRUNNER_FOLDER) == 0, d->token);
    d->token[0] = '\0';
    reply_empty(d, call);
}

static void krunner_token(Desktop *d, DBusMessage *call, DBusMessageIter *iter)
{
    const char *token;

    dbus_message_iter_get_basic(iter, &token);
    if (strlen(token) < sizeof d->token)
        strcpy(d->token, token);
    reply_empty(d, call);
}

static void krunner_teardown(Desktop *d, DBusMessage *call, DBusMessageIter *iter)
{
    (void)iter;
    desktop_hits_clear(&d->hits);
    d->handlers->rest(d->userdata);
    reply_empty(d, call);
}

/* ---- dispatch ---- */

static void peer_ping(Desktop *d, DBusMessage *call, DBusMessageIter *iter)
{
    (void)iter;
    reply_empty(d, call);
}

static void peer_machine(Desktop *d, DBusMessage *call, DBusMessageIter *iter)
{
    char *id = dbus_try_get_local_machine_id(NULL);
    Writer w;
    DBusMessage *reply = reply_new(call, &w);

    (void)iter;
    if (reply)
        writer_string(&w, id ? id : "");
    dbus_free(id);
    reply_send(d, call, reply, &w);
}

static const char *const files[] = {XML_ORG_GNOME_SHELL_SEARCHPROVIDER2, XML_ORG_KDE_KRUNNER1,
                                    XML_ORG_FREEDESKTOP_DBUS_INTROSPECTABLE,
                                    XML_ORG_FREEDESKTOP_DBUS_PEER};

static void introspect(Desktop *d, DBusMessage *call, DBusMessageIter *iter)
{
    _cleanup_free_ char *xml = NULL;
    size_t size;
    FILE *out = open_memstream(&xml, &size);
    Writer w;
    DBusMessage *reply = reply_new(call, &w);

    (void)iter;
    if (out)
        fputs(DBUS_INTROSPECT_1_0_XML_DOCTYPE_DECL_NODE "<node>\n", out);
    for (size_t i = 0; out && i < sizeof files / sizeof *files; i++) {
        const char *begin = strstr(files[i], "<interface "), *end = strstr(files[i], "</node>");
        fwrite(begin, 1, (size_t)(end - begin), out);
    }
    if (out)
        fputs("</node>\n", out);
    if (reply && (!out || fclose(out) != 0))
        w.error = -ENOMEM;
    else if (reply)
        writer_string(&w, xml);
    reply_send(d, call, reply, &w);
}

static const struct Method {
    const char *interface, *name, *in;
    void (*run)(Desktop *d, DBusMessage *call, DBusMessageIter *iter);
    bool searches;
} methods[] = {
    {GNOME, "GetInitialResultSet", "as", gnome_initial, true},
    {GNOME, "GetSubsearchResultSet", "asas", gnome_subsearch, true},
    {GNOME, "GetResultMetas", "as", gnome_metas, false},
    {GNOME, "ActivateResult", "sasu", gnome_activate, false},
    {GNOME, "LaunchSearch", "asu", gnome_launch, false},
    {KRUNNER, "Config", "", krunner_config, false},
    {KRUNNER, "Actions", "", krunner_actions, false},
    {KRUNNER, "Match", "s", krunner_match, true},
    {KRUNNER, "Run", "ss", krunner_run, false},
    {KRUNNER, "SetActivationToken", "s", krunner_token, false},
    {KRUNNER, "Teardown", "", krunner_teardown, false},
    {DBUS_INTERFACE_INTROSPECTABLE, "Introspect", "", introspect, false},
    {DBUS_INTERFACE_PEER, "Ping", "", peer_ping, false},
    {DBUS_INTERFACE_PEER, "GetMachineId", "", peer_machine, false},
};

static const struct Method *method_of(DBusMessage *call)
{
    const char *interface = dbus_message_get_interface(call);

    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (dbus_message_has_member(call, methods[i].name) &&
            (!interface || strcmp(interface, methods[i].interface) == 0))
            return &methods[i];
    return NULL;
}

/* Something newer of the same kind waits behind it. */
static bool is_outdated(const Desktop *d, DBusMessage *call, const struct Method *method)
{
    const Waiting *w;

    STAILQ_FOREACH(w, &d->waiting, link)
    {
        const struct Method *other = method_of(w->call);
        if (other && other->searches && strcmp(other->interface, method->interface) == 0 &&
            dbus_message_has_sender(w->call, dbus_message_get_sender(call)))
            return true;
    }
    return false;
}

static void answer(Desktop *d, DBusMessage *call)
{
    const struct Method *method = method_of(call);
    DBusMessageIter iter;

    if (!dbus_message_has_path(call, DESKTOP_PATH))
        reply_error(d, call, DBUS_ERROR_UNKNOWN_OBJECT, "The one object is " DESKTOP_PATH ".");
    else if (!method)
        reply_error(d, call, DBUS_ERROR_UNKNOWN_METHOD, "There is no such method: see Introspect.");
    else if (!dbus_message_has_signature(call, method->in))
        reply_error(d, call, DBUS_ERROR_INVALID_ARGS,
                    "The arguments have other types: see Introspect.");
    else if (method->searches && is_outdated(d, call, method)) {
        desktop_hits_clear(&d->hits);
        if (strcmp(method->interface, GNOME) == 0)
            write_ids(d, call);
        else
            write_matches(d, call);
    } else {
        dbus_message_iter_init(call, &iter);
        method->run(d, call, &iter);
    }
}

/* All that has come in, without waiting for more. False: the bus has gone. */
static bool take_in(Desktop *d, int msec)
{
    /* Messages that came while we waited for the reply to a call of ours are here already. */
    bool ready = dbus_connection_get_dispatch_status(d->connection) == DBUS_DISPATCH_DATA_REMAINS;
    bool connected = dbus_connection_read_write(d->connection, ready ? 0 : msec);
    DBusMessage *m;

    while ((m = dbus_connection_pop_message(d->connection))) {
        Waiting *w = NULL;

        if (dbus_message_is_signal(m, DBUS_INTERFACE_LOCAL, "Disconnected"))
            connected = false;
        else if (dbus_message_get_type(m) != DBUS_MESSAGE_TYPE_METHOD_CALL)
            ;
        else if (d->n_waiting == CALLS_MAX || !(w = malloc(sizeof *w)))
            reply_error(d, m, DBUS_ERROR_LIMITS_EXCEEDED, "Too many calls wait: call again later.");
        if (w) {
            w->call = m;
            STAILQ_INSERT_TAIL(&d->waiting, w, link);
            d->n_waiting++;
        } else
            dbus_message_unref(m);
    }
    return connected;
}

/* The caller unrefs it. */
static DBusMessage *take_first(Desktop *d)
{
    Waiting *w = STAILQ_FIRST(&d->waiting);
    DBusMessage *call = w->call;

    STAILQ_REMOVE_HEAD(&d->waiting, link);
    d->n_waiting--;
    free(w);
    return call;
}

static long now_msec(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void serve(Desktop *d, unsigned idle_msec)
{
    long last = now_msec();
    bool connected = true, named = true;

    while (connected && (named || !STAILQ_EMPTY(&d->waiting))) {
        long left = last + (long)idle_msec - now_msec();

        connected = take_in(d, STAILQ_EMPTY(&d->waiting) && left > 0 ? (int)left : 0);
        if (!STAILQ_EMPTY(&d->waiting)) {
            DBusMessage *call = take_first(d);
            answer(d, call);
            dbus_message_unref(call);
            last = now_msec();
        } else if (named && now_msec() >= last + (long)idle_msec) {
            /* Whoever calls from now on gets a new one of us; who called before is served. */
            (void)dbus_bus_release_name(d->connection, DESKTOP_BUS_NAME, NULL);
            named = false;
            connected = take_in(d, 0);
        }
    }
    dbus_connection_flush(d->connection);
}

int desktop_serve(const char *bus, const DesktopHandlers *handlers, void *userdata,
                  unsigned idle_msec, ClientError *ret_error)
{
    _cleanup_(client_closep) Client *client = NULL;
    _cleanup_free_ Desktop *d = calloc(1, sizeof *d);
    DBusError error = DBUS_ERROR_INIT;
    int r;

    if (!d)
        return client_fail_memory(ret_error);
    r = client_connect(bus, &client, ret_error);
    if (r < 0)
        return r;
    d->connection = client->connection;
    d->handlers = handlers;
    d->userdata = userdata;
    STAILQ_INIT(&d->waiting);
    r = dbus_bus_request_name(d->connection, DESKTOP_BUS_NAME, DBUS_NAME_FLAG_DO_NOT_QUEUE, &error);
    if (r != DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER) {
        snprintf(ret_error->name, sizeof ret_error->name, "%s",
                 dbus_error_is_set(&error) ? error.name : DBUS_ERROR_ADDRESS_IN_USE);
        snprintf(ret_error->message, sizeof ret_error->message, "%s",
                 dbus_error_is_set(&error) ? error.message : DESKTOP_BUS_NAME " is served already");
        dbus_error_free(&error);
        return -EADDRINUSE;
    }
    serve(d, idle_msec);
    while (!STAILQ_EMPTY(&d->waiting))
        dbus_message_unref(take_first(d));
    desktop_hits_clear(&d->hits);
    return 0;
}
