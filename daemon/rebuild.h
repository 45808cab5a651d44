#pragma once

/*
 * A collection's texts made into vectors of another model, in the background: batches go from the
 * index to the worker and back until none is left. It is the service's own job, charged to the uid;
 * what it has done stays when it breaks off. The loop's thread only.
 */

#include "daemon/job.h"

typedef struct Rebuild Rebuild;

/* collection: whose vectors are of another model than this digest's. */
int rebuild_new(const CollectionArgs *collection, const char *digest, Account *account,
                Rebuild **ret_rebuild);
/* Its job has come back. */
Rebuild *rebuild_free(Rebuild *r);
Job *rebuild_job(Rebuild *r);
