#include <assert.h>
#include <errno.h>
#include <string.h>

#include "ipc/methods.h"
#include "ipc/names.h"
#include "ipc/request.h"

static ServiceStatus status_of(Server *s)
{
    ServiceStatus status = {0};

    s->events.handlers->status(s->events.userdata, &status);
    return status;
}

static void get_version(Server *s, const Target *t, Writer *w)
{
    (void)t;
    writer_string(w, s->facts->version);
}

static void get_api_revision(Server *s, const Target *t, Writer *w)
{
    dbus_uint32_t revision = PERCEPT_API_REVISION;

    (void)s, (void)t;
    writer_basic(w, DBUS_TYPE_UINT32, &revision);
}

/* The first `most` of them, of which text is the very first. */
static void write_modalities(const Server *s, size_t most, Writer *w)
{
    writer_open(w, DBUS_TYPE_ARRAY, "s");
    for (size_t i = 0; i < most && s->facts->modalities[i]; i++)
        writer_string(w, s->facts->modalities[i]);
    writer_close(w);
}

static void get_modalities(Server *s, const Target *t, Writer *w)
{
    (void)t;
    write_modalities(s, SIZE_MAX, w);
}

static void get_limits(Server *s, const Target *t, Writer *w)
{
    const struct {
        const char *key;
        uint64_t value;
    } limits[] = {
        {"calls_per_connection", LIMIT_CALLS_PER_CONNECTION},
        {"calls_per_uid", LIMIT_CALLS_PER_UID},
        {"calls", LIMIT_CALLS},
        {"sessions_per_connection", LIMIT_SESSIONS_PER_CONNECTION},
        {"sessions_per_uid", LIMIT_SESSIONS_PER_UID},
        {"sessions", LIMIT_SESSIONS},
        {"loaded_models", LIMIT_LOADED_MODELS},
        {"texts", LIMIT_TEXTS},
        {"bulk_texts", LIMIT_BULK_TEXTS},
        {"bulk_bytes", LIMIT_BULK_BYTES},
        {"labels", LIMIT_LABELS},
        {"text_bytes", LIMIT_TEXT_BYTES},
        {"text_bytes_in_all", LIMIT_TEXT_BYTES_ALL},
        {"media_items", LIMIT_MEDIA_ITEMS},
        {"media_bytes", LIMIT_MEDIA_BYTES},
        {"media_bytes_per_uid", LIMIT_MEDIA_BYTES_PER_UID},
        {"inline_media_bytes", LIMIT_INLINE_MEDIA_BYTES},
        {"reply_bytes", LIMIT_REPLY_BYTES},
        {"answer_tokens", LIMIT_ANSWER_TOKENS},
        {"collections_per_uid", LIMIT_COLLECTIONS},
        {"items_per_uid", LIMIT_ITEMS},
        {"index_bytes_per_uid", LIMIT_INDEX_BYTES},
        {"items_per_call", LIMIT_ITEMS_PER_CALL},
        {"name_bytes", LIMIT_NAME},
        {"metadata_words", LIMIT_PAIRS},
        {"metadata_value_bytes", LIMIT_VALUE},
        {"hits", LIMIT_HITS},
        {"sources", LIMIT_SOURCES},
        {"deadline_ms", LIMIT_DEADLINE_MSEC},
        {"request_keep_seconds", s->facts->keep_msec / 1000},
    };

    (void)t;
    writer_open(w, DBUS_TYPE_ARRAY, "{sv}");
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        writer_entry_u64(w, limits[i].key, limits[i].value);
    writer_close(w);
}

static void get_state(Server *s, const Target *t, Writer *w)
{
    (void)t;
    writer_string(w, status_of(s).state);
}

static void get_backend(Server *s, const Target *t, Writer *w)
{
    (void)t;
    writer_string(w, status_of(s).backend);
}

static void get_degraded_reason(Server *s, const Target *t, Writer *w)
{
    (void)t;
    writer_string(w, status_of(s).degraded_reason);
}

static void get_queue_depth(Server *s, const Target *t, Writer *w)
{
    dbus_uint32_t depth = status_of(s).queue_depth;

    (void)t;
    writer_basic(w, DBUS_TYPE_UINT32, &depth);
}

static void get_model_name(Server *s, const Target *t, Writer *w)
{
    (void)s;
    writer_string(w, t->model->name);
}

static void get_model_selected(Server *s, const Target *t, Writer *w)
{
    dbus_bool_t selected = t->model->selected;

    (void)s;
    writer_basic(w, DBUS_TYPE_BOOLEAN, &selected);
}

static void get_model_state(Server *s, const Target *t, Writer *w)
{
    (void)s;
    writer_string(w, t->model->state);
}

static void get_model_bytes(Server *s, const Target *t, Writer *w)
{
    (void)s;
    writer_basic(w, DBUS_TYPE_UINT64, &t->model->bytes);
}

static void get_model_digest(Server *s, const Target *t, Writer *w)
{
    (void)s;
    writer_string(w, t->model->digest);
}

static void get_model_dimension(Server *s, const Target *t, Writer *w)
{
    (void)s;
    writer_basic(w, DBUS_TYPE_UINT32, &t->model->dimension);
}

static void get_model_context_length(Server *s, const Target *t, Writer *w)
{
    (void)s;
    writer_basic(w, DBUS_TYPE_UINT32, &t->model->context_length);
}

static void get_model_family(Server *s, const Target *t, Writer *w)
{
    (void)s;
    writer_string(w, t->model->family);
}

static void get_model_modalities(Server *s, const Target *t, Writer *w)
{
    const ServerModel *m = t->model;

    write_modalities(s, !*m->family ? 0 : m->senses ? SIZE_MAX : 1, w);
}

static void get_model_memory(Server *s, const Target *t, Writer *w)
{
    (void)s;
    writer_basic(w, DBUS_TYPE_UINT64, &t->model->memory);
}

static void get_log_level(Server *s, const Target *t, Writer *w)
{
    (void)t;
    writer_string(w, s->events.handlers->get_log(s->events.userdata, LOG_SETTING_LEVEL));
}

static int set_log_level(Server *s, const char *value, Failure *failure)
{
    return s->events.handlers->set_log(s->events.userdata, LOG_SETTING_LEVEL, value, failure);
}

static void get_log_target(Server *s, const Target *t, Writer *w)
{
    (void)t;
    writer_string(w, s->events.handlers->get_log(s->events.userdata, LOG_SETTING_TARGET));
}

static int set_log_target(Server *s, const char *value, Failure *failure)
{
    return s->events.handlers->set_log(s->events.userdata, LOG_SETTING_TARGET, value, failure);
}

static void get_syslog_identifier(Server *s, const Target *t, Writer *w)
{
    (void)s, (void)t;
    writer_string(w, program_invocation_short_name);
}

static void get_stage(Server *s, const Target *t, Writer *w)
{
    (void)s;
    writer_string(w, t->work->request->stage);
}

static void get_progress(Server *s, const Target *t, Writer *w)
{
    (void)s;
    writer_basic(w, DBUS_TYPE_DOUBLE, &t->work->request->progress);
}

#define MANAGER OBJECT_MANAGER, PERCEPT_MANAGER
#define REQUEST OBJECT_REQUEST, PERCEPT_REQUEST
#define MODEL   OBJECT_MODEL, PERCEPT_MODEL
#define LOG     OBJECT_LOG, LOG_CONTROL

/* clang-format off */
const Property properties[] = {
    { MANAGER, "Version",        "s",     PROPERTY_CONSTANT, get_version, NULL },
    { MANAGER, "ApiRevision",    "u",     PROPERTY_CONSTANT, get_api_revision, NULL },
    { MANAGER, "Modalities",     "as",    PROPERTY_CONSTANT, get_modalities, NULL },
    { MANAGER, "Limits",         "a{sv}", PROPERTY_CONSTANT, get_limits, NULL },
    { MANAGER, "State",          "s",     PROPERTY_EMITS,    get_state, NULL },
    { MANAGER, "Backend",        "s",     PROPERTY_EMITS,    get_backend, NULL },
    { MANAGER, "DegradedReason", "s",     PROPERTY_EMITS,    get_degraded_reason, NULL },
    { MANAGER, "QueueDepth",     "u",     PROPERTY_POLL,     get_queue_depth, NULL },
    { REQUEST, "Stage",          "s",     PROPERTY_POLL,     get_stage, NULL },
    { REQUEST, "Progress",       "d",     PROPERTY_POLL,     get_progress, NULL },

    { MODEL, "Name",             "s",     PROPERTY_CONSTANT, get_model_name, NULL },
    { MODEL, "Selected",         "b",     PROPERTY_EMITS,    get_model_selected, NULL },
    { MODEL, "State",            "s",     PROPERTY_EMITS,    get_model_state, NULL },
    { MODEL, "Bytes",            "t",     PROPERTY_EMITS,    get_model_bytes, NULL },
    { MODEL, "Digest",           "s",     PROPERTY_EMITS,    get_model_digest, NULL },
    { MODEL, "Dimension",        "u",     PROPERTY_EMITS,    get_model_dimension, NULL },
    { MODEL, "ContextLength",    "u",     PROPERTY_EMITS,    get_model_context_length, NULL },
    { MODEL, "Family",           "s",     PROPERTY_EMITS,    get_model_family, NULL },
    { MODEL, "Modalities",       "as",    PROPERTY_EMITS,    get_model_modalities, NULL },
    { MODEL, "Memory",           "t",     PROPERTY_EMITS,    get_model_memory, NULL },

    { LOG, "LogLevel",           "s",     PROPERTY_POLL,     get_log_level, set_log_level },
    { LOG, "LogTarget",          "s",     PROPERTY_POLL,     get_log_target, set_log_target },
    { LOG, "SyslogIdentifier",   "s",     PROPERTY_CONSTANT, get_syslog_identifier, NULL },
};
/* clang-format on */
const size_t n_properties = sizeof properties / sizeof *properties;

static void write_variant(Server *s, const Property *p, const Target *target, Writer *w)
{
    writer_open(w, DBUS_TYPE_VARIANT, p->signature);
    p->get(s, target, w);
    writer_close(w);
}

void properties_write(Server *s, const Target *target, const char *interface, bool emitting,
                      Writer *w)
{
    writer_open(w, DBUS_TYPE_ARRAY, "{sv}");
    for (size_t i = 0; i < n_properties; i++) {
        const Property *p = &properties[i];
        if (p->object != target->kind || (*interface && strcmp(p->interface, interface) != 0) ||
            (emitting && p->change != PROPERTY_EMITS))
            continue;
        writer_open(w, DBUS_TYPE_DICT_ENTRY, NULL);
        writer_string(w, p->name);
        write_variant(s, p, target, w);
        writer_close(w);
    }
    writer_close(w);
}

bool target_has_interface(const Target *target, const char *name)
{
    for (size_t i = 0; i < n_interfaces; i++)
        if ((interfaces[i].objects & target->kind) && strcmp(interfaces[i].name, name) == 0)
            return true;
    return false;
}

/* An empty interface stands for all of them, as the specification has it. Answers the call when
 * there is none. */
static bool check_interface(Server *s, const Target *target, const char *name, DBusMessage *call)
{
    if (!*name || target_has_interface(target, name))
        return true;
    server_reply_error(s, call, ERROR_UNKNOWN_INTERFACE, "This object has no such interface.");
    return false;
}

static const Property *property_find(const Target *target, const char *interface, const char *name)
{
    for (size_t i = 0; i < n_properties; i++)
        if (properties[i].object == target->kind && strcmp(properties[i].name, name) == 0 &&
            (!*interface || strcmp(properties[i].interface, interface) == 0))
            return &properties[i];
    return NULL;
}

void properties_get(Server *s, const Target *target, DBusMessage *call)
{
    const char *interface, *name;
    const Property *p;
    DBusMessage *reply;
    Writer w;

    (void)dbus_message_get_args(call, NULL, DBUS_TYPE_STRING, &interface, DBUS_TYPE_STRING, &name,
                                DBUS_TYPE_INVALID);
    if (!check_interface(s, target, interface, call))
        return;
    p = property_find(target, interface, name);
    if (!p) {
        server_reply_error(s, call, ERROR_UNKNOWN_PROPERTY, "This object has no such property.");
        return;
    }
    reply = dbus_message_new_method_return(call);
    if (reply) {
        writer_init(&w, reply);
        write_variant(s, p, target, &w);
        reply = writer_end_message(&w, reply);
    }
    server_reply(s, call, reply);
}

void properties_get_all(Server *s, const Target *target, DBusMessage *call)
{
    const char *interface;
    DBusMessage *reply;
    Writer w;

    (void)dbus_message_get_args(call, NULL, DBUS_TYPE_STRING, &interface, DBUS_TYPE_INVALID);
    if (!check_interface(s, target, interface, call))
        return;
    reply = dbus_message_new_method_return(call);
    if (reply) {
        writer_init(&w, reply);
        properties_write(s, target, interface, false, &w);
        reply = writer_end_message(&w, reply);
    }
    server_reply(s, call, reply);
}

static void set_property(Server *s, const Target *target, const Property *p,
                         DBusMessageIter *variant, DBusMessage *call)
{
    DBusMessageIter value;
    const char *text;
    Failure failure;

    if (!target->peer->admin) {
        server_reply_error(s, call, ERROR_ACCESS_DENIED,
                           "This is for root and the group " PERCEPT_ADMIN_GROUP ".");
        return;
    }
    dbus_message_iter_recurse(variant, &value);
    if (dbus_message_iter_get_arg_type(&value) != DBUS_TYPE_STRING) {
        server_reply_error(s, call, ERROR_INVALID_ARGS, "The property is a string.");
        return;
    }
    dbus_message_iter_get_basic(&value, &text);
    if (p->set(s, text, &failure) < 0)
        server_reply_failure(s, call, &failure);
    else
        server_reply_empty(s, call);
}

void properties_set(Server *s, const Target *target, DBusMessage *call)
{
    DBusMessageIter iter;
    const char *interface, *name;
    const Property *p;

    dbus_message_iter_init(call, &iter);
    dbus_message_iter_get_basic(&iter, &interface);
    dbus_message_iter_next(&iter);
    dbus_message_iter_get_basic(&iter, &name);
    dbus_message_iter_next(&iter);
    if (!check_interface(s, target, interface, call))
        return;
    p = property_find(target, interface, name);
    if (!p)
        server_reply_error(s, call, ERROR_UNKNOWN_PROPERTY, "This object has no such property.");
    else if (!p->set)
        server_reply_error(s, call, ERROR_PROPERTY_READ_ONLY, "This property is read-only.");
    else
        set_property(s, target, p, &iter, call);
}

void properties_emit_of(Server *s, const Target *target, const char *path, const char *interface)
{
    DBusMessage *m = dbus_message_new_signal(path, DBUS_INTERFACE_PROPERTIES, "PropertiesChanged");
    Writer w;

    if (!m)
        return;
    writer_init(&w, m);
    writer_string(&w, interface);
    properties_write(s, target, interface, true, &w);
    writer_open(&w, DBUS_TYPE_ARRAY, "s");
    writer_close(&w);
    server_signal(s, writer_end_message(&w, m));
}

void properties_emit(Server *s)
{
    const Target manager = {.kind = OBJECT_MANAGER};

    properties_emit_of(s, &manager, PERCEPT_PATH, PERCEPT_MANAGER);
}
