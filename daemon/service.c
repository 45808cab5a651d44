#include "daemon/service.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include <systemd/sd-daemon.h>

#include "daemon/catalog.h"
#include "daemon/collection.h"
#include "daemon/collections.h"
#include "daemon/config.h"
#include "daemon/intake.h"
#include "daemon/journal.h"
#include "daemon/models.h"
#include "daemon/notify.h"
#include "daemon/rebuild.h"
#include "daemon/report.h"
#include "daemon/state.h"
#include "daemon/worker.h"
#include "ipc/server.h"

#define REBUILDS_MAX 16 /* users at a time; each holds texts in memory */

struct Service {
    sd_event *event;
    Notify *notify;
    ServiceOptions options;
    Config config;
    char configured[CONFIG_NAME_MAX]; /* the model, whatever LoadModel has asked for since */
    ModelFolders folders;
    Catalog *catalog;
    Server *server;
    Intake *intake;
    Worker *worker;
    Collections *collections;
    Rebuild *rebuilds[REBUILDS_MAX]; /* one of a user at a time; NULL: none */
    unsigned n_rebuilds;
    Accounts accounts;
    sd_event_source *posts_source, *index_source, *watchdog_source;
    WorkerStatus status;
    char config_error[CONFIG_ERROR_MAX + 64];
    unsigned n_jobs;
    bool stopping;
    int stop_status;
    uint64_t watchdog_usec, seen_heartbeat, quota_told_usec;
};

static const char *const modalities[] = {"text", "image", "audio", NULL};
static const ServerFacts facts = {
    .version = PERCEPTD_VERSION,
    .modalities = modalities,
    .space_length = SPACE_LENGTH,
    .keep_msec = REQUEST_KEEP_SEC * 1000,
    .stall_msec = STREAM_STALL_SEC * 1000,
};

static void notify_status(const Service *s);

static void quota_hit(void *userdata, uid_t uid, const char *sender)
{
    Service *s = userdata;
    uint64_t now = now_usec();

    if (now - s->quota_told_usec < REPORT_USEC)
        return;
    s->quota_told_usec = now;
    journal_event(&(JournalEvent){.level = LOG_LEVEL_NOTICE,
                                  .message_id = EVENT_QUOTA,
                                  .sender = sender,
                                  .uid = uid,
                                  .has_uid = true},
                  "A user has reached a quota.");
}

static void conversation_check(Service *s, Conversation *c)
{
    if (c->closed && c->n_jobs == 0)
        worker_forget(s->worker, c);
}

static void tell_models(Service *s)
{
    catalog_tell(s->catalog, s->config.model, &s->status, s->server);
}

static void look_for_models(void *userdata)
{
    Service *s = userdata;

    catalog_scan(s->catalog, s->config.model);
    tell_models(s);
}

/* Of the model that a call runs on which names none. */
static const ModelStatus *selected_status(const Service *s)
{
    static const ModelStatus none = {.state = WORKER_UNLOADED};
    const ModelStatus *m;
    char name[RUNTIME_NAME_SIZE];

    (void)model_name(s->config.model, name, sizeof name);
    m = model_status(&s->status, name);
    return m ? m : &none;
}

/* A name, which may be that of the configured model. */
static void use_model(Service *s, const char *name)
{
    char configured[RUNTIME_NAME_SIZE];

    (void)model_name(s->configured, configured, sizeof configured);
    snprintf(s->config.model, sizeof s->config.model, "%s",
             strcmp(configured, name) == 0 ? s->configured : name);
    worker_configure(s->worker, &s->config);
    look_for_models(s);
    server_status_changed(s->server);
    notify_status(s);
}

static void finish(Service *s, Job *j)
{
    Conversation *c = j->conversation;

    report_failure(j);
    if (j->kind == WORK_LOAD && !j->args->options.beside && j->failure.code != ERROR_NONE)
        use_model(s, s->configured);
    job_finish(j);
    if (c) {
        c->n_jobs--;
        conversation_check(s, c);
    }
    s->n_jobs--;
    if (s->stopping && s->n_jobs == 0)
        sd_event_exit(s->event, s->stop_status);
}

/* A free place; NULL: there is none, or this user's rebuild is under way. */
static Rebuild **rebuild_place(Service *s, uid_t uid)
{
    Rebuild **place = NULL;

    for (size_t i = 0; i < REBUILDS_MAX; i++)
        if (!s->rebuilds[i])
            place = &s->rebuilds[i];
        else if (rebuild_job(s->rebuilds[i])->args->collection.uid == uid)
            return NULL;
    return place;
}

/* Another model has made a collection's vectors; the next call tries again when this one cannot. */
static void rebuild_start(Service *s, const Job *j)
{
    Rebuild **place = rebuild_place(s, j->args->collection.uid);
    Job *job;

    if (!place || s->stopping || j->args->collection.model || !*j->digest)
        return;
    if (rebuild_new(&j->args->collection, j->digest, j->account, place) < 0)
        return;
    job = rebuild_job(*place);
    s->n_rebuilds++;
    s->n_jobs++;
    job->at_index = true;
    collections_submit(s->collections, job);
}

static void rebuild_end(Service *s, const Job *j)
{
    if (j->failure.code == ERROR_NONE)
        journal_event(&(JournalEvent){.level = LOG_LEVEL_NOTICE,
                                      .message_id = EVENT_REBUILT,
                                      .uid = j->account->uid,
                                      .has_uid = true},
                      "A collection has the vectors of another model now.");
    for (size_t i = 0; i < REBUILDS_MAX; i++)
        if (s->rebuilds[i] && rebuild_job(s->rebuilds[i]) == j) {
            s->rebuilds[i] = rebuild_free(s->rebuilds[i]);
            break;
        }
    s->n_rebuilds--;
    s->n_jobs--;
    if (s->stopping && s->n_jobs == 0)
        sd_event_exit(s->event, s->stop_status);
}

static void to_worker(Service *s, Job *j)
{
    j->at_index = false;
    j->at_worker = true;
    worker_submit(s->worker, j);
}

static void to_index(Service *s, Job *j)
{
    j->at_worker = false;
    j->at_index = true;
    collections_submit(s->collections, j);
}

/* Whether the model has anything to do for it. */
static bool needs_worker(const Job *j)
{
    return !job_has_collection(j) || j->searching || j->n_items > 0;
}

/* The intake gives a job back: decoded, or over. */
static void on_intake_done(void *userdata, Job *j)
{
    Service *s = userdata;

    if (j->state == JOB_DECODING)
        job_begin_waiting(j);
    if (j->failure.code != ERROR_NONE)
        finish(s, j);
    else if (needs_worker(j))
        to_worker(s, j);
    else {
        if (selected_status(s)->senses)
            strcpy(j->digest, selected_status(s)->digest);
        to_index(s, j);
    }
}

/* The worker gives it back. */
static void on_worker_done(Service *s, Job *j)
{
    bool encoded = j->failure.code == ERROR_NONE && job_has_collection(j);

    if (encoded && (j->kind != WORK_ASK || j->searching))
        to_index(s, j);
    else if (j->kind == WORK_REBUILD)
        rebuild_end(s, j);
    else
        finish(s, j);
}

/* The index gives it back. */
static void on_index_done(Service *s, Job *j)
{
    bool good = j->failure.code == ERROR_NONE;

    if (j->failure.code == ERROR_MODEL_MISMATCH && j->kind != WORK_REBUILD)
        rebuild_start(s, j);
    if (good && (j->searching || (j->kind == WORK_REBUILD && j->index.n_texts > 0))) {
        j->searching = false;
        to_worker(s, j);
    } else if (j->kind == WORK_REBUILD)
        rebuild_end(s, j);
    else
        finish(s, j);
}

static int check_options(const WorkArgs *args, bool in_session, Failure *failure)
{
    if (in_session && args->options.model)
        return failure_set(failure, ERROR_INVALID_ARGS,
                           "A session keeps the model that it was opened with: leave the option "
                           "model out.");
    if (args->kind == WORK_LOAD &&
        (args->question.length == 0 || args->question.length > LIMIT_MODEL_NAME ||
         strchr(args->question.data, '/')))
        return failure_set(failure, ERROR_INVALID_ARGS, "Give the name of an installed model.");
    if (args->options.truncate == TRUNCATE_TAIL && args->n_media > 0)
        return failure_set(failure, ERROR_NOT_SUPPORTED, "Of media only the head can be kept.");
    return 0;
}

static int start(void *userdata, Work *w, Failure *failure)
{
    Service *s = userdata;
    const WorkArgs *args = work_args(w);
    Account *account;
    Job *j;
    int r = check_options(args, work_conversation(w), failure);

    if (r < 0)
        return r;
    if (s->stopping)
        return failure_set(failure, ERROR_BUSY, "The service is stopping: try again.");
    account = accounts_get(&s->accounts, work_uid(w));
    r = account ? job_new(w, account, s->config.max_tokens, &j, failure) : -ENOMEM;
    if (r < 0) {
        account_unref(account);
        return r == -EBADMSG ? r : failure_set(failure, ERROR_NO_MEMORY, "Out of memory.");
    }
    work_set_job(w, j);
    s->n_jobs++;
    if (j->kind == WORK_LOAD && !args->options.beside)
        use_model(s, args->question.data);
    if (j->conversation)
        j->conversation->n_jobs++;
    if (args->n_media > 0)
        intake_add(s->intake, j);
    else
        on_intake_done(s, j);
    return 0;
}

static void cancel(void *userdata, Work *w)
{
    Service *s = userdata;
    Job *j = work_job(w);

    if (j->at_worker || j->at_index) { /* the index looks when its turn comes */
        atomic_store(&j->cancelled, true);
        worker_wake(s->worker);
        return;
    }
    intake_remove(s->intake, j);
    failure_set(&j->failure, ERROR_CANCELLED, "The call was cancelled.");
    finish(s, j);
}

static void pause_work(void *userdata, Work *w, bool paused)
{
    Service *s = userdata;
    Job *j = work_job(w);

    atomic_store(&j->paused, paused);
    worker_wake(s->worker);
}

static int administer(void *userdata, AdminVerb verb, const char *model, Failure *failure)
{
    Service *s = userdata;
    const ModelStatus *m;

    if (s->stopping)
        return failure_set(failure, ERROR_BUSY, "The service is stopping: try again.");
    if (verb == ADMIN_RELOAD) {
        int r = service_reload(s);
        return r >= 0         ? 0
               : r == -ENOMEM ? failure_set(failure, ERROR_NO_MEMORY, "Out of memory.")
                              : failure_set(failure, ERROR_FAILED, "%.180s", s->config_error);
    }
    m = model_status(&s->status, model);
    if (!m || m->state != WORKER_READY)
        return failure_set(failure, ERROR_MODEL_UNAVAILABLE, "No model of this name is loaded.");
    worker_unload(s->worker, model);
    return 0;
}

static int open_session(void *userdata, const char *model, void **ret_conversation,
                        Failure *failure)
{
    Conversation *c = conversation_new(model ? model : "");

    (void)userdata;
    if (!c)
        return failure_set(failure, ERROR_NO_MEMORY, "Out of memory.");
    *ret_conversation = c;
    return 0;
}

static void close_session(void *userdata, void *conversation)
{
    Conversation *c = conversation;

    c->closed = true;
    conversation_check(userdata, c);
}

static void get_status(void *userdata, ServiceStatus *ret_status)
{
    static const char *const names[] = {
        [WORKER_UNLOADED] = "unloaded",
        [WORKER_LOADING] = "loading",
        [WORKER_READY] = "ready",
        [WORKER_FAILED] = "failed",
    };
    Service *s = userdata;
    const ModelStatus *m = selected_status(s);

    *ret_status = (ServiceStatus){
        .state = names[m->state],
        .backend = m->backend,
        .degraded_reason = *m->reason ? m->reason : s->config_error,
        .queue_depth = s->n_jobs - s->n_rebuilds,
    };
}

static void lost(void *userdata)
{
    Service *s = userdata;

    log_error("The bus has gone, or has given our name to another.");
    service_stop(s, EXIT_FAILURE);
}

/* Tells systemd, and thereby `systemctl status`, in plain words. */
static void notify_status(const Service *s)
{
    const ModelStatus *m = selected_status(s);

    if (m->state == WORKER_READY)
        notify_send(s->notify, "STATUS=Ready: %s on %s.", m->name, m->backend);
    else if (m->state == WORKER_FAILED)
        notify_send(s->notify, "STATUS=No model: %s", m->reason);
    else
        notify_send(s->notify, "STATUS=%s",
                    m->state == WORKER_LOADING ? "Loading the model."
                                               : "Ready: the first call loads the model.");
}

static void status_update(Service *s)
{
    WorkerStatus before = s->status;
    bool changed = false;

    worker_status(s->worker, &s->status);
    for (size_t i = 0; i < LIMIT_LOADED_MODELS; i++)
        if (s->status.models[i].change != before.models[i].change) {
            report_model(&before.models[i], &s->status.models[i]);
            changed = true;
        }
    if (!changed)
        return;
    notify_status(s);
    server_status_changed(s->server);
    tell_models(s);
}

static const char *get_log(void *userdata, LogSetting setting)
{
    (void)userdata;
    return setting == LOG_SETTING_LEVEL ? journal_level() : journal_target();
}

static int set_log(void *userdata, LogSetting setting, const char *value, Failure *failure)
{
    (void)userdata;
    if (setting == LOG_SETTING_LEVEL && journal_set_level(value) < 0)
        return failure_set(failure, ERROR_INVALID_ARGS,
                           "A level is one of emerg to debug, as syslog names them.");
    if (setting == LOG_SETTING_TARGET && journal_set_target(value) < 0)
        return failure_set(failure, ERROR_INVALID_ARGS,
                           "A target is auto, journal, console or null.");
    return 0;
}

static void post_deliver(Service *s, const Post *p)
{
    Job *j = p->job;

    if (job_answers(j) && job_has_collection(j) && p->state >= JOB_PREFILL)
        collection_tell_sources(j);
    if (j->kind == WORK_ASK && p->state != JOB_RECEIVED)
        work_progress(j->work, job_state_name(p->state), p->progress);
    if (p->length > 0)
        work_text(j->work, p->text, p->length);
    if (p->ended)
        on_worker_done(s, j);
    else if (p->length > JOB_OUTBOX_SIZE / 2)
        worker_wake(s->worker); /* it may be waiting for room */
}

static int on_posts(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    Service *s = userdata;
    Post post;

    (void)source, (void)fd, (void)events;
    posts_clear(worker_posts(s->worker));
    status_update(s);
    while (posts_take(worker_posts(s->worker), &post))
        post_deliver(s, &post);
    return 0;
}

static int on_index_posts(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    Service *s = userdata;
    Post post;

    (void)source, (void)fd, (void)events;
    posts_clear(collections_posts(s->collections));
    while (posts_take(collections_posts(s->collections), &post))
        on_index_done(s, post.job);
    return 0;
}

/* The loop is alive, or this would not run; but systemd is told so only if the worker gets on as
 * well, or loads a model: the digest of a large file takes longer than a watchdog waits. */
static int on_watchdog(sd_event_source *source, uint64_t usec, void *userdata)
{
    Service *s = userdata;
    uint64_t heartbeat = worker_heartbeat(s->worker);
    bool working = s->n_jobs > intake_length(s->intake);

    (void)usec;
    if (!working || heartbeat != s->seen_heartbeat || model_is_loading(&s->status))
        notify_send(s->notify, "WATCHDOG=1");
    else
        journal_event(&(JournalEvent){.level = LOG_LEVEL_ERROR, .message_id = EVENT_HUNG},
                      "The worker does not get on.");
    s->seen_heartbeat = heartbeat;
    worker_wake(s->worker); /* one that has to wait for its clients makes an empty turn */
    sd_event_source_set_time_relative(source, s->watchdog_usec / 2);
    sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    return 0;
}

static void watchdog_start(Service *s)
{
    int r = sd_watchdog_enabled(false, &s->watchdog_usec);

    if (r > 0)
        r = sd_event_add_time_relative(s->event, &s->watchdog_source, CLOCK_MONOTONIC,
                                       s->watchdog_usec / 2, 0, on_watchdog, s);
    if (r < 0)
        log_warning("The watchdog is not fed: %s.", strerror(-r));
}

/* The file that the option names, or the one that the unit hands in as a credential, which must
 * exist; else the one in /etc, which need not. */
static const char *config_path(const Service *s, char buffer[PATH_MAX], bool *ret_needed)
{
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");

    *ret_needed = true;
    if (s->options.config)
        return s->options.config;
    if (credentials && snprintf(buffer, PATH_MAX, "%s/perceptd.conf", credentials) < PATH_MAX &&
        access(buffer, F_OK) == 0)
        return buffer;
    *ret_needed = false;
    return SYSCONFDIR "/perceptd/perceptd.conf";
}

/* Reads the file over the defaults, into the given Config only if it is sound. */
static int configure(Service *s, Config *ret_config)
{
    char buffer[PATH_MAX], error[CONFIG_ERROR_MAX];
    bool needed;
    Config c;
    int r = config_load(config_path(s, buffer, &needed), &c, error);

    if (r == -ENOENT && !needed) {
        config_init(&c);
        r = 0;
    }
    if (r < 0) {
        journal_event(&(JournalEvent){.level = LOG_LEVEL_ERROR, .message_id = EVENT_CONFIG_REFUSED},
                      "The configuration is not used: %s.", error);
        snprintf(s->config_error, sizeof s->config_error, "The configuration is not used: %s.",
                 error);
        return r;
    }
    if (s->options.model)
        snprintf(c.model, sizeof c.model, "%s", s->options.model);
    *s->config_error = '\0';
    snprintf(s->configured, sizeof s->configured, "%s", c.model);
    *ret_config = c;
    return 0;
}

int service_reload(Service *s)
{
    Config c;
    int r;

    notify_send(s->notify, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_usec());
    r = configure(s, &c);
    if (r >= 0) {
        s->config = c;
        journal_open(c.log_level);
        worker_configure(s->worker, &c);
        look_for_models(s);
        journal_event(&(JournalEvent){.level = LOG_LEVEL_NOTICE, .message_id = EVENT_RELOADED},
                      "The configuration was read again.");
    }
    server_status_changed(s->server);
    notify_send(s->notify, "READY=1");
    notify_status(s);
    return r;
}

void service_stop(Service *s, int status)
{
    if (s->stopping)
        return;
    notify_send(s->notify, "STOPPING=1\nSTATUS=Stopping.");
    s->stopping = true;
    s->stop_status = status;
    if (s->n_jobs == 0)
        sd_event_exit(s->event, status);
    for (size_t i = 0; i < REBUILDS_MAX; i++)
        if (s->rebuilds[i])
            atomic_store(&rebuild_job(s->rebuilds[i])->cancelled, true);
    server_cancel_all(s->server);
    worker_wake(s->worker);
}

static int open_collections(Service *s, bool user)
{
    _cleanup_free_ char *folder = NULL;
    int r = state_folder(user, &folder);

    if (r >= 0 || r == -ENOENT) /* without a home there is all but an index */
        r = collections_new(folder, s->config.cpu_mask, &s->collections);
    if (r >= 0)
        r = sd_event_add_io(s->event, &s->index_source, collections_posts(s->collections)->fd,
                            EPOLLIN, on_index_posts, s);
    return r;
}

static int service_open(Service *s)
{
    static const Handlers handlers = {
        start,      cancel,     pause_work, open_session, close_session,
        administer, get_status, get_log,    set_log,
    };
    const ServerEvents server_events = {&handlers, lost, quota_hit, s};
    const IntakeEvents intake_events = {on_intake_done, s};
    bool user = strcmp(s->options.bus, "system") != 0;
    int r;

    r = notify_new(s->event, &s->notify);
    if (r >= 0)
        r = model_folders_init(&s->folders, user);
    if (r >= 0)
        r = worker_new(&s->config, s->folders.list, &s->worker);
    if (r >= 0)
        r = sd_event_add_io(s->event, &s->posts_source, worker_posts(s->worker)->fd, EPOLLIN,
                            on_posts, s);
    if (r >= 0)
        r = open_collections(s, user);
    if (r >= 0)
        r = intake_new(s->event, s->options.media_helper, &intake_events, &s->intake);
    if (r >= 0)
        r = catalog_new(s->event, &s->folders, look_for_models, s, &s->catalog);
    if (r < 0) {
        log_error("Cannot start: %s.", strerror(-r));
        return r;
    }
    r = server_open(s->event, s->options.bus, &facts, &server_events, &s->server);
    if (r < 0)
        log_error("Cannot serve on the bus '%s': %s.", s->options.bus,
                  r == -EEXIST ? "another process owns the name" : strerror(-r));
    else
        look_for_models(s);
    return r;
}

int service_new(sd_event *event, const ServiceOptions *options, Service **ret_service)
{
    _cleanup_(service_freep) Service *s = calloc(1, sizeof *s);
    int r;

    if (!s)
        return -ENOMEM;
    *s = (Service){.event = sd_event_ref(event), .options = *options};
    LIST_INIT(&s->accounts);
    config_init(&s->config);
    journal_open(s->config.log_level);
    /* With a broken configuration the service starts on the defaults, and says so: a unit that
     * exits would leave every caller hanging until its time-out. */
    if (configure(s, &s->config) < 0 && s->options.model)
        snprintf(s->config.model, sizeof s->config.model, "%s", s->options.model);
    journal_open(s->config.log_level);
    r = service_open(s);
    if (r < 0)
        return r;
    watchdog_start(s);
    journal_event(&(JournalEvent){.level = LOG_LEVEL_NOTICE, .message_id = EVENT_STARTED},
                  "perceptd %s is on the bus.", PERCEPTD_VERSION);
    notify_send(s->notify, "READY=1");
    notify_status(s);
    *ret_service = steal_ptr(&s);
    return 0;
}

Service *service_free(Service *s)
{
    if (!s)
        return NULL;
    assert(s->n_jobs == 0);
    sd_event_source_disable_unref(s->posts_source);
    sd_event_source_disable_unref(s->index_source);
    sd_event_source_disable_unref(s->watchdog_source);
    if (s->server)
        journal_event(&(JournalEvent){.level = LOG_LEVEL_NOTICE, .message_id = EVENT_STOPPED},
                      "perceptd leaves the bus.");
    server_close(s->server);
    catalog_free(s->catalog);
    intake_free(s->intake);
    worker_free(s->worker);
    collections_free(s->collections);
    model_folders_deinit(&s->folders);
    notify_free(s->notify);
    sd_event_unref(s->event);
    free(s);
    return NULL;
}
