#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "daemon/run-job.h"

/*
 * Jobs as JSON lines, several sessions in one forward. While the helpers decode files of some
 * jobs, others are encoded or answered, so the CPUs stay busy.
 */

#define JOBS           8
#define HELPERS        2
#define JOB_TOKENS     2048 /* with every gate on: the pool never runs dry */
#define LINE_MAX_BYTES (16u << 20)

typedef struct Helper {
    MediaHelper *helper;
    Job *job; /* whose file it decodes */
} Helper;

typedef struct Batch {
    Run run;
    Job jobs[JOBS];
    Helper helpers[HELPERS];
    char *input; /* [input_size], of which input_length are read */
    size_t input_length, input_size;
    bool end;
} Batch;

static void job_fail(Job *job, int error, const char *what)
{
    char message[160];
    snprintf(message, sizeof(message), "%s: %s", what, strerror(-error));
    job_print_error(job, message);
}

/* Takes more of standard input, waiting only when nothing else is to be done. */
static int input_read(Batch *b, bool wait)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

    if (b->end || poll(&p, 1, wait ? -1 : 0) <= 0)
        return 0;
    if (b->input_length == b->input_size) {
        size_t size = b->input_size ? 2 * b->input_size : 65536;
        char *input = size <= LINE_MAX_BYTES ? realloc(b->input, size) : NULL;
        if (!input)
            return run_error(-E2BIG, "a line of standard input is too long");
        b->input = input;
        b->input_size = size;
    }
    ssize_t n = read(STDIN_FILENO, b->input + b->input_length, b->input_size - b->input_length);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    b->end = n == 0;
    b->input_length += (size_t)n;
    return 0;
}

/* Moves the first line of the input into a job; false when there is none yet. */
static bool line_take(Batch *b, Job *job)
{
    const char *message;
    char *newline = b->input_length ? memchr(b->input, '\n', b->input_length) : NULL;
    size_t length = newline ? (size_t)(newline - b->input) : b->end ? b->input_length : 0;
    size_t taken = newline ? length + 1 : length;

    if (taken == 0)
        return false;
    if (length > 0 && job_parse(job, b->input, length, &message) < 0)
        job_print_error(job, message);
    b->input_length -= taken;
    memmove(b->input, b->input + taken, b->input_length);
    return true;
}

static bool jobs_busy(const Batch *b)
{
    for (size_t i = 0; i < JOBS; i++)
        if (b->jobs[i].state != JOB_FREE)
            return true;
    return false;
}

static int jobs_fill(Batch *b)
{
    for (size_t i = 0; i < JOBS; i++)
        while (b->jobs[i].state == JOB_FREE)
            if (!line_take(b, &b->jobs[i])) {
                if (b->end)
                    return 0;
                size_t before = b->input_length;
                int r = input_read(b, !jobs_busy(b));
                if (r < 0)
                    return r;
                if (b->input_length == before && !b->end)
                    return 0;
            }
    return 0;
}

/* A decoded file of a job goes through its encoder into the prompt, or out as a vector. */
static void media_take(Batch *b, Job *job, const Media *media)
{
    Encoded encoded;
    float vector[SPACE_LENGTH];

    int r = run_encode(&b->run, media, job->high_detail, &encoded, vector);
    if (r >= 0 && job->embed) {
        job_print_vector(job, vector, SPACE_LENGTH);
        return;
    }
    if (r >= 0)
        r = splice_media(b->run.splice, &job->prompt, &encoded, vector);
    if (r < 0) {
        job_fail(job, r, job->media[job->n_encoded].path);
        return;
    }
    job->n_encoded++;
    job->state = JOB_MEDIA;
}

static void helper_submit(Helper *h, Job *job)
{
    const RunMedia *media = &job->media[job->n_encoded];
    MediaRequest request = {
        .kind = media->kind,
        .max_patches = job->high_detail ? ENCODER_IMAGE_PATCHES_HIGH : ENCODER_IMAGE_PATCHES_LOW,
    };
    _cleanup_close_ int fd = run_media_open(media->path);
    int r = fd < 0 ? fd : media_helper_submit(h->helper, fd, &request);
    if (r < 0) {
        job_fail(job, r, media->path);
        return;
    }
    job->state = JOB_DECODING;
    h->job = job;
}

static void helpers_receive(Batch *b)
{
    for (size_t i = 0; i < HELPERS; i++) {
        Helper *h = &b->helpers[i];
        _cleanup_(media_deinit) Media media = {0};
        const char *message = "";

        if (!h->job)
            continue;
        int r = media_helper_receive(h->helper, &media, &message);
        if (r == -EAGAIN)
            continue;
        Job *job = h->job;
        h->job = NULL;
        if (r < 0)
            job_print_error(job, message);
        else
            media_take(b, job, &media);
    }
}

static void helpers_feed(Batch *b)
{
    for (size_t i = 0; i < HELPERS; i++)
        for (size_t j = 0; j < JOBS && !b->helpers[i].job; j++)
            if (b->jobs[j].state == JOB_MEDIA && b->jobs[j].n_encoded < b->jobs[j].n_media)
                helper_submit(&b->helpers[i], &b->jobs[j]);
}

/* A job's first step: the prompt's head, before any file. */
static int prompt_begin(Batch *b, Job *job)
{
    if (job->embed || job->prompt.n > 0)
        return 0;
    return splice_begin(b->run.splice, &job->prompt, NULL, 0);
}

static void job_ready(Batch *b, Job *job)
{
    float vector[SPACE_LENGTH];
    int r;

    if (job->embed) {
        r = run_encode_text(&b->run, job->text, vector);
        if (r < 0)
            job_fail(job, r, "text");
        else
            job_print_vector(job, vector, SPACE_LENGTH);
        return;
    }
    r = splice_question(b->run.splice, &job->prompt, job->text, strlen(job->text));
    if (r >= 0)
        r = session_open(b->run.engine, &job->session);
    if (r < 0)
        job_fail(job, r, "prompt");
    else
        job->state = JOB_PREFILL;
}

static void jobs_prepare(Batch *b)
{
    for (size_t i = 0; i < JOBS; i++) {
        Job *job = &b->jobs[i];
        if (job->state != JOB_MEDIA)
            continue;
        int r = prompt_begin(b, job);
        if (r < 0)
            job_fail(job, r, "prompt");
        else if (job->n_encoded == job->n_media)
            job_ready(b, job);
    }
}

/* Rows of the jobs that share the first ready one's route: answers first, prompts in what room
 * is left. */
static size_t items_collect(Batch *b, BatchItem *items, Job **ret_jobs, Route *ret_route)
{
    size_t n = 0, room = engine_options_default().max_batch_rows,
           d = model_info(b->run.model)->d_model;
    bool chosen = false;

    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < JOBS; i++) {
            Job *job = &b->jobs[i];
            if (job->state != (pass ? JOB_PREFILL : JOB_ANSWER) || room == 0 ||
                (chosen && job->route != *ret_route))
                continue;
            chosen = true;
            *ret_route = job->route;

            size_t left = pass ? job->prompt.n - job->prefilled : 1,
                   rows = left < room ? left : room;
            items[n] = (BatchItem){
                .session = job->session,
                .ids = pass ? NULL : &job->next,
                .rows = pass ? job->prompt.rows + job->prefilled * d : NULL,
                .n = (uint32_t)rows,
                .shift = job->effort / 2,
                .want_logits = rows == left,
                .logits = job->logits,
            };
            ret_jobs[n++] = job;
            room -= rows;
        }
    return n;
}

static void job_advance(Batch *b, Job *job, const BatchItem *item)
{
    const ModelInfo *info = model_info(b->run.model);
    const Tokenizer *tokenizer = model_tokenizer(b->run.model);
    Sampler greedy = {0};

    if (job->state == JOB_PREFILL) {
        job->prefilled += item->n;
        if (!item->want_logits)
            return;
        job->state = JOB_ANSWER;
    }
    job->next = sampler_next(&greedy, job->logits, info->vocab_size);
    bool over = job->next == tokenizer_special(tokenizer)->eos;
    if (!over)
        job->answer[job->n_answer++] = job->next;
    if (over || job->n_answer == job->max_tokens ||
        session_position(job->session) == engine_context(b->run.engine))
        job_print_answer(job, tokenizer, info->n_layers);
}

static bool jobs_step(Batch *b)
{
    BatchItem items[JOBS];
    Job *jobs[JOBS];
    Route route = ROUTE_GATES;

    size_t n = items_collect(b, items, jobs, &route);
    if (n == 0)
        return false;
    int r = decoder_forward(b->run.engine, items, n, route);
    for (size_t i = 0; i < n; i++) {
        if (r < 0)
            job_fail(jobs[i], r, "forward");
        else
            job_advance(b, jobs[i], &items[i]);
    }
    return true;
}

static void helpers_wait(Batch *b)
{
    struct pollfd p[HELPERS];
    nfds_t n = 0;
    int timeout = -1;

    for (size_t i = 0; i < HELPERS; i++) {
        if (!b->helpers[i].job)
            continue;
        int left = media_helper_timeout_msec(b->helpers[i].helper);
        timeout = timeout < 0 || left < timeout ? left : timeout;
        p[n++] = (struct pollfd){.fd = media_helper_fd(b->helpers[i].helper), .events = POLLIN};
    }
    if (n)
        poll(p, n, timeout);
}

static int batch_open(Batch *b)
{
    const ModelInfo *info = model_info(b->run.model);

    int r = run_open_encoders(&b->run);
    for (size_t i = 0; r >= 0 && i < HELPERS; i++)
        r = run_helper_open(&b->helpers[i].helper);
    for (size_t i = 0; r >= 0 && i < JOBS; i++) {
        b->jobs[i].logits = calloc(info->vocab_size, sizeof(float));
        r = b->jobs[i].logits
                ? prompt_init(&b->jobs[i].prompt, b->run.splice, engine_context(b->run.engine))
                : -ENOMEM;
    }
    return r;
}

static int batch_run(Batch *b)
{
    int r = batch_open(b);
    while (r >= 0) {
        r = jobs_fill(b);
        if (r < 0 || !jobs_busy(b))
            break;
        helpers_receive(b);
        jobs_prepare(b);
        helpers_feed(b);
        if (!jobs_step(b))
            helpers_wait(b);
    }
    return r;
}

int run_batch(const RunOptions *options)
{
    static Batch b; /* large */
    EngineOptions engine = engine_options_default();

    engine.max_sessions = JOBS;
    engine.max_tokens = JOBS * JOB_TOKENS;
    int r = run_open(&b.run, options, &engine);
    if (r >= 0)
        r = batch_run(&b);
    for (size_t i = 0; i < JOBS; i++) {
        if (b.jobs[i].logits && b.run.splice)
            prompt_deinit(&b.jobs[i].prompt, b.run.splice);
        free(b.jobs[i].logits);
        free(b.jobs[i].answer);
    }
    for (size_t i = 0; i < HELPERS; i++)
        media_helper_free(b.helpers[i].helper);
    run_close(&b.run);
    return r;
}
