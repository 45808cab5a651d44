#include "ipc/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "ipc/text.h"

static void write_container(FILE *file, DBusMessageIter *iter);

void json_string(FILE *file, const char *s)
{
    size_t left = strlen(s);

    fputc('"', file);
    while (left > 0) {
        int n = utf8_sequence(s, left);
        if (n <= 0)
            fputs("\xef\xbf\xbd", file); /* U+FFFD */
        else if (*s == '"' || *s == '\\')
            fprintf(file, "\\%c", *s);
        else if (*s == '\n')
            fputs("\\n", file);
        else if (n == 1 && (*s < 0x20 || *s == 0x7f))
            fprintf(file, "\\u%04x", *s);
        else
            fwrite(s, 1, (size_t)n, file);
        n = n > 0 ? n : 1;
        s += n;
        left -= (size_t)n;
    }
    fputc('"', file);
}

static void write_double(FILE *file, double value)
{
    if (isfinite(value))
        fprintf(file, "%.9g", value);
    else
        fputs("null", file);
}

void json_value(FILE *file, DBusMessageIter *iter)
{
    int type = dbus_message_iter_get_arg_type(iter);
    DBusBasicValue v = {0};

    if (!dbus_type_is_basic(type)) {
        write_container(file, iter);
        return;
    }
    if (type == DBUS_TYPE_UNIX_FD) { /* taking it would make it ours to close */
        fputs("null", file);
        return;
    }
    dbus_message_iter_get_basic(iter, &v);
    if (type == DBUS_TYPE_BOOLEAN)
        fputs(v.bool_val ? "true" : "false", file);
    else if (type == DBUS_TYPE_BYTE)
        fprintf(file, "%u", v.byt);
    else if (type == DBUS_TYPE_INT16)
        fprintf(file, "%d", v.i16);
    else if (type == DBUS_TYPE_UINT16)
        fprintf(file, "%u", v.u16);
    else if (type == DBUS_TYPE_INT32)
        fprintf(file, "%d", v.i32);
    else if (type == DBUS_TYPE_UINT32)
        fprintf(file, "%u", v.u32);
    else if (type == DBUS_TYPE_INT64)
        fprintf(file, "%" PRId64, (int64_t)v.i64);
    else if (type == DBUS_TYPE_UINT64)
        fprintf(file, "%" PRIu64, (uint64_t)v.u64);
    else if (type == DBUS_TYPE_DOUBLE)
        write_double(file, v.dbl);
    else
        json_string(file, v.str);
}

static void write_entry(FILE *file, DBusMessageIter *iter)
{
    DBusMessageIter entry;

    dbus_message_iter_recurse(iter, &entry);
    json_value(file, &entry); /* keys of this interface are strings */
    fputs(": ", file);
    dbus_message_iter_next(&entry);
    json_value(file, &entry);
}

static void write_container(FILE *file, DBusMessageIter *iter)
{
    int type = dbus_message_iter_get_arg_type(iter);
    bool dictionary =
        type == DBUS_TYPE_ARRAY && dbus_message_iter_get_element_type(iter) == DBUS_TYPE_DICT_ENTRY;
    DBusMessageIter element;

    dbus_message_iter_recurse(iter, &element);
    if (type == DBUS_TYPE_VARIANT) {
        json_value(file, &element);
        return;
    }
    fputc(dictionary ? '{' : '[', file);
    for (bool first = true; dbus_message_iter_get_arg_type(&element) != DBUS_TYPE_INVALID;
         first = false, dbus_message_iter_next(&element)) {
        if (!first)
            fputs(", ", file);
        if (dictionary)
            write_entry(file, &element);
        else
            json_value(file, &element);
    }
    fputc(dictionary ? '}' : ']', file);
}
