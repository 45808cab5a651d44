#pragma once

/*
 * percept-run: the engine without a bus. What its commands share: parsed options, an opened
 * model, and one question made into the rows that enter the decoder.
 */

#include <stdbool.h>
#include <stdint.h>

#include "encoders/encoder.h"
#include "encoders/media/media.h"
#include "engine/engine.h"
#include "fusion/space.h"
#include "fusion/splice.h"

#define RUN_MEDIA_MAX    16
#define RUN_SESSIONS_MAX 16
#define RUN_REPEATS_MAX  1000

typedef struct RunMedia {
    MediaKind kind;
    const char *path;
} RunMedia;

typedef struct RunOptions {
    const char *model, *command;
    Precision precision;
    uint32_t threads;  /* 0: the CPUs that this process may use */
    unsigned isa_mask; /* 0: all that the machine has */
    uint64_t memory;   /* budget of weights and buffers; 0: none */
    Route route;
    RunMedia media[RUN_MEDIA_MAX]; /* in the order of the command line */
    size_t n_media;
    const char *text;   /* the question, or what to embed */
    const char *prompt; /* the question, given as an option */
    const char *system; /* what the model is told first */
    const char *tokens; /* "1,2,3" */
    const char *output;
    int high_detail; /* 0 or 1 */
    bool json, help;
    bool raw;         /* the question is the whole prompt */
    int no_think;     /* 0 or 1 */
    int cache;        /* EngineCache */
    uint32_t context; /* 0: what the model and a ceiling allow */
    float effort;
    uint32_t max_tokens;
    SamplerOptions sampler;
    uint32_t prefill, decode, depth, sessions, repeat; /* bench */
} RunOptions;

/* A model opened for work. Encoders and what follows are opened when first needed. */
typedef struct Run {
    const RunOptions *options;
    Weights *weights;
    Model *model;
    Backend *backend;
    Engine *engine;
    Encoders *encoders;
    Space *space;
    Splice *splice;
    MediaHelper *helper;
    uint32_t batch_rows; /* of one forward */
    double load_msec;    /* file to ready engine */
} Run;

/* All print what is wrong to standard error and return a negative errno. */
int run_open(Run *run, const RunOptions *options, const EngineOptions *engine_options);
int run_open_encoders(Run *run);
void run_close(Run *run);

/* Decodes and encodes one file; ret_vector [SPACE_LENGTH]. ret_encoded is valid until the next
 * encoding. */
int run_encode_media(Run *run, const RunMedia *media, bool high_detail, Encoded *ret_encoded,
                     float *ret_vector);
int run_encode_text(Run *run, const char *text, float *ret_vector);
/* The same for pixels and samples that are decoded already. */
int run_encode(Run *run, const Media *media, bool high_detail, Encoded *ret_encoded,
               float *ret_vector);
/* Decodes one file in the media helper; media_deinit() when done. */
int run_media_read(Run *run, const RunMedia *media, bool high_detail, Media *ret_media);
/* Opens a file for the media helper. */
int run_media_open(const char *path);
int run_helper_open(MediaHelper **ret_helper);

/* Media and question of the options as a prompt; prompt_deinit() when done. encode_msec may be
 * NULL. */
int run_prompt(Run *run, Prompt *ret_prompt, double *ret_encode_msec);
/* Forwards ids, or rows where ids is NULL, in chunks of the batch; logits of the last row, or
 * NULL. */
int run_prefill(Run *run, Session *session, const int32_t *ids, const float *rows, size_t n,
                float *logits);
/* Whether the model has encoders and hears of media; other models read text alone. */
bool run_has_senses(const Run *run);
/* The question of the options as the ids of a prompt, for models that read text alone; the caller
 * frees them. */
int run_text_prompt(Run *run, int32_t **ret_ids, size_t *ret_count);

double run_now_msec(void);
int run_error(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Fills in what the command line says; -EINVAL and a sentence. */
int run_options_parse(RunOptions *o, int argc, char **argv);

/* Commands: 0 or a negative errno. */
int run_generate(const RunOptions *options);
int run_logits(const RunOptions *options);
int run_embed(const RunOptions *options);
int run_info(const RunOptions *options);
int run_bench(const RunOptions *options);
int run_density(const RunOptions *options);
int run_batch(const RunOptions *options);
