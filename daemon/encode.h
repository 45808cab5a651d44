#pragma once

/* A job's items made into vectors and, for answers, into the rows of its prompt. The worker's
 * thread only. */

#include "daemon/job.h"

/* Encodes the next item. feed: of an answer, else NULL. -EBADMSG: the job has failed,
 * j->failure says how. */
int job_encode_next(Job *j, Runtime *r, Feed *feed);
/* Once every item is encoded: scores of Classify, the question of Ask, whose timeline stands at
 * this position. */
int job_encode_end(Job *j, Runtime *r, Feed *feed, size_t position);
/* The question of an answer from a collection, made into j->index.question. */
int job_encode_question(Job *j, Runtime *r);
/* Before the first item of an answer: what stands before it. */
int job_encode_begin(Job *j, Runtime *r, Feed *feed);
/* Words of the user, as the question that is answered next. -E2BIG: there is no room; -EINVAL:
 * there is nothing in them; -EIO; -ENOMEM. */
int job_encode_words(const Job *j, Runtime *r, Feed *feed, const char *words, size_t length);
