#pragma once

/*
 * The daemon behind the bus: Handlers that make jobs of calls, send them through intake and worker,
 * and tell clients and systemd how things stand. One thread, the event loop's.
 */

#include <systemd/sd-event.h>

#include "engine/base/cleanup.h"

typedef struct Service Service;

typedef struct ServiceOptions {
    const char *bus;    /* "session", "system" or an address */
    const char *config; /* path, which must exist; NULL: /etc/perceptd/perceptd.conf if there */
    const char *model;  /* instead of the configured one, or NULL */
    const char *media_helper; /* path of percept-media */
} ServiceOptions;

/* Options are borrowed. When this returns 0 the name is on the bus and systemd has been told
 * READY. The failure has been logged otherwise. */
int service_new(sd_event *event, const ServiceOptions *options, Service **ret_service);
/* Reads the configuration again; the old one stays if the new one is not sound, whose error has
 * been logged. */
int service_reload(Service *s);
/* Cancels everything; the event loop ends with this status once all clients have been told. */
void service_stop(Service *s, int status);
/* After the loop has ended. */
Service *service_free(Service *s);
DEFINE_CLEANUP(Service *, service_free);
