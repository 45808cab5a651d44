#include "ipc/client-values.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ipc/json.h"

void dict_deinit(Dict *d)
{
    for (size_t i = 0; i < d->n; i++) {
        free(d->entries[i].key);
        free(d->entries[i].json);
        free(d->entries[i].text);
    }
    free(d->entries);
    *d = (Dict){0};
}

static const DictEntry *dict_find(const Dict *d, const char *key)
{
    for (size_t i = 0; i < d->n; i++)
        if (strcmp(d->entries[i].key, key) == 0)
            return &d->entries[i];
    return NULL;
}

const char *dict_text(const Dict *d, const char *key)
{
    const DictEntry *e = dict_find(d, key);

    return e ? e->text : "";
}

const char *dict_json(const Dict *d, const char *key)
{
    const DictEntry *e = dict_find(d, key);

    return e ? e->json : "null";
}

static int entry_read(DBusMessageIter *iter, DictEntry *e)
{
    DBusMessageIter entry, value;
    const char *s;
    size_t size;
    FILE *file;

    dbus_message_iter_recurse(iter, &entry);
    dbus_message_iter_get_basic(&entry, &s);
    dbus_message_iter_next(&entry);
    value = entry;
    if (dbus_message_iter_get_arg_type(&entry) == DBUS_TYPE_VARIANT)
        dbus_message_iter_recurse(&entry, &value);
    e->key = strdup(s);
    file = open_memstream(&e->json, &size);
    if (!file)
        return -ENOMEM;
    json_value(file, &value);
    if (fclose(file) != 0)
        return -ENOMEM;
    if (dbus_message_iter_get_arg_type(&value) == DBUS_TYPE_STRING)
        dbus_message_iter_get_basic(&value, &s);
    else
        s = e->json;
    e->text = strdup(s);
    return e->key && e->text ? 0 : -ENOMEM;
}

int dict_read(DBusMessageIter *iter, Dict *ret_dict)
{
    size_t n = (size_t)dbus_message_iter_get_element_count(iter);
    _cleanup_(dict_deinit) Dict d = {.entries = calloc(n + 1, sizeof *d.entries)};
    DBusMessageIter element;

    if (!d.entries)
        return -ENOMEM;
    dbus_message_iter_recurse(iter, &element);
    for (; d.n < n; d.n++, dbus_message_iter_next(&element)) {
        int r = entry_read(&element, &d.entries[d.n]);
        if (r < 0)
            return r;
    }
    *ret_dict = d;
    d = (Dict){0};
    return 0;
}

void vectors_deinit(Vectors *v)
{
    free(v->values);
    free(v->status);
    *v = (Vectors){0};
}

/* iter stands on an ay, of four bytes a value. -EBADMSG: not as long as the others. */
static int vector_read(DBusMessageIter *iter, Vectors *v, size_t i, size_t n)
{
    DBusMessageIter bytes;
    const void *data;
    int size;

    dbus_message_iter_recurse(iter, &bytes);
    dbus_message_iter_get_fixed_array(&bytes, &data, &size);
    if (size == 0)
        return 0;
    if (!v->values) {
        v->dimension = (size_t)size / sizeof(float);
        v->values = calloc(n, v->dimension * sizeof *v->values);
        if (!v->values)
            return -ENOMEM;
    }
    if ((size_t)size != v->dimension * sizeof(float))
        return -EBADMSG;
    memcpy(v->values + i * v->dimension, data, (size_t)size);
    return 0;
}

int vectors_read(DBusMessageIter *iter, Vectors *ret_vectors)
{
    size_t n = (size_t)dbus_message_iter_get_element_count(iter);
    _cleanup_(vectors_deinit) Vectors v = {.n = n, .status = calloc(n + 1, sizeof *v.status)};
    DBusMessageIter element, part;

    if (!v.status)
        return -ENOMEM;
    dbus_message_iter_recurse(iter, &element);
    for (size_t i = 0; i < n; i++, dbus_message_iter_next(&element)) {
        part = element;
        if (dbus_message_iter_get_arg_type(&element) == DBUS_TYPE_STRUCT) {
            dbus_message_iter_recurse(&element, &part);
            dbus_message_iter_get_basic(&part, &v.status[i]);
            dbus_message_iter_next(&part);
        }
        int r = vector_read(&part, &v, i, n);
        if (r < 0)
            return r;
    }
    *ret_vectors = v;
    v = (Vectors){0};
    return 0;
}
