#pragma once

/*
 * A call's arguments, checked and made into WorkArgs. The signature has been compared before.
 * Strings point into the message; descriptors and arrays belong to the WorkArgs.
 */

#include <dbus/dbus.h>

#include "ipc/handlers.h"
#include "ipc/server.h"

/* -EBADMSG with the failure set, or -ENOMEM; args must be given to args_deinit() in any case. */
int args_read(DBusMessage *call, WorkKind kind, const ServerFacts *facts, WorkArgs *args,
              Failure *failure);
void args_deinit(WorkArgs *args);
/* One of several texts: not too long, not blank. */
int args_check_text(String s, size_t i, Failure *failure);

/* For the calls about collections. */
int args_read_texts(DBusMessageIter *iter, const char *what, size_t max, WorkArgs *args,
                    Failure *failure);
/* One text as args->texts. */
int args_read_text(DBusMessageIter *iter, const char *what, WorkArgs *args, Failure *failure);
/* The descriptor and hint that iter stands on; leaves iter on the hint. */
int args_read_medium(DBusMessageIter *iter, WorkArgs *args, Failure *failure);
/* The content of a sealed memfd as args->bulk. */
int args_read_memfd(DBusMessageIter *iter, WorkArgs *args, Failure *failure);

/* For the options. `what` begins a sentence. */
int args_read_string(DBusMessageIter *iter, const char *what, String *ret_string, Failure *failure);
int args_read_inline(DBusMessageIter *iter, WorkArgs *args, Failure *failure);
