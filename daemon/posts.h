#pragma once

/*
 * The way from the worker's thread to the loop's: text of answers, how far each job is, and ends.
 * What a job has to say waits inside the job, so nothing is allocated here; an eventfd wakes the
 * loop.
 */

#include <pthread.h>

#include "daemon/job.h"

typedef struct Posts {
    pthread_mutex_t lock;
    STAILQ_HEAD(PostList, Job) jobs;
    int fd; /* readable when there is something */
} Posts;

/* What the loop takes at a time. */
typedef struct Post {
    Job *job;
    char text[JOB_OUTBOX_SIZE];
    size_t length;
    JobState state;
    double progress;
    bool ended; /* the job is the loop's again */
} Post;

int posts_init(Posts *p);
void posts_deinit(Posts *p);

/* The worker's side. */
/* Whether a whole step's text fits; if not, the job waits until the loop has taken some. */
bool posts_room(Posts *p, const Job *j);
void posts_text(Posts *p, Job *j, const char *text, size_t n);
void posts_state(Posts *p, Job *j, JobState state, double progress);
/* The job must not be touched afterwards. */
void posts_end(Posts *p, Job *j);

/* The loop's: false when there is no more. Call posts_clear() before the first. */
void posts_clear(Posts *p);
bool posts_take(Posts *p, Post *ret_post);
