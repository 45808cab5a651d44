#include "ipc/methods.h"

#include "ipc/models.h"
#include "ipc/names.h"
#include "ipc/request.h"
#include "ipc/session.h"

static void manager_embed_text(Server *s, const Target *target, DBusMessage *call)
{
    (void)s;
    work_start(target->peer, WORK_EMBED_TEXT, call);
}

static void manager_embed_media(Server *s, const Target *target, DBusMessage *call)
{
    (void)s;
    work_start(target->peer, WORK_EMBED_MEDIA, call);
}

static void manager_embed_bulk(Server *s, const Target *target, DBusMessage *call)
{
    (void)s;
    work_start(target->peer, WORK_EMBED_BULK, call);
}

static void manager_classify(Server *s, const Target *target, DBusMessage *call)
{
    (void)s;
    work_start(target->peer, WORK_CLASSIFY, call);
}

static void manager_ask(Server *s, const Target *target, DBusMessage *call)
{
    (void)s;
    work_start(target->peer, WORK_ASK, call);
}

static void manager_open_session(Server *s, const Target *target, DBusMessage *call)
{
    (void)s;
    session_start(target->peer, call);
}

/* Answers the call when its caller may not. */
static bool check_admin(Server *s, const Target *target, DBusMessage *call)
{
    if (!target->peer->admin)
        server_reply_error(s, call, ERROR_ACCESS_DENIED,
                           "This is for root and the group " PERCEPT_ADMIN_GROUP ".");
    return target->peer->admin;
}

static void administer(Server *s, const Target *target, AdminVerb verb, const char *model,
                       DBusMessage *call)
{
    Failure failure;

    if (!check_admin(s, target, call))
        return;
    if (s->events.handlers->administer(s->events.userdata, verb, model, &failure) < 0)
        server_reply_failure(s, call, &failure);
    else
        server_reply_empty(s, call);
}

static void manager_load_model(Server *s, const Target *target, DBusMessage *call)
{
    if (check_admin(s, target, call))
        work_start(target->peer, WORK_LOAD, call);
}

static void manager_unload_model(Server *s, const Target *target, DBusMessage *call)
{
    const char *model = "";

    (void)dbus_message_get_args(call, NULL, DBUS_TYPE_STRING, &model, DBUS_TYPE_INVALID);
    administer(s, target, ADMIN_UNLOAD, model, call);
}

static void manager_reload(Server *s, const Target *target, DBusMessage *call)
{
    administer(s, target, ADMIN_RELOAD, "", call);
}

static void session_ask(Server *s, const Target *target, DBusMessage *call)
{
    (void)s;
    work_ask_in(target->session, call);
}

static void session_close(Server *s, const Target *target, DBusMessage *call)
{
    server_reply_empty(s, call);
    session_end(target->session);
}

static void on_wait(Server *s, const Target *target, DBusMessage *call)
{
    request_wait(s, target->work, call);
}

static void on_open_stream(Server *s, const Target *target, DBusMessage *call)
{
    request_open_stream(s, target->work, call);
}

static void on_cancel(Server *s, const Target *target, DBusMessage *call)
{
    server_reply_empty(s, call);
    work_cancel(target->work);
}

static void on_release(Server *s, const Target *target, DBusMessage *call)
{
    server_reply_empty(s, call);
    work_release(target->work);
}

/* One function for each kind of work. */
#define WORK_OF_MANAGER(function, kind)                                                            \
    static void function(Server *s, const Target *target, DBusMessage *call)                       \
    {                                                                                              \
        (void)s;                                                                                   \
        work_start(target->peer, kind, call);                                                      \
    }
#define WORK_OF_COLLECTION(function, kind)                                                         \
    static void function(Server *s, const Target *target, DBusMessage *call)                       \
    {                                                                                              \
        (void)s;                                                                                   \
        work_start_on(target->peer, kind, &target->collection, call);                              \
    }
WORK_OF_MANAGER(manager_open_collection, WORK_OPEN_COLLECTION)
WORK_OF_MANAGER(manager_delete_collection, WORK_DELETE_COLLECTION)
WORK_OF_MANAGER(manager_list_collections, WORK_LIST_COLLECTIONS)
WORK_OF_COLLECTION(collection_add_text, WORK_ADD_TEXT)
WORK_OF_COLLECTION(collection_add_media, WORK_ADD_MEDIA)
WORK_OF_COLLECTION(collection_add_vectors, WORK_ADD_VECTORS)
WORK_OF_COLLECTION(collection_remove, WORK_REMOVE)
WORK_OF_COLLECTION(collection_get, WORK_GET)
WORK_OF_COLLECTION(collection_list, WORK_LIST)
WORK_OF_COLLECTION(collection_sync, WORK_SYNC)
WORK_OF_COLLECTION(collection_search, WORK_SEARCH)
WORK_OF_COLLECTION(collection_search_media, WORK_SEARCH_MEDIA)
WORK_OF_COLLECTION(collection_search_vector, WORK_SEARCH_VECTOR)
WORK_OF_COLLECTION(collection_ask, WORK_ASK)

#define MANAGER    OBJECT_MANAGER, PERCEPT_MANAGER
#define REQUEST    OBJECT_REQUEST, PERCEPT_REQUEST
#define SESSION    OBJECT_SESSION, PERCEPT_SESSION
#define COLLECTION OBJECT_COLLECTION, PERCEPT_COLLECTION
#define ANY                                                                                        \
    OBJECT_MANAGER | OBJECT_REQUEST | OBJECT_SESSION | OBJECT_MODEL | OBJECT_LOG | OBJECT_COLLECTION
#define PROPERTIES     ANY, DBUS_INTERFACE_PROPERTIES
#define OBJECTS        OBJECT_MANAGER, OBJECT_MANAGER_INTERFACE
#define INTROSPECTABLE ANY | OBJECT_MODELS, DBUS_INTERFACE_INTROSPECTABLE

/* Peer is missing here: libdbus answers it before anything reaches us. */
/* clang-format off */
const Method methods[] = {
    { MANAGER, "EmbedText",  "asa{sv}",     "aaya{sv}",    true, manager_embed_text },
    { MANAGER, "EmbedMedia", "a(hs)a{sv}",  "a(uay)a{sv}", true, manager_embed_media },
    { MANAGER, "EmbedBulk",  "ha{sv}",      "ha{sv}",      true, manager_embed_bulk },
    { MANAGER, "Classify",   "hsasa{sv}",   "a(sd)a{sv}",  true, manager_classify },
    { MANAGER, "Ask",        "sa(hs)a{sv}", "o",           true, manager_ask },

    { MANAGER, "OpenSession", "a{sv}",      "o",           true, manager_open_session },

    { MANAGER, "OpenCollection",   "sa{sv}", "o",          true, manager_open_collection },
    { MANAGER, "DeleteCollection", "s",      "",           true, manager_delete_collection },
    { MANAGER, "ListCollections",  "",       "a(soa{sv})", true, manager_list_collections },

    { MANAGER, "LoadModel",   "sa{sv}",     "",            true, manager_load_model },
    { MANAGER, "UnloadModel", "s",          "",            true, manager_unload_model },
    { MANAGER, "Reload",      "",           "",            true, manager_reload },

    { SESSION, "Ask",        "sa(hs)a{sv}", "o",           true, session_ask },
    { SESSION, "Close",      "",            "",            true, session_close },

    { COLLECTION, "AddText",    "a(ssa{sv})",  "a(su)",   true, collection_add_text },
    { COLLECTION, "AddMedia",   "a(shsa{sv})", "a(su)",   true, collection_add_media },
    { COLLECTION, "AddVectors", "ha{sv}",      "t",       true, collection_add_vectors },
    { COLLECTION, "Remove",     "as",          "u",       true, collection_remove },
    { COLLECTION, "Get",        "as",          "a(sa{sv})", true, collection_get },
    { COLLECTION, "List",       "su",          "as",      true, collection_list },
    { COLLECTION, "Sync",       "",            "",        true, collection_sync },
    { COLLECTION, "Search",     "sa{sv}",  "a(sda{sv})a{sv}", true, collection_search },
    { COLLECTION, "SearchMedia",  "hsa{sv}", "a(sda{sv})a{sv}", true, collection_search_media },
    { COLLECTION, "SearchVector", "aya{sv}", "a(sda{sv})a{sv}", true, collection_search_vector },
    { COLLECTION, "Ask",        "sa(hs)a{sv}", "o",       true, collection_ask },

    { REQUEST, "Wait",       "",            "a{sv}",       true, on_wait },
    { REQUEST, "OpenStream", "a{sv}",       "h",           true, on_open_stream },
    { REQUEST, "Cancel",     "",            "",            true, on_cancel },
    { REQUEST, "Release",    "",            "",            true, on_release },

    { OBJECTS, "GetManagedObjects", "", "a{oa{sa{sv}}}", false, models_get },

    { PROPERTIES, "Get",     "ss",          "v",           false, properties_get },
    { PROPERTIES, "GetAll",  "s",           "a{sv}",       false, properties_get_all },
    { PROPERTIES, "Set",     "ssv",         "",            true, properties_set },

    { INTROSPECTABLE, "Introspect", "",     "s",           false, introspect },
};
/* clang-format on */
const size_t n_methods = sizeof methods / sizeof *methods;
