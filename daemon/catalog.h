#pragma once

/*
 * Which models are installed, for everybody to see: the files and folders of the model folders,
 * watched, and the configured one when it lies elsewhere. The loop's thread only.
 */

#include <systemd/sd-event.h>

#include "daemon/models.h"
#include "daemon/worker.h"
#include "ipc/server.h"

typedef struct Catalog Catalog;

/* folders are borrowed until catalog_free(). changed: other files than before; look again. */
int catalog_new(sd_event *event, const ModelFolders *folders, void (*changed)(void *userdata),
                void *userdata, Catalog **ret_catalog);
Catalog *catalog_free(Catalog *c);
DEFINE_CLEANUP(Catalog *, catalog_free);

/* Reads the folders. selected: the model of the next call, a name or a path. */
void catalog_scan(Catalog *c, const char *selected);
/* Tells the clients what has changed, with the states that follow from the worker's. */
void catalog_tell(Catalog *c, const char *selected, const WorkerStatus *status, Server *server);
