#pragma once

/* A job's items made into vectors and, for answers, into the rows of its prompt. The worker's
 * thread only. */

#include "daemon/job.h"

/* Encodes the next item. prompt: of an answer, else NULL. -EBADMSG: the job has failed,
 * j->failure says how. */
int job_encode_next(Job *j, Runtime *r, Prompt *prompt);
/* Once every item is encoded: scores of Classify, the question of Ask, whose timeline stands at
 * this position. */
int job_encode_end(Job *j, Runtime *r, Prompt *prompt, size_t position);
/* The question of an answer from a collection, made into j->index.question. */
int job_encode_question(Job *j, Runtime *r);
/* Before the first item of an answer: the prompt's beginning. */
int job_encode_begin(Job *j, Runtime *r, Prompt *prompt);
