#include "ipc/models.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "ipc/names.h"

#define ID_SIZE   (3 * LIMIT_MODEL_NAME + 1)
#define PATH_SIZE (sizeof PERCEPT_MODELS + ID_SIZE)
#define NODE      "  <node name=\"%s\"/>\n"

/* A name as the last part of an object path. */
static void model_id(const char *name, char id[ID_SIZE])
{
    char *end = id;

    for (; *name; name++)
        end += isascii((unsigned char)*name) && isalnum((unsigned char)*name)
                   ? sprintf(end, "%c", *name)
                   : sprintf(end, "_%02x", (unsigned char)*name);
}

static void model_path(const ServerModel *m, char path[PATH_SIZE])
{
    char id[ID_SIZE];

    model_id(m->name, id);
    snprintf(path, PATH_SIZE, "%s%s", PERCEPT_MODELS, id);
}

const ServerModel *models_find(const Server *s, const char *path)
{
    char known[PATH_SIZE];

    for (size_t i = 0; i < s->n_models; i++) {
        model_path(&s->models[i], known);
        if (strcmp(known, path) == 0)
            return &s->models[i];
    }
    return NULL;
}

size_t models_nodes_size(const Server *s)
{
    return (s->n_models + 1) * (sizeof NODE + ID_SIZE);
}

char *models_write_nodes(const Server *s, ObjectKind kind, char *xml)
{
    char id[ID_SIZE];

    if (kind == OBJECT_MANAGER)
        xml += sprintf(xml, NODE, "models");
    for (size_t i = 0; kind == OBJECT_MODELS && i < s->n_models; i++) {
        model_id(s->models[i].name, id);
        xml += sprintf(xml, NODE, id);
    }
    return xml;
}

/* The model's path and its interface with its properties: oa{sa{sv}}. */
static void write_model(Server *s, const ServerModel *m, Writer *w)
{
    const Target target = {.kind = OBJECT_MODEL, .model = m};
    char path[PATH_SIZE];
    const char *p = path;

    model_path(m, path);
    writer_basic(w, DBUS_TYPE_OBJECT_PATH, &p);
    writer_open(w, DBUS_TYPE_ARRAY, "{sa{sv}}");
    writer_open(w, DBUS_TYPE_DICT_ENTRY, NULL);
    writer_string(w, PERCEPT_MODEL);
    properties_write(s, &target, PERCEPT_MODEL, false, w);
    writer_close(w);
    writer_close(w);
}

void models_get(Server *s, const Target *target, DBusMessage *call)
{
    DBusMessage *reply = dbus_message_new_method_return(call);
    Writer w;

    (void)target;
    if (reply) {
        writer_init(&w, reply);
        writer_open(&w, DBUS_TYPE_ARRAY, "{oa{sa{sv}}}");
        for (size_t i = 0; i < s->n_models; i++) {
            writer_open(&w, DBUS_TYPE_DICT_ENTRY, NULL);
            write_model(s, &s->models[i], &w);
            writer_close(&w);
        }
        writer_close(&w);
        reply = writer_end_message(&w, reply);
    }
    server_reply(s, call, reply);
}

static void emit_added(Server *s, const ServerModel *m)
{
    DBusMessage *signal =
        dbus_message_new_signal(PERCEPT_PATH, OBJECT_MANAGER_INTERFACE, "InterfacesAdded");
    Writer w;

    if (!signal)
        return;
    writer_init(&w, signal);
    write_model(s, m, &w);
    server_signal(s, writer_end_message(&w, signal));
}

static void emit_removed(Server *s, const ServerModel *m)
{
    DBusMessage *signal =
        dbus_message_new_signal(PERCEPT_PATH, OBJECT_MANAGER_INTERFACE, "InterfacesRemoved");
    char path[PATH_SIZE];
    const char *p = path;
    Writer w;

    if (!signal)
        return;
    model_path(m, path);
    writer_init(&w, signal);
    writer_basic(&w, DBUS_TYPE_OBJECT_PATH, &p);
    writer_open(&w, DBUS_TYPE_ARRAY, "s");
    writer_string(&w, PERCEPT_MODEL);
    writer_close(&w);
    server_signal(s, writer_end_message(&w, signal));
}

static void emit_changed(Server *s, const ServerModel *m)
{
    const Target target = {.kind = OBJECT_MODEL, .model = m};
    char path[PATH_SIZE];

    model_path(m, path);
    properties_emit_of(s, &target, path, PERCEPT_MODEL);
}

static bool model_same(const ServerModel *a, const ServerModel *b)
{
    return a->selected == b->selected && a->bytes == b->bytes && a->dimension == b->dimension &&
           a->context_length == b->context_length && a->memory == b->memory &&
           strcmp(a->state, b->state) == 0 && strcmp(a->digest, b->digest) == 0;
}

static const ServerModel *model_named(const ServerModel *models, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(models[i].name, name) == 0)
            return &models[i];
    return NULL;
}

void server_models_changed(Server *s, const ServerModel *models, size_t n)
{
    ServerModel *before = s->models, *copy = calloc(n + 1, sizeof *copy);
    size_t n_before = s->n_models;

    assert(n <= LIMIT_MODELS);
    if (!copy)
        return; /* what was known before stays, until the next change */
    memcpy(copy, models, n * sizeof *copy);
    s->models = copy;
    s->n_models = n;
    for (size_t i = 0; i < n_before; i++)
        if (!model_named(copy, n, before[i].name))
            emit_removed(s, &before[i]);
    for (size_t i = 0; i < n; i++) {
        const ServerModel *old = model_named(before, n_before, copy[i].name);
        if (!old)
            emit_added(s, &copy[i]);
        else if (!model_same(old, &copy[i]))
            emit_changed(s, &copy[i]);
    }
    free(before);
}
