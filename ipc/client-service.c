#include "ipc/client-service.h"

#include <errno.h>
#include <string.h>

#include "ipc/client-private.h"
#include "ipc/client-values.h"
#include "ipc/names.h"

/* Properties cost nothing; the bus gives up starting a service after 25 s. */
#define ANSWER_MSEC 5000
#define START_MSEC  30000

/* The dictionary of interface `name` among the a{sa{sv}} that iter stands on. */
static bool find_interface(DBusMessageIter *iter, const char *name, DBusMessageIter *ret_properties)
{
    DBusMessageIter element, entry;
    const char *interface;

    dbus_message_iter_recurse(iter, &element);
    for (; dbus_message_iter_get_arg_type(&element) == DBUS_TYPE_DICT_ENTRY;
         dbus_message_iter_next(&element)) {
        dbus_message_iter_recurse(&element, &entry);
        dbus_message_iter_get_basic(&entry, &interface);
        dbus_message_iter_next(&entry);
        *ret_properties = entry;
        if (strcmp(interface, name) == 0)
            return true;
    }
    return false;
}

static int read_selected(DBusMessage *reply, Dict *ret_model)
{
    DBusMessageIter iter, element, entry, properties;

    dbus_message_iter_init(reply, &iter);
    dbus_message_iter_recurse(&iter, &element);
    for (; dbus_message_iter_get_arg_type(&element) == DBUS_TYPE_DICT_ENTRY;
         dbus_message_iter_next(&element)) {
        Dict model;
        int r;

        dbus_message_iter_recurse(&element, &entry);
        dbus_message_iter_next(&entry);
        if (!find_interface(&entry, PERCEPT_MODEL, &properties))
            continue;
        r = dict_read(&properties, &model);
        if (r < 0)
            return r;
        if (strcmp(dict_json(&model, "Selected"), "true") == 0) {
            *ret_model = model;
            return 0;
        }
        dict_deinit(&model);
    }
    *ret_model = (Dict){0};
    return 0;
}

int client_selected_model(Client *c, Dict *ret_model, ClientError *ret_error)
{
    DBusMessage *reply;
    Writer w;
    DBusMessage *call =
        client_call_new(PERCEPT_PATH, OBJECT_MANAGER_INTERFACE, "GetManagedObjects", &w);
    int r;

    if (!call)
        return client_fail_memory(ret_error);
    r = client_call_send(c, call, &w, "a{oa{sa{sv}}}", CLIENT_TIMEOUT_MSEC, &reply, ret_error);
    if (r < 0)
        return r;
    r = read_selected(reply, ret_model);
    dbus_message_unref(reply);
    return r < 0 ? client_fail_memory(ret_error) : 0;
}

/* A call to the bus itself. */
static DBusMessage *bus_call_new(const char *member, Writer *w)
{
    DBusMessage *m = dbus_message_new_method_call(DBUS_SERVICE_DBUS, DBUS_PATH_DBUS,
                                                  DBUS_INTERFACE_DBUS, member);

    if (m)
        writer_init(w, m);
    return m;
}

int client_process(Client *c, uint32_t *ret_pid, ClientError *ret_error)
{
    DBusMessage *reply;
    Writer w;
    DBusMessage *call = bus_call_new("GetConnectionUnixProcessID", &w);
    int r;

    if (!call)
        return client_fail_memory(ret_error);
    writer_string(&w, PERCEPT_BUS_NAME);
    r = client_call_send(c, call, &w, "u", CLIENT_TIMEOUT_MSEC, &reply, ret_error);
    if (r < 0)
        return r;
    (void)dbus_message_get_args(reply, NULL, DBUS_TYPE_UINT32, ret_pid, DBUS_TYPE_INVALID);
    dbus_message_unref(reply);
    return 0;
}

static bool is_owned(Client *c)
{
    dbus_bool_t owned = FALSE;
    DBusMessage *reply;
    ClientError error;
    Writer w;
    DBusMessage *call = bus_call_new("NameHasOwner", &w);

    if (!call)
        return false;
    writer_string(&w, PERCEPT_BUS_NAME);
    if (client_call_send(c, call, &w, "b", ANSWER_MSEC, &reply, &error) < 0)
        return false;
    (void)dbus_message_get_args(reply, NULL, DBUS_TYPE_BOOLEAN, &owned, DBUS_TYPE_INVALID);
    dbus_message_unref(reply);
    return owned;
}

/* Calls that the policy of the system's bus refuses fail with these. */
static BusFinding finding_of(int r, const ClientError *e)
{
    static const struct {
        const char *name;
        BusFinding finding;
    } known[] = {
        {DBUS_ERROR_SERVICE_UNKNOWN, BUS_WITHOUT_SERVICE},
        {DBUS_ERROR_NAME_HAS_NO_OWNER, BUS_WITHOUT_SERVICE},
        {DBUS_ERROR_ACCESS_DENIED, BUS_FORBIDS},
        {DBUS_ERROR_NO_REPLY, BUS_SILENT},
        {DBUS_ERROR_TIMEOUT, BUS_SILENT},
        {DBUS_ERROR_TIMED_OUT, BUS_CANNOT_START}, /* of the activation */
    };

    if (r >= 0)
        return BUS_GOOD;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(e->name, known[i].name) == 0)
            return known[i].finding;
    /* org.freedesktop.DBus.Error.Spawn.*, org.freedesktop.systemd1.* */
    return BUS_CANNOT_START;
}

BusFinding client_examine(const char *bus, Client **ret_client, ClientError *ret_error)
{
    _cleanup_(client_closep) Client *c = NULL;
    BusFinding finding;
    Dict properties;
    int r = client_connect(bus, &c, ret_error);

    if (r < 0)
        return BUS_MISSING;
    r = client_properties_within(c, is_owned(c) ? ANSWER_MSEC : START_MSEC, &properties, ret_error);
    finding = finding_of(r, ret_error);
    if (finding != BUS_GOOD)
        return finding;
    dict_deinit(&properties);
    *ret_client = steal_ptr(&c);
    return BUS_GOOD;
}
