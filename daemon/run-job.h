#pragma once

/* One JSON line of percept-run batch: what is asked, how far it is, and the line that answers
 * it. */

#include <jansson.h>

#include "daemon/run.h"

typedef enum JobState {
    JOB_FREE,
    JOB_MEDIA,    /* waits for media[n_encoded] */
    JOB_DECODING, /* that file is at the media helper */
    JOB_PREFILL,
    JOB_ANSWER,
} JobState;

typedef struct Job {
    JobState state;
    json_t *line; /* owns the strings below */
    const char *text;
    RunMedia media[RUN_MEDIA_MAX];
    size_t n_media, n_encoded;
    bool embed, high_detail;
    float effort;
    uint32_t max_tokens;
    Route route;

    Session *session;
    Prompt prompt; /* rows; kept from job to job */
    size_t prefilled;
    float *logits;   /* [vocab_size] */
    int32_t next;    /* the token to feed */
    int32_t *answer; /* [max_tokens] */
    uint32_t n_answer;
} Job;

/* Reads a line into a free job. -EBADMSG: not a job; *ret_message says why and the job holds its
 * id, if any. */
int job_parse(Job *job, const char *line, size_t length, const char **ret_message);
/* Each prints the answering line and frees the job for the next. */
void job_print_error(Job *job, const char *message);
void job_print_vector(Job *job, const float *vector, size_t length);
void job_print_answer(Job *job, const Tokenizer *tokenizer, uint32_t n_layers);
