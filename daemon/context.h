#pragma once

/* What a collection knows about a question, put before it. The worker's thread only. */

#include "daemon/job.h"

/* Appends the best hits that there is room for and that the model can read, marks them as used, and
 * the question. Errors are those of job_encode_words(). position: rows that the timeline holds
 * already. */
int context_append(Job *j, Runtime *r, Feed *feed, size_t position);
