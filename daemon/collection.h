#pragma once

/*
 * Calls about collections, done: what the index's thread does for a job, and what the client is
 * told of it.
 */

#include "daemon/job.h"

/* The index's thread: everything of a job that touches the database. x is the uid's. -EBADMSG: the
 * job has failed, j->failure says how. */
int collection_run(Index *x, Job *j);
/* The failure of a job whose database cannot be used. */
int collection_fail(Job *j, int error);
/* The loop's thread: replies, of a call that went well. */
void collection_finish(Job *j, const WorkInfo *info);
/* What an answer is made of, told once. */
void collection_tell_sources(Job *j);
