#pragma once

/*
 * What systemd is told. Its socket may be full because nobody reads: then a message waits here, and
 * never the event loop. The loop's thread only.
 */

#include <systemd/sd-event.h>

#include "engine/base/cleanup.h"

typedef struct Notify Notify;

/* Where nobody wants to be told, nothing is sent. */
int notify_new(sd_event *event, Notify **ret_notify);
/* What still waits is tried once more. */
Notify *notify_free(Notify *n);
DEFINE_CLEANUP(Notify *, notify_free);

/* Lines of Key=Value. They arrive in order; of those that wait, the last one of each first key is
 * kept. */
void notify_send(Notify *n, const char *format, ...) __attribute__((format(printf, 2, 3)));
