#include "daemon/intake.h"

#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "daemon/cache.h"
#include "encoders/encoder.h"
#include "engine/base/sha256.h"
#include "ipc/input.h"

#define REAP_USEC 20000 /* between looks at a process that dies slowly */

typedef enum EntryState {
    ENTRY_TO_READ,
    ENTRY_READING,
    ENTRY_TO_DECODE,
    ENTRY_DECODING,
} EntryState;

typedef struct Reader Reader;

/* A job in here. Its medium at hand is number job->n_decoded. */
typedef struct Entry {
    TAILQ_ENTRY(Entry) link;
    Intake *intake;
    Job *job;
    EntryState state;
    Reader *reader; /* while reading */
    int fd;         /* sealed, from then until it is decoded */
    uint64_t size;  /* charged for it */
} Entry;

/* A thread that reads. It may outlive its entry, and is counted until it is gone. */
struct Reader {
    Intake *intake;
    Entry *entry; /* NULL: nobody wants the result */
    Account *account;
    Input *input;
};

struct Intake {
    sd_event *event;
    IntakeEvents events;
    MediaHelper *helper;
    uid_t helper_uid; /* whose media it has seen */
    bool helper_seen; /* some */
    sd_event_source *helper_source, *helper_timer;
    sd_event_source *reap_source; /* while processes of the helper are dying */
    sd_event_source *run_source;  /* on the loop's next turn */
    TAILQ_HEAD(EntryList, Entry) entries;
    unsigned n_entries, n_readers;
    uint64_t turn;
};

static void intake_run(Intake *in);

static void helper_forget(Intake *in)
{
    in->helper_source = sd_event_source_disable_unref(in->helper_source);
    in->helper_timer = sd_event_source_disable_unref(in->helper_timer);
}

static int on_reap(sd_event_source *source, uint64_t usec, void *userdata)
{
    Intake *in = userdata;

    (void)usec;
    if (media_helper_reap(in->helper) == 0)
        return 0;
    sd_event_source_set_time_relative(source, REAP_USEC);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* After whatever may have ended the helper's process. */
static void helper_reap(Intake *in)
{
    (void)on_reap(in->reap_source, 0, in);
}

/* Lets go of the medium at hand. */
static void entry_clear(Entry *e)
{
    if (e->reader) {
        input_abandon(e->reader->input);
        e->reader->entry = NULL;
        e->reader = NULL;
    }
    if (e->state == ENTRY_DECODING) {
        helper_forget(e->intake);
        media_helper_cancel(e->intake->helper);
        helper_reap(e->intake);
    }
    if (e->fd >= 0)
        close(e->fd);
    e->fd = -1;
    job_uncharge(e->job, e->size);
    e->size = 0;
    e->state = ENTRY_TO_READ;
}

static void entry_free(Entry *e)
{
    entry_clear(e);
    TAILQ_REMOVE(&e->intake->entries, e, link);
    e->intake->n_entries--;
    free(e);
}

static void entry_done(Entry *e)
{
    Intake *in = e->intake;
    Job *j = e->job;

    entry_free(e);
    in->events.done(in->events.userdata, j);
}

/* So that a vector of the same file can be found again. Sealed, it neither changes nor shrinks. */
static void entry_hash(const Entry *e)
{
    Job *j = e->job;
    void *map;

    if (e->size == 0 || e->size > CACHE_FILE_MAX || j->kind == WORK_ASK)
        return;
    map = mmap(NULL, e->size, PROT_READ, MAP_PRIVATE, e->fd, 0);
    if (map == MAP_FAILED)
        return;
    sha256(map, e->size, j->contents[j->n_decoded]);
    j->hashed[j->n_decoded] = true;
    munmap(map, e->size);
}

/* Takes a sealed memfd as the medium at hand; -EBADMSG with the failure set, and then it is
 * closed. */
static int entry_take(Entry *e, int fd, Failure *failure)
{
    struct stat st = {0};
    int r;

    e->fd = fd;
    if (fstat(fd, &st) < 0)
        return failure_set(failure, ERROR_BAD_DESCRIPTOR, "The descriptor cannot be read.");
    r = job_charge(e->job, (uint64_t)st.st_size, failure);
    if (r < 0)
        return r;
    e->size = (uint64_t)st.st_size;
    e->state = ENTRY_TO_DECODE;
    entry_hash(e);
    return 0;
}

/* Begins with the medium at hand. */
static int entry_open(Entry *e, Failure *failure)
{
    MediaInput *m = &e->job->args->media[e->job->n_decoded];
    int r = input_check(m->fd, LIMIT_MEDIA_BYTES, failure);

    if (r <= 0)
        return r;
    return entry_take(e, steal_fd(&m->fd), failure);
}

/* The medium at hand is through, or has failed: goes on with the next. One bad medium spoils a
 * question, but not a batch. */
static void entry_advance(Entry *e, const Failure *failed)
{
    Job *j = e->job;
    Failure failure;

    for (;;) {
        entry_clear(e);
        if (failed && !job_is_batch(j)) {
            j->failure = *failed;
            break;
        }
        if (failed)
            j->failures[j->n_decoded] = *failed;
        if (++j->n_decoded == j->args->n_media)
            break;
        if (entry_open(e, &failure) >= 0)
            return;
        failed = &failure;
    }
    entry_done(e);
}

static void on_read(void *userdata, int memfd, const Failure *failure)
{
    Reader *reader = userdata;
    Entry *e = reader->entry;
    Failure refused;

    e->reader = NULL;
    reader->entry = NULL;
    if (memfd < 0)
        entry_advance(e, failure);
    else if (entry_take(e, memfd, &refused) < 0)
        entry_advance(e, &refused);
}

static void on_released(void *userdata)
{
    Reader *reader = userdata;
    Intake *in = reader->intake;

    assert(!reader->entry);
    in->n_readers--;
    reader->account->readers--;
    account_unref(reader->account);
    free(reader);
    intake_run(in);
}

/* Starts a thread for the entry, unless it has to wait for one. */
static int entry_read(Entry *e, Failure *failure)
{
    Intake *in = e->intake;
    Account *account = e->job->account;
    MediaInput *m = &e->job->args->media[e->job->n_decoded];
    Reader *reader;
    int r = -ENOMEM;

    if (in->n_readers == LIMIT_READERS || account->readers == LIMIT_READERS_PER_UID)
        return 0;
    reader = calloc(1, sizeof *reader);
    if (reader) {
        const InputEvents events = {on_read, on_released, reader};
        *reader = (Reader){.intake = in, .entry = e, .account = account};
        r = input_start(in->event, m->fd, LIMIT_MEDIA_BYTES, INPUT_DEADLINE_MSEC, &events,
                        &reader->input);
    }
    if (r < 0) {
        free(reader);
        if (r == -ENOMEM)
            return failure_set(failure, ERROR_NO_MEMORY, "Out of memory.");
        return failure_set(failure, ERROR_BUSY, "Nothing is left to read with: try later.");
    }
    m->fd = -1;
    account_ref(account)->readers++;
    in->n_readers++;
    e->reader = reader;
    e->state = ENTRY_READING;
    return 0;
}

static ErrorCode error_of(int media_error)
{
    switch (media_error) {
    case MEDIA_ERROR_UNSUPPORTED:
        return ERROR_UNSUPPORTED_MEDIA;
    case MEDIA_ERROR_TOO_LARGE:
        return ERROR_TOO_LARGE;
    case -ENOMEM:
        return ERROR_NO_MEMORY;
    default:
        return ERROR_DECODE_FAILED;
    }
}

static Entry *entry_decoding(Intake *in)
{
    Entry *e;

    TAILQ_FOREACH(e, &in->entries, link)
    if (e->state == ENTRY_DECODING)
        return e;
    return NULL;
}

/* The helper has answered, or its time is over. */
static void helper_receive(Intake *in)
{
    Entry *e = entry_decoding(in);
    Media *m = &e->job->media[e->job->n_decoded];
    const char *message = "";
    Failure failure;
    int r = media_helper_receive(in->helper, m, &message);

    if (r == -EAGAIN)
        return;
    helper_forget(in);
    helper_reap(in);
    e->state = ENTRY_TO_DECODE;
    if (r < 0)
        r = failure_set(&failure, error_of(r), "Medium %zu: %s.", e->job->n_decoded, message);
    else
        r = job_charge(e->job, m->map_size, &failure);
    if (r < 0)
        media_deinit(m); /* what is not charged is not kept either */
    entry_advance(e, r < 0 ? &failure : NULL);
    intake_run(in);
}

static int on_helper(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    (void)source, (void)fd, (void)events;
    helper_receive(userdata);
    return 0;
}

static int on_helper_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source, (void)usec;
    helper_receive(userdata);
    return 0;
}

static int helper_watch(Intake *in)
{
    uint64_t usec = (uint64_t)media_helper_timeout_msec(in->helper) * 1000 + 1000;
    int r = sd_event_add_io(in->event, &in->helper_source, media_helper_fd(in->helper), EPOLLIN,
                            on_helper, in);

    if (r >= 0)
        r = sd_event_add_time_relative(in->event, &in->helper_timer, CLOCK_MONOTONIC, usec, 1000,
                                       on_helper_timer, in);
    if (r < 0) {
        helper_forget(in);
        media_helper_cancel(in->helper);
        helper_reap(in);
    }
    return r;
}

/* A decoder that one user's file has taken over must not see what the next one hands in. */
static void helper_of(Intake *in, uid_t uid)
{
    if (in->helper_seen && in->helper_uid != uid) {
        media_helper_renew(in->helper);
        helper_reap(in);
    }
    in->helper_uid = uid;
    in->helper_seen = true;
}

/* What is short now says nothing of the medium, which may be handed in again. */
static int helper_fail(int error, Failure *failure)
{
    switch (-error) {
    case ENOMEM:
        return failure_set(failure, ERROR_NO_MEMORY, "Out of memory.");
    case EAGAIN: /* of processes, or of those that are still ending */
    case EMFILE:
    case ENFILE:
        return failure_set(failure, ERROR_BUSY, "No media helper can be started now: try later.");
    default:
        return failure_set(failure, ERROR_DECODE_FAILED, "The media helper cannot be started.");
    }
}

static int entry_decode(Entry *e, Failure *failure)
{
    static const MediaKind kinds[] = {
        [HINT_ANY] = MEDIA_ANY, [HINT_IMAGE] = MEDIA_IMAGE, [HINT_AUDIO] = MEDIA_AUDIO};
    size_t i = e->job->n_decoded;
    const uint32_t *region = job_region(e->job, i);
    const MediaRequest request = {
        .kind = kinds[e->job->args->media[i].hint],
        .max_patches =
            job_high_detail(e->job, i) ? ENCODER_IMAGE_PATCHES_HIGH : ENCODER_IMAGE_PATCHES_LOW,
        .region = {region[0], region[1], region[2], region[3]},
        .truncate_audio = job_truncate(e->job, i) == TRUNCATE_HEAD,
    };
    Intake *in = e->intake;
    int r;

    if (e->job->state == JOB_RECEIVED)
        job_begin_computing(e->job);
    e->job->state = JOB_DECODING;
    e->job->account->intake_turn = ++in->turn;
    helper_of(in, e->job->account->uid);
    r = media_helper_submit(in->helper, e->fd, &request);
    if (r >= 0)
        r = helper_watch(in);
    if (r < 0)
        return helper_fail(r, failure);
    e->state = ENTRY_DECODING;
    return 0;
}

/* Whose medium comes next: of those that wait, the uid that was served longest ago. */
static Entry *entry_to_decode(Intake *in)
{
    Entry *e, *best = NULL;

    TAILQ_FOREACH(e, &in->entries, link)
    if (e->state == ENTRY_TO_DECODE &&
        (!best || e->job->account->intake_turn < best->job->account->intake_turn))
        best = e;
    return best;
}

/* Starts whatever can start. */
static void intake_run(Intake *in)
{
    Entry *e, *next;
    Failure failure;

    for (e = TAILQ_FIRST(&in->entries); e; e = next) {
        next = TAILQ_NEXT(e, link);
        if (e->state == ENTRY_TO_READ && entry_read(e, &failure) < 0)
            entry_advance(e, &failure);
    }
    while (!in->helper_source && (e = entry_to_decode(in)))
        if (entry_decode(e, &failure) < 0)
            entry_advance(e, &failure);
}

static int on_run(sd_event_source *source, void *userdata)
{
    (void)source;
    intake_run(userdata);
    return 0;
}

void intake_add(Intake *in, Job *j)
{
    Entry *e = calloc(1, sizeof *e);
    Failure failure;

    if (!e) {
        failure_set(&j->failure, ERROR_NO_MEMORY, "Out of memory.");
        in->events.done(in->events.userdata, j);
        return;
    }
    *e = (Entry){.intake = in, .job = j, .fd = -1};
    TAILQ_INSERT_TAIL(&in->entries, e, link);
    in->n_entries++;
    if (entry_open(e, &failure) < 0)
        entry_advance(e, &failure);
    intake_run(in);
}

void intake_remove(Intake *in, Job *j)
{
    Entry *e;

    TAILQ_FOREACH(e, &in->entries, link)
    if (e->job == j)
        break;
    assert(e);
    entry_free(e);
    /* Not now: that may end other jobs, and the caller may be walking through their works. */
    sd_event_source_set_enabled(in->run_source, SD_EVENT_ONESHOT);
}

unsigned intake_length(const Intake *in)
{
    return in->n_entries;
}

int intake_new(sd_event *event, const char *helper, const IntakeEvents *events, Intake **ret_intake)
{
    _cleanup_(intake_freep) Intake *in = calloc(1, sizeof *in);
    int r;

    if (!in)
        return -ENOMEM;
    *in = (Intake){.event = event, .events = *events};
    TAILQ_INIT(&in->entries);
    r = media_helper_new(helper, &in->helper);
    if (r >= 0)
        r = sd_event_add_defer(event, &in->run_source, on_run, in);
    if (r >= 0)
        r = sd_event_source_set_enabled(in->run_source, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_time_relative(event, &in->reap_source, CLOCK_MONOTONIC, 0, 0, on_reap, in);
    if (r < 0)
        return r;
    *ret_intake = steal_ptr(&in);
    return 0;
}

Intake *intake_free(Intake *in)
{
    if (!in)
        return NULL;
    assert(in->n_entries == 0);
    helper_forget(in);
    sd_event_source_disable_unref(in->run_source);
    sd_event_source_disable_unref(in->reap_source);
    media_helper_free(in->helper);
    free(in);
    return NULL;
}
