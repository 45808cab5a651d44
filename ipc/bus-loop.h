#pragma once

/*
 * A libdbus connection on an sd-event loop: its watches, timeouts and dispatch. Everything happens
 * on the thread that runs the loop; no message is dispatched from inside a watch callback.
 */

#include <dbus/dbus.h>
#include <systemd/sd-event.h>

#include "engine/base/cleanup.h"

typedef struct BusLoop BusLoop;

/* Borrows the connection and the event loop until bus_loop_detach(). */
int bus_loop_attach(DBusConnection *connection, sd_event *event, BusLoop **ret_loop);
BusLoop *bus_loop_detach(BusLoop *l);
DEFINE_CLEANUP(BusLoop *, bus_loop_detach);
