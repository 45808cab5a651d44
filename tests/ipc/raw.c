/*
 * Sends a message that client libraries cannot make: Classify with a descriptor's index but no
 * descriptor. A number is marshalled where the index belongs, then the signature is changed.
 *
 * usage: ipc-raw ADDRESS; prints the name of the error that comes back.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dbus/dbus.h>

#include "ipc/names.h"

static DBusMessage *message_new(void)
{
    DBusMessage *m =
        dbus_message_new_method_call(PERCEPT_BUS_NAME, PERCEPT_PATH, PERCEPT_MANAGER, "Classify");
    const char *hint = "image/png", *label = "a", *labels[] = {label}, **p = labels;
    dbus_uint32_t index = 3;
    DBusMessageIter iter, options;

    dbus_message_append_args(m, DBUS_TYPE_UINT32, &index, DBUS_TYPE_STRING, &hint, DBUS_TYPE_ARRAY,
                             DBUS_TYPE_STRING, &p, 1, DBUS_TYPE_INVALID);
    dbus_message_iter_init_append(m, &iter);
    dbus_message_iter_open_container(&iter, DBUS_TYPE_ARRAY, "{sv}", &options);
    dbus_message_iter_close_container(&iter, &options);
    dbus_message_set_serial(m, 1); /* marshalling wants one */
    return m;
}

int main(int argc, char **argv)
{
    DBusError error = DBUS_ERROR_INIT;
    DBusMessage *m = message_new(), *forged, *reply;
    DBusConnection *c;
    char *bytes, *signature;
    int size;

    if (argc != 2 || !dbus_message_marshal(m, &bytes, &size))
        return 2;
    signature = memmem(bytes, (size_t)size, "usasa{sv}", 9);
    *signature = 'h';
    forged = dbus_message_demarshal(bytes, size, &error);
    c = dbus_connection_open_private(argv[1], &error);
    if (!forged || !c || !dbus_bus_register(c, &error)) {
        fprintf(stderr, "ipc-raw: %s\n", error.message);
        return 1;
    }
    DBusMessage *copy = dbus_message_copy(forged); /* without the serial */
    reply = dbus_connection_send_with_reply_and_block(c, copy, 10000, &error);
    puts(reply ? "no error" : error.name);

    dbus_error_free(&error);
    dbus_message_unref(copy);
    dbus_message_unref(forged);
    dbus_message_unref(m);
    dbus_free(bytes);
    dbus_connection_close(c);
    dbus_connection_unref(c);
    dbus_shutdown();
    return reply != NULL;
}
