#pragma once

/*
 * Building a message. Every append goes through one checked function: libdbus aborts on unsound
 * strings and returns false when memory or descriptors run out. The first failure sticks, later
 * calls do nothing, writer_end() reports it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <dbus/dbus.h>

#define WRITER_DEPTH 10

typedef struct Writer {
    DBusMessageIter stack[WRITER_DEPTH];
    size_t depth;
    int error;
} Writer;

/* The message is borrowed until writer_end(). */
void writer_init(Writer *w, DBusMessage *message);
/* 0, or -ENOMEM: then the message must not be sent. All containers are closed by then, or it is
 * -ENOMEM. */
int writer_end(Writer *w);
/* The message, or NULL after releasing it when an append failed. */
DBusMessage *writer_end_message(Writer *w, DBusMessage *message);

/* type: DBUS_TYPE_ARRAY, STRUCT, DICT_ENTRY or VARIANT; contents as
 * dbus_message_iter_open_container(). */
void writer_open(Writer *w, int type, const char *contents);
void writer_close(Writer *w);

/* value as dbus_message_iter_append_basic(). Strings that are no UTF-8 get U+FFFD for what is
 * unsound; object paths and signatures are ours, and asserted. */
void writer_basic(Writer *w, int type, const void *value);
void writer_string(Writer *w, const char *s);
void writer_bytes(Writer *w, const void *data, size_t size);

/* Entries of an open a{sv}. */
void writer_entry_string(Writer *w, const char *key, const char *value);
void writer_entry_u32(Writer *w, const char *key, uint32_t value);
void writer_entry_u64(Writer *w, const char *key, uint64_t value);
void writer_entry_double(Writer *w, const char *key, double value);
void writer_entry_bool(Writer *w, const char *key, bool value);
/* Opens and closes an entry whose variant holds `signature`. */
void writer_entry_open(Writer *w, const char *key, const char *signature);
void writer_entry_close(Writer *w);
