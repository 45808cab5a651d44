#pragma once

/*
 * The threads that touch the users' databases: they take jobs about collections, the uids in turn
 * and one job of a database at a time, do what they ask for and post their end. What a user has
 * them do for long, or a disk that keeps them waiting, is waited for by that user alone.
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
