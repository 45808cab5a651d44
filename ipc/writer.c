#include "ipc/writer.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "ipc/text.h"

void writer_init(Writer *w, DBusMessage *message)
{
    w->depth = 0;
    w->error = 0;
    dbus_message_iter_init_append(message, &w->stack[0]);
}

int writer_end(Writer *w)
{
    assert(w->error || w->depth == 0);
    for (; w->depth > 0; w->depth--)
        dbus_message_iter_abandon_container(&w->stack[w->depth - 1], &w->stack[w->depth]);
    return w->error;
}

DBusMessage *writer_end_message(Writer *w, DBusMessage *message)
{
    if (writer_end(w) >= 0)
        return message;
    dbus_message_unref(message);
    return NULL;
}

void writer_open(Writer *w, int type, const char *contents)
{
    if (w->error)
        return;
    assert(w->depth + 1 < WRITER_DEPTH);
    if (dbus_message_iter_open_container(&w->stack[w->depth], type, contents,
                                         &w->stack[w->depth + 1]))
        w->depth++;
    else
        w->error = -ENOMEM;
}

void writer_close(Writer *w)
{
    if (w->error)
        return;
    assert(w->depth > 0);
    w->depth--;
    if (!dbus_message_iter_close_container(&w->stack[w->depth], &w->stack[w->depth + 1]))
        w->error = -ENOMEM;
}

/* A copy with U+FFFD for what is unsound. */
static int append_repaired(Writer *w, const char *s)
{
    TextBuffer text = {0};
    const char *clean;
    int r = text_append(&text, s, strlen(s));

    if (r >= 0)
        r = text_end(&text);
    clean = text.data;
    if (r >= 0 && !dbus_message_iter_append_basic(&w->stack[w->depth], DBUS_TYPE_STRING, &clean))
        r = -ENOMEM;
    text_deinit(&text);
    return r;
}

void writer_basic(Writer *w, int type, const void *value)
{
    const char *s = NULL;

    if (w->error)
        return;
    if (type == DBUS_TYPE_STRING || type == DBUS_TYPE_OBJECT_PATH || type == DBUS_TYPE_SIGNATURE)
        s = *(const char *const *)value;
    assert(type != DBUS_TYPE_OBJECT_PATH || dbus_validate_path(s, NULL));
    assert(type != DBUS_TYPE_SIGNATURE || dbus_signature_validate(s, NULL));

    if (type == DBUS_TYPE_STRING && !utf8_is_sound(s, strlen(s)))
        w->error = append_repaired(w, s);
    else if (!dbus_message_iter_append_basic(&w->stack[w->depth], type, value))
        w->error = -ENOMEM;
}

void writer_string(Writer *w, const char *s)
{
    writer_basic(w, DBUS_TYPE_STRING, &s);
}

void writer_bytes(Writer *w, const void *data, size_t size)
{
    writer_open(w, DBUS_TYPE_ARRAY, DBUS_TYPE_BYTE_AS_STRING);
    if (!w->error && !dbus_message_iter_append_fixed_array(&w->stack[w->depth], DBUS_TYPE_BYTE,
                                                           &data, (int)size))
        w->error = -ENOMEM;
    writer_close(w);
}

void writer_entry_open(Writer *w, const char *key, const char *signature)
{
    writer_open(w, DBUS_TYPE_DICT_ENTRY, NULL);
    writer_string(w, key);
    writer_open(w, DBUS_TYPE_VARIANT, signature);
}

void writer_entry_close(Writer *w)
{
    writer_close(w);
    writer_close(w);
}

static void entry_basic(Writer *w, const char *key, int type, const void *value)
{
    writer_entry_open(w, key, (const char[]){(char)type, '\0'});
    writer_basic(w, type, value);
    writer_entry_close(w);
}

void writer_entry_string(Writer *w, const char *key, const char *value)
{
    entry_basic(w, key, DBUS_TYPE_STRING, &value);
}

void writer_entry_u32(Writer *w, const char *key, uint32_t value)
{
    entry_basic(w, key, DBUS_TYPE_UINT32, &value);
}

void writer_entry_u64(Writer *w, const char *key, uint64_t value)
{
    entry_basic(w, key, DBUS_TYPE_UINT64, &value);
}

void writer_entry_double(Writer *w, const char *key, double value)
{
    entry_basic(w, key, DBUS_TYPE_DOUBLE, &value);
}

void writer_entry_bool(Writer *w, const char *key, bool value)
{
    dbus_bool_t b = value;

    entry_basic(w, key, DBUS_TYPE_BOOLEAN, &b);
}
