#pragma once

/*
 * The one thread that touches the users' databases: it takes jobs about collections, the uids in
 * turn, does what they ask for and posts their end. A disk may keep it waiting; nobody else.
 */

#include "daemon/posts.h"

typedef struct Collections Collections;

/* folder: of the state, made with the first database; NULL: there is none, and every job fails.
 * cpu_mask as in the configuration. */
int collections_new(const char *folder, unsigned cpu_mask, Collections **ret_collections);
/* Every job has come back by now. */
Collections *collections_free(Collections *c);
DEFINE_CLEANUP(Collections *, collections_free);

/* Takes the job until its end is posted. */
void collections_submit(Collections *c, Job *j);
Posts *collections_posts(Collections *c);
