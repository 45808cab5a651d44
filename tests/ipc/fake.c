/*
 * A service without a model: the real bus side with handlers of the tests' own. What a question
 * begins with says how it is answered:
 *   "say TEXT"    the text, three bytes at a time, so that characters are cut
 *   "later TEXT"  the same, but only after a third of a second
 *   "raw HEX"     these bytes
 *   "hang"        nothing until it is cancelled
 *   "flood"       text without end until it is cancelled, but not while it is paused
 *   "fail"        DecodeFailed
 *   "refuse"      ModelUnavailable, at once
 *   "read"        the number of bytes of the first medium
 * DegradedReason reports how often a work was cancelled and paused. Arguments: the address of the
 * bus and, if it shall not wait as long as the daemon, the milliseconds of ServerFacts.
 */

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <systemd/sd-event.h>

#include "ipc/input.h"
#include "ipc/server.h"

#define SPACE 256

typedef struct Fake {
    sd_event *event;
    Server *server;
    unsigned running, cancelled, paused;
    char reason[64];
    char log[2][16];
} Fake;

typedef struct FakeJob {
    Fake *fake;
    Work *work;
    sd_event_source *timer;
    Input *input;
    size_t done;
    bool paused;
} FakeJob;

static const WorkInfo info = {
    .model = "fake",
    .digest = "0000",
    .backend = "none",
    .dimension = SPACE,
    .normalised = true,
    .n_items = 1,
    .tokens = 7,
};

static void job_free(FakeJob *job)
{
    job->fake->running--;
    sd_event_source_disable_unref(job->timer);
    if (job->input)
        input_abandon(job->input);
    free(job);
}

static void job_fail(FakeJob *job, ErrorCode code, const char *message)
{
    Work *w = job->work;

    job_free(job);
    work_fail(w, code, message);
}

static void job_answer(FakeJob *job)
{
    Work *w = job->work;

    job_free(job);
    work_finish_answer(w, "stop", &info);
}

static void say(FakeJob *job, const char *text)
{
    size_t left = strlen(text) - job->done, n = left < 3 ? left : 3;

    job->done += n;
    work_text(job->work, text + job->done - n, n);
    if (n == 0)
        job_answer(job);
}

static void raw(FakeJob *job, const char *hex)
{
    unsigned byte;

    for (; sscanf(hex, "%2x", &byte) == 1; hex += 2)
        work_text(job->work, (char[]){(char)byte}, 1);
    job_answer(job);
}

static void on_input(void *userdata, int memfd, const Failure *failure)
{
    FakeJob *job = userdata;
    struct stat st;
    char text[32];

    job->input = NULL;
    if (memfd < 0) {
        job_fail(job, failure->code, failure->message);
        return;
    }
    fstat(memfd, &st);
    close(memfd);
    snprintf(text, sizeof text, "%lld bytes", (long long)st.st_size);
    work_text(job->work, text, strlen(text));
    job_answer(job);
}

static void on_released(void *userdata)
{
    (void)userdata;
}

static void read_medium(FakeJob *job)
{
    const InputEvents events = {on_input, on_released, job};
    MediaInput *m = &work_args(job->work)->media[0];
    Failure failure;
    int r = input_check(m->fd, LIMIT_MEDIA_BYTES, &failure);

    if (r < 0)
        job_fail(job, failure.code, failure.message);
    else if (r > 0) {
        int fd = m->fd;
        m->fd = -1;
        on_input(job, fd, NULL);
    } else if (input_start(job->fake->event, m->fd, LIMIT_MEDIA_BYTES, 300, &events, &job->input) <
               0)
        job_fail(job, ERROR_BUSY, "No thread.");
    else
        m->fd = -1;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    FakeJob *job = userdata;
    const char *question = work_args(job->work)->question.data;
    char piece[1000];

    (void)usec;
    sd_event_source_set_time_relative(source, 100);
    sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    if (strncmp(question, "later ", 6) == 0)
        say(job, question + 6);
    else if (strncmp(question, "say ", 4) == 0)
        say(job, question + 4);
    else if (strcmp(question, "What is the opposite of cold?") == 0) /* of status and doctor */
        say(job, "hot");
    else if (strncmp(question, "raw ", 4) == 0)
        raw(job, question + 4);
    else if (strcmp(question, "flood") == 0 && !job->paused) {
        memset(piece, 'x', sizeof piece);
        work_text(job->work, piece, sizeof piece);
    } else if (strcmp(question, "fail") == 0)
        job_fail(job, ERROR_DECODE_FAILED, "The picture is damaged: \xff.");
    return 0;
}

static int start_ask(Fake *fake, Work *w)
{
    FakeJob *job = calloc(1, sizeof *job);

    *job = (FakeJob){.fake = fake, .work = w};
    fake->running++;
    work_set_job(w, job);
    work_progress(w, "decode", 0.5);
    if (strcmp(work_args(w)->question.data, "read") == 0 && work_args(w)->n_media > 0)
        read_medium(job);
    else
        return sd_event_add_time_relative(
            fake->event, &job->timer, CLOCK_MONOTONIC,
            strncmp(work_args(w)->question.data, "later ", 6) == 0 ? 300000 : 100, 1, on_timer,
            job);
    return 0;
}

static void finish_vectors(Work *w)
{
    const WorkArgs *args = work_args(w);
    size_t size = args->options.dimension * (args->options.dtype == VECTOR_F16 ? 2u : 4u);
    uint8_t *vectors = malloc(args->n_texts * size);

    /* Every byte of a vector is the length of its text. */
    for (size_t i = 0; i < args->n_texts; i++)
        memset(vectors + i * size, (int)args->texts[i].length, size);
    work_finish_vectors(w, vectors, size, &info);
    free(vectors);
}

static void finish_bulk(Work *w)
{
    const WorkArgs *args = work_args(w);
    uint8_t *lengths = malloc(args->n_texts);

    /* One byte a text: its length. */
    for (size_t i = 0; i < args->n_texts; i++)
        lengths[i] = (uint8_t)args->texts[i].length;
    work_finish_bulk(w, input_from_bytes(lengths, args->n_texts), &info);
    free(lengths);
}

static void finish_items(Work *w)
{
    WorkItem items[LIMIT_MEDIA_ITEMS] = {0};
    uint8_t vector[SPACE * 4] = {0};

    for (size_t i = 0; i < work_args(w)->n_media; i++)
        items[i] = (WorkItem){i % 2 ? ERROR_DECODE_FAILED : ERROR_NONE, vector};
    work_finish_items(w, items, sizeof vector, &info);
}

static void finish_scores(Work *w)
{
    WorkScore scores[LIMIT_LABELS];
    size_t n = work_args(w)->n_texts;

    for (size_t i = 0; i < n; i++)
        scores[i] = (WorkScore){n - 1 - i, 1 - (double)i / (double)n};
    work_finish_scores(w, scores, "cosine", &info);
}

static int start(void *userdata, Work *w, Failure *failure)
{
    const WorkArgs *args = work_args(w);

    if (args->kind == WORK_EMBED_TEXT)
        finish_vectors(w);
    else if (args->kind == WORK_LOAD)
        work_finish_empty(w);
    else if (args->kind == WORK_EMBED_BULK)
        finish_bulk(w);
    else if (args->kind == WORK_EMBED_MEDIA)
        finish_items(w);
    else if (args->kind == WORK_CLASSIFY)
        finish_scores(w);
    else if (args->kind == WORK_LIST_COLLECTIONS)
        work_finish_collections(w, NULL, 0);
    else if (args->kind != WORK_ASK)
        return failure_set(failure, ERROR_NOT_SUPPORTED, "There are no collections here.");
    else if (strcmp(args->question.data, "refuse") == 0)
        return failure_set(failure, ERROR_MODEL_UNAVAILABLE, "No model is installed.");
    else
        return start_ask(userdata, w);
    return 0;
}

static void cancel(void *userdata, Work *w)
{
    Fake *fake = userdata;

    fake->cancelled++;
    job_fail(work_job(w), ERROR_CANCELLED, "Cancelled.");
}

static void pause_work(void *userdata, Work *w, bool paused)
{
    Fake *fake = userdata;
    FakeJob *job = work_job(w);

    fake->paused += paused;
    job->paused = paused;
}

static int open_session(void *userdata, const char *model, void **ret_conversation,
                        Failure *failure)
{
    (void)userdata, (void)model, (void)failure;
    *ret_conversation = calloc(1, 1);
    return 0;
}

static int administer(void *userdata, AdminVerb verb, const char *model, Failure *failure)
{
    (void)userdata;
    if (verb == ADMIN_UNLOAD && strcmp(model, "fake") != 0)
        return failure_set(failure, ERROR_MODEL_UNAVAILABLE, "No model of this name is loaded.");
    return 0;
}

static void close_session(void *userdata, void *conversation)
{
    (void)userdata;
    free(conversation);
}

static void status(void *userdata, ServiceStatus *ret_status)
{
    Fake *fake = userdata;

    snprintf(fake->reason, sizeof fake->reason, "cancelled %u paused %u", fake->cancelled,
             fake->paused);
    *ret_status = (ServiceStatus){"ready", "none", fake->reason, fake->running};
}

static const char *get_log(void *userdata, LogSetting setting)
{
    Fake *fake = userdata;

    return fake->log[setting];
}

static int set_log(void *userdata, LogSetting setting, const char *value, Failure *failure)
{
    Fake *fake = userdata;

    if (strlen(value) >= sizeof fake->log[setting])
        return failure_set(failure, ERROR_INVALID_ARGS, "There is no such word.");
    strcpy(fake->log[setting], value);
    return 0;
}

static void lost(void *userdata)
{
    Fake *fake = userdata;

    sd_event_exit(fake->event, 3);
}

static void quota_hit(void *userdata, uid_t uid, const char *sender)
{
    (void)userdata, (void)uid, (void)sender;
}

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata)
{
    Fake *fake = userdata;

    (void)source, (void)si;
    server_cancel_all(fake->server);
    return sd_event_exit(fake->event, 0);
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata)
{
    Fake *fake = userdata;

    (void)source, (void)si;
    server_status_changed(fake->server);
    return 0;
}

int main(int argc, char **argv)
{
    static const char *const modalities[] = {"text", "image", "audio", NULL};
    static const Handlers handlers = {start,      cancel, pause_work, open_session, close_session,
                                      administer, status, get_log,    set_log};
    ServerFacts facts = {"0", modalities, SPACE, REQUEST_KEEP_SEC * 1000, STREAM_STALL_SEC * 1000};
    Fake fake = {.log = {"info", "console"}};
    const ServerEvents events = {&handlers, lost, quota_hit, &fake};
    sigset_t signals;
    int r;

    if (argc != 2 && argc != 4)
        return 2;
    if (argc == 4) {
        facts.keep_msec = (uint32_t)atoi(argv[2]);
        facts.stall_msec = (uint32_t)atoi(argv[3]);
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    r = sd_event_new(&fake.event);
    if (r >= 0)
        r = sd_event_add_signal(fake.event, NULL, SIGTERM, on_stop, &fake);
    if (r >= 0)
        r = sd_event_add_signal(fake.event, NULL, SIGHUP, on_hangup, &fake);
    if (r >= 0)
        r = server_open(fake.event, argv[1], &facts, &events, &fake.server);
    if (r < 0) {
        fprintf(stderr, "fake: %s\n", strerror(-r));
        return 1;
    }
    puts("ready");
    fflush(stdout);
    r = sd_event_loop(fake.event);
    server_close(fake.server);
    sd_event_unref(fake.event);
    return r;
}
