#pragma once

/* Replies made into what client.h promises. Private to the client's end. */

#include <dbus/dbus.h>

#include "ipc/client.h"

/* iter stands on an a{sv} or an a{ss}. -ENOMEM. */
int dict_read(DBusMessageIter *iter, Dict *ret_dict);
/* iter stands on an aay, or an a(uay) with a status each. -EBADMSG: vectors of different
 * lengths. */
int vectors_read(DBusMessageIter *iter, Vectors *ret_vectors);
