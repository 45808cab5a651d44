#include "ipc/client-collection.h"

#include <errno.h>
#include <string.h>

#include "ipc/client-private.h"
#include "ipc/client-values.h"
#include "ipc/names.h"

void client_entries_deinit(ClientEntries *e)
{
    for (size_t i = 0; i < e->n; i++) {
        free(e->items[i].id);
        free(e->items[i].modality);
        dict_deinit(&e->items[i].metadata);
    }
    free(e->items);
    *e = (ClientEntries){0};
}

void client_collections_deinit(ClientCollections *c)
{
    for (size_t i = 0; i < c->n; i++) {
        free(c->items[i].name);
        free(c->items[i].path);
        free(c->items[i].state);
    }
    free(c->items);
    *c = (ClientCollections){0};
}

static DBusMessage *collection_call(const char *path, const char *member, Writer *w)
{
    return client_call_new(path, PERCEPT_COLLECTION, member, w);
}

/* Errors of reading a reply, as errors of the call. */
static int fail_read(int r, ClientError *e)
{
    return r >= 0 ? 0 : r == -EBADMSG ? client_fail_reply(e) : client_fail_memory(e);
}

int client_open_collection(Client *c, const char *name, char ret_path[CLIENT_PATH_MAX],
                           ClientError *ret_error)
{
    Writer w;
    DBusMessage *call = client_call_new(PERCEPT_PATH, PERCEPT_MANAGER, "OpenCollection", &w);

    if (!call)
        return client_fail_memory(ret_error);
    writer_string(&w, name);
    writer_open(&w, DBUS_TYPE_ARRAY, "{sv}");
    writer_close(&w);
    return client_call_path(c, call, &w, ret_path, ret_error);
}

/* Of the dictionary that iter stands on; NULL where there is none of this type. */
static bool find_value(DBusMessageIter *iter, const char *key, int type, DBusMessageIter *ret_value)
{
    DBusMessageIter element, entry;
    const char *name;

    dbus_message_iter_recurse(iter, &element);
    for (; dbus_message_iter_get_arg_type(&element) == DBUS_TYPE_DICT_ENTRY;
         dbus_message_iter_next(&element)) {
        dbus_message_iter_recurse(&element, &entry);
        dbus_message_iter_get_basic(&entry, &name);
        dbus_message_iter_next(&entry);
        if (strcmp(name, key) != 0)
            continue;
        dbus_message_iter_recurse(&entry, ret_value);
        return dbus_message_iter_get_arg_type(ret_value) == type;
    }
    return false;
}

static int copy_string(DBusMessageIter *iter, char **ret_string)
{
    const char *s;

    dbus_message_iter_get_basic(iter, &s);
    *ret_string = strdup(s);
    return *ret_string ? 0 : -ENOMEM;
}

static int find_string(DBusMessageIter *iter, const char *key, char **ret_string)
{
    DBusMessageIter value;

    if (find_value(iter, key, DBUS_TYPE_STRING, &value))
        return copy_string(&value, ret_string);
    *ret_string = strdup("");
    return *ret_string ? 0 : -ENOMEM;
}

static void find_basic(DBusMessageIter *iter, const char *key, int type, void *ret_value)
{
    DBusMessageIter value;

    if (find_value(iter, key, type, &value))
        dbus_message_iter_get_basic(&value, ret_value);
}

/* (name, path, properties) */
static int collection_read(DBusMessageIter *iter, ClientCollection *ret_collection)
{
    DBusMessageIter part;
    int r;

    dbus_message_iter_recurse(iter, &part);
    r = copy_string(&part, &ret_collection->name);
    dbus_message_iter_next(&part);
    if (r >= 0)
        r = copy_string(&part, &ret_collection->path);
    dbus_message_iter_next(&part);
    if (r >= 0)
        r = find_string(&part, "state", &ret_collection->state);
    find_basic(&part, "items", DBUS_TYPE_UINT64, &ret_collection->items);
    find_basic(&part, "stale_items", DBUS_TYPE_UINT64, &ret_collection->stale);
    find_basic(&part, "progress", DBUS_TYPE_DOUBLE, &ret_collection->progress);
    return r;
}

int client_list_collections(Client *c, ClientCollections *ret_collections, ClientError *ret_error)
{
    _cleanup_(client_collections_deinit) ClientCollections found = {0};
    DBusMessageIter iter, element;
    DBusMessage *reply;
    Writer w;
    DBusMessage *call = client_call_new(PERCEPT_PATH, PERCEPT_MANAGER, "ListCollections", &w);
    size_t n;
    int r;

    if (!call)
        return client_fail_memory(ret_error);
    r = client_call_send(c, call, &w, "a(soa{sv})", CLIENT_TIMEOUT_MSEC, &reply, ret_error);
    if (r < 0)
        return r;
    dbus_message_iter_init(reply, &iter);
    n = (size_t)dbus_message_iter_get_element_count(&iter);
    found.items = calloc(n + 1, sizeof *found.items);
    if (!found.items)
        r = -ENOMEM;
    dbus_message_iter_recurse(&iter, &element);
    for (; r >= 0 && found.n < n; dbus_message_iter_next(&element))
        r = collection_read(&element, &found.items[found.n++]);
    dbus_message_unref(reply);
    if (r < 0)
        return fail_read(r, ret_error);
    *ret_collections = found;
    found = (ClientCollections){0};
    return 0;
}

int client_find_collection(Client *c, const char *name, char ret_path[CLIENT_PATH_MAX],
                           ClientError *ret_error)
{
    _cleanup_(client_collections_deinit) ClientCollections found = {0};
    int r = client_list_collections(c, &found, ret_error);

    if (r < 0)
        return r;
    for (size_t i = 0; i < found.n; i++)
        if (strcmp(found.items[i].name, name) == 0 &&
            strlen(found.items[i].path) < CLIENT_PATH_MAX) {
            strcpy(ret_path, found.items[i].path);
            return 0;
        }
    *ret_error = (ClientError){"NoSuchCollection", "there is no collection of this name"};
    return -ENOENT;
}

/* ---- adding ---- */

static void write_metadata(Writer *w, const ClientPair *pairs, size_t n)
{
    writer_entry_open(w, "metadata", "a{ss}");
    writer_open(w, DBUS_TYPE_ARRAY, "{ss}");
    for (size_t i = 0; i < n; i++) {
        writer_open(w, DBUS_TYPE_DICT_ENTRY, NULL);
        writer_string(w, pairs[i].key);
        writer_string(w, pairs[i].value);
        writer_close(w);
    }
    writer_close(w);
    writer_entry_close(w);
}

/* (identifier, descriptor, type, options) */
static void write_item(Writer *w, const ClientItem *item)
{
    writer_open(w, DBUS_TYPE_STRUCT, NULL);
    writer_string(w, item->id);
    writer_basic(w, DBUS_TYPE_UNIX_FD, &item->medium.fd);
    writer_string(w, item->medium.type);
    writer_open(w, DBUS_TYPE_ARRAY, "{sv}");
    write_metadata(w, item->metadata, item->n_metadata);
    /* A collection finds a long recording by its beginning. */
    writer_entry_string(w, "truncate", "head");
    writer_close(w);
    writer_close(w);
}

int client_add_begin(Client *c, const char *path, const ClientItem *items, size_t n,
                     ClientAdding **ret_adding, ClientError *ret_error)
{
    DBusPendingCall *pending;
    Writer w;
    DBusMessage *call = collection_call(path, "AddMedia", &w);
    int r;

    if (!call)
        return client_fail_memory(ret_error);
    writer_open(&w, DBUS_TYPE_ARRAY, "(shsa{sv})");
    for (size_t i = 0; i < n; i++)
        write_item(&w, &items[i]);
    writer_close(&w);
    r = client_call_begin(c, call, &w, CLIENT_TIMEOUT_MSEC, &pending, ret_error);
    if (r >= 0)
        *ret_adding = (ClientAdding *)pending;
    return r;
}

int client_add_end(ClientAdding *adding, size_t n, uint32_t *ret_status, ClientError *ret_error)
{
    DBusMessageIter iter, element, part;
    DBusMessage *reply;
    int r = client_call_end((DBusPendingCall *)adding, "a(su)", &reply, ret_error);

    if (r < 0)
        return r;
    dbus_message_iter_init(reply, &iter);
    if ((size_t)dbus_message_iter_get_element_count(&iter) != n)
        r = client_fail_reply(ret_error);
    dbus_message_iter_recurse(&iter, &element);
    for (size_t i = 0; r >= 0 && i < n; i++, dbus_message_iter_next(&element)) {
        dbus_message_iter_recurse(&element, &part);
        dbus_message_iter_next(&part);
        dbus_message_iter_get_basic(&part, &ret_status[i]);
    }
    dbus_message_unref(reply);
    return r;
}

/* ---- what there is ---- */

static DBusMessage *call_with_ids(const char *path, const char *member, const char *const *ids,
                                  size_t n, Writer *w)
{
    DBusMessage *call = collection_call(path, member, w);

    if (!call)
        return NULL;
    writer_open(w, DBUS_TYPE_ARRAY, "s");
    for (size_t i = 0; i < n; i++)
        writer_string(w, ids[i]);
    writer_close(w);
    return call;
}

int client_remove(Client *c, const char *path, const char *const *ids, size_t n,
                  uint32_t *ret_removed, ClientError *ret_error)
{
    DBusMessage *reply;
    Writer w;
    DBusMessage *call = call_with_ids(path, "Remove", ids, n, &w);
    int r;

    if (!call)
        return client_fail_memory(ret_error);
    r = client_call_send(c, call, &w, "u", CLIENT_TIMEOUT_MSEC, &reply, ret_error);
    if (r < 0)
        return r;
    (void)dbus_message_get_args(reply, NULL, DBUS_TYPE_UINT32, ret_removed, DBUS_TYPE_INVALID);
    dbus_message_unref(reply);
    return 0;
}

/* What Get and hits say of an item. */
static int properties_read(DBusMessageIter *iter, ClientEntry *entry)
{
    DBusMessageIter value;
    dbus_bool_t stale = FALSE;
    int r = find_string(iter, "modality", &entry->modality);

    find_basic(iter, "stale", DBUS_TYPE_BOOLEAN, &stale);
    entry->stale = stale;
    find_basic(iter, "rank", DBUS_TYPE_UINT32, &entry->rank);
    if (r >= 0 && find_value(iter, "metadata", DBUS_TYPE_ARRAY, &value))
        r = dict_read(&value, &entry->metadata);
    return r;
}

/* iter stands on an identifier; a(sa{sv}) and a(sda{sv}) differ by the score. */
static int entry_read(DBusMessageIter *iter, ClientEntry *ret_entry)
{
    DBusMessageIter part = *iter;
    int r;

    if (dbus_message_iter_get_arg_type(iter) == DBUS_TYPE_STRUCT)
        dbus_message_iter_recurse(iter, &part);
    r = copy_string(&part, &ret_entry->id);
    if (r < 0 || dbus_message_iter_get_arg_type(iter) != DBUS_TYPE_STRUCT)
        return r;
    dbus_message_iter_next(&part);
    if (dbus_message_iter_get_arg_type(&part) == DBUS_TYPE_DOUBLE) {
        dbus_message_iter_get_basic(&part, &ret_entry->score);
        dbus_message_iter_next(&part);
    }
    return properties_read(&part, ret_entry);
}

static int entries_read(DBusMessageIter *iter, ClientEntries *ret_entries)
{
    _cleanup_(client_entries_deinit) ClientEntries found = {0};
    size_t n = (size_t)dbus_message_iter_get_element_count(iter);
    DBusMessageIter element;

    found.items = calloc(n + 1, sizeof *found.items);
    if (!found.items)
        return -ENOMEM;
    dbus_message_iter_recurse(iter, &element);
    for (; found.n < n; dbus_message_iter_next(&element)) {
        int r = entry_read(&element, &found.items[found.n++]);
        if (r < 0)
            return r;
    }
    *ret_entries = found;
    found = (ClientEntries){0};
    return 0;
}

/* Sends the call, which is taken, and reads the list that comes back first. */
static int call_for_entries(Client *c, DBusMessage *call, Writer *w, const char *signature,
                            ClientEntries *ret_entries, Dict *ret_info, ClientError *ret_error)
{
    ClientEntries found = {0};
    DBusMessageIter iter;
    DBusMessage *reply;
    int r = client_call_send(c, call, w, signature, CLIENT_TIMEOUT_MSEC, &reply, ret_error);

    if (r < 0)
        return r;
    dbus_message_iter_init(reply, &iter);
    r = entries_read(&iter, &found);
    if (r >= 0 && ret_info) {
        dbus_message_iter_next(&iter);
        r = dict_read(&iter, ret_info);
    }
    dbus_message_unref(reply);
    if (r < 0) {
        client_entries_deinit(&found);
        return fail_read(r, ret_error);
    }
    *ret_entries = found;
    return 0;
}

int client_get(Client *c, const char *path, const char *const *ids, size_t n,
               ClientEntries *ret_entries, ClientError *ret_error)
{
    Writer w;
    DBusMessage *call = call_with_ids(path, "Get", ids, n, &w);
    int r;

    if (!call)
        return client_fail_memory(ret_error);
    r = call_for_entries(c, call, &w, "a(sa{sv})", ret_entries, NULL, ret_error);
    if (r == -EREMOTEIO && strcmp(ret_error->name, "NoSuchItem") == 0) {
        *ret_entries = (ClientEntries){0}; /* none of them is there */
        return 0;
    }
    return r;
}

int client_list(Client *c, const char *path, const char *after, uint32_t limit,
                ClientEntries *ret_entries, ClientError *ret_error)
{
    Writer w;
    DBusMessage *call = collection_call(path, "List", &w);

    if (!call)
        return client_fail_memory(ret_error);
    writer_string(&w, after);
    writer_basic(&w, DBUS_TYPE_UINT32, &limit);
    return call_for_entries(c, call, &w, "as", ret_entries, NULL, ret_error);
}

int client_sync(Client *c, const char *path, ClientError *ret_error)
{
    DBusMessage *reply;
    Writer w;
    DBusMessage *call = collection_call(path, "Sync", &w);
    int r;

    if (!call)
        return client_fail_memory(ret_error);
    r = client_call_send(c, call, &w, "", CLIENT_TIMEOUT_MSEC, &reply, ret_error);
    if (r >= 0)
        dbus_message_unref(reply);
    return r;
}

int client_search(Client *c, const char *path, const ClientQuery *query, ClientEntries *ret_hits,
                  Dict *ret_info, ClientError *ret_error)
{
    Writer w;
    DBusMessage *call = collection_call(path, query->medium ? "SearchMedia" : "Search", &w);

    if (!call)
        return client_fail_memory(ret_error);
    if (query->medium) {
        writer_basic(&w, DBUS_TYPE_UNIX_FD, &query->medium->fd);
        writer_string(&w, query->medium->type);
    } else
        writer_string(&w, query->text);
    writer_open(&w, DBUS_TYPE_ARRAY, "{sv}");
    writer_entry_u32(&w, "limit", query->limit);
    if (query->min_score > 0)
        writer_entry_double(&w, "min_score", query->min_score);
    writer_close(&w);
    return call_for_entries(c, call, &w, "a(sda{sv})a{sv}", ret_hits, ret_info, ret_error);
}
