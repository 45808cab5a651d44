#pragma once

/*
 * The last argument of most methods: a{sv}. Which keys a method knows, their types and ranges stand
 * in one table; an unknown key is refused unless it begins with "x-", a key given twice always.
 */

#include <dbus/dbus.h>

#include "ipc/handlers.h"
#include "ipc/server.h"

/* iter stands on the a{sv}. Fills args->options, and appends inline media. -EBADMSG with the
 * failure set, -ENOMEM. */
int options_read(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args, Failure *failure);
/* The same with other options of the same call before, which have left so many foreign bytes. */
int options_read_more(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                      size_t *foreign_left, Failure *failure);
void options_default(const ServerFacts *facts, WorkArgs *args);
/* The same for a method that knows no key; the options are its only argument. */
int options_read_none(DBusMessage *call, Failure *failure);
