#include "ipc/work.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ipc/args.h"
#include "ipc/request.h"
#include "ipc/session.h"

static void work_unlink(Work *w)
{
    LIST_REMOVE(w, link);
    w->server->n_works--;
    w->user->n_works--;
    if (w->peer)
        w->peer->n_works--;
}

/* The message goes with them, since they point into it. */
static void work_drop_args(Work *w)
{
    args_deinit(&w->args);
    if (w->call)
        dbus_message_unref(w->call);
    w->call = NULL;
}

/* Its session may ask again. */
static void work_leave_session(Work *w)
{
    if (w->session)
        w->session->work = NULL;
    w->session = NULL;
}

static void work_free(Work *w)
{
    work_unlink(w);
    work_leave_session(w);
    if (!w->ended)
        w->server->n_running--;
    sd_event_source_disable_unref(w->deadline);
    request_free(w->request);
    work_drop_args(w);
    user_unref(w->user);
    free(w);
}

static int work_charge(Peer *p, Failure *failure)
{
    Server *s = p->server;

    if (p->n_works >= LIMIT_CALLS_PER_CONNECTION)
        return failure_set(failure, ERROR_QUOTA_EXCEEDED,
                           "This connection has %u calls and requests in flight: wait, or Release.",
                           p->n_works);
    if (p->user->n_works >= LIMIT_CALLS_PER_UID)
        return failure_set(failure, ERROR_QUOTA_EXCEEDED,
                           "This user has %u calls and requests in flight: wait, or Release.",
                           p->user->n_works);
    if (s->n_works >= LIMIT_CALLS)
        return failure_set(failure, ERROR_BUSY, "The service has %u calls in flight: try later.",
                           s->n_works);
    return 0;
}

static int work_new(Peer *p, DBusMessage *call, Work **ret_work)
{
    Work *w = calloc(1, sizeof *w);

    if (!w)
        return -ENOMEM;
    *w = (Work){
        .server = p->server,
        .peer = p,
        .user = user_ref(p->user),
        .call = dbus_message_ref(call),
    };
    sd_event_now(p->server->event, CLOCK_MONOTONIC, &w->arrived_usec);
    LIST_INSERT_HEAD(&p->works, w, link);
    p->n_works++;
    p->user->n_works++;
    p->server->n_works++;
    p->server->n_running++;
    *ret_work = w;
    return 0;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source, (void)usec;
    work_time_out(userdata, "The deadline of this call has passed.");
    return 0;
}

/* b: of the method that was called; NULL: the question names its session, if it has one. */
static int work_join(Work *w, BusSession *b, Failure *failure)
{
    const char *path = w->args.options.session;
    BusSession *named = path ? session_find(w->peer, path) : b;

    if (path && !named)
        return failure_set(failure, ERROR_UNKNOWN_OBJECT,
                           "This connection has no such session open.");
    if (b && named != b)
        return failure_set(failure, ERROR_INVALID_ARGS,
                           "The option session names another session than this.");
    if (!named)
        return 0;
    if (named->work)
        return failure_set(failure, ERROR_BUSY,
                           "The session has a question in hand: wait for its answer.");
    named->work = w;
    w->session = named;
    w->conversation = named->conversation;
    return 0;
}

static int work_prepare(Work *w, WorkKind kind, BusSession *session, Failure *failure)
{
    int r = args_read(w->call, kind, w->server->facts, &w->args, failure);

    if (r >= 0)
        r = work_join(w, session, failure);
    if (r >= 0 && kind == WORK_ASK)
        r = request_new(w, failure);
    if (r >= 0 && w->args.options.deadline_ms > 0)
        r = sd_event_add_time_relative(w->server->event, &w->deadline, CLOCK_MONOTONIC,
                                       (uint64_t)w->args.options.deadline_ms * 1000, 1000,
                                       on_deadline, w);
    if (r < 0 && r != -EBADMSG)
        return failure_set(failure, ERROR_NO_MEMORY, "Out of memory.");
    return r;
}

static void start_in(Peer *p, WorkKind kind, BusSession *session, const CollectionRef *collection,
                     DBusMessage *call)
{
    Server *s = p->server;
    Failure failure;
    Work *w;
    int r = work_charge(p, &failure);

    if (r < 0) {
        s->events.quota_hit(s->events.userdata, p->user->uid, p->name);
        server_reply_failure(s, call, &failure);
        return;
    }
    if (work_new(p, call, &w) < 0) {
        server_reply_error(s, call, ERROR_NO_MEMORY, "Out of memory.");
        return;
    }
    w->args.collection.uid = p->user->uid;
    if (collection) {
        w->args.collection.uid = collection->uid;
        strcpy(w->args.collection.name, collection->name);
    }
    r = work_prepare(w, kind, session, &failure);
    /* A call that the daemon finishes at once is gone when start() returns; a request stays
     * until it is released. */
    if (r >= 0)
        r = s->events.handlers->start(s->events.userdata, w, &failure);
    if (r < 0) {
        server_reply_failure(s, call, &failure);
        work_free(w);
    } else if (kind == WORK_ASK) {
        const char *path = w->request->path;
        server_reply_basic(s, call, DBUS_TYPE_OBJECT_PATH, &path);
    }
}

void work_start(Peer *p, WorkKind kind, DBusMessage *call)
{
    start_in(p, kind, NULL, NULL, call);
}

void work_start_on(Peer *p, WorkKind kind, const CollectionRef *collection, DBusMessage *call)
{
    start_in(p, kind, NULL, collection, call);
}

void work_ask_in(BusSession *b, DBusMessage *call)
{
    start_in(b->peer, WORK_ASK, b, NULL, call);
}

void work_cancel(Work *w)
{
    if (!w->ended)
        w->server->events.handlers->cancel(w->server->events.userdata, w);
}

void work_time_out(Work *w, const char *message)
{
    w->late = message;
    work_cancel(w);
}

void work_orphan(Work *w)
{
    LIST_REMOVE(w, link);
    w->peer->n_works--;
    w->peer = NULL;
    LIST_INSERT_HEAD(&w->server->gone, w, link);
    if (w->request)
        request_orphan(w);
    if (w->ended)
        work_free(w);
    else
        work_cancel(w);
}

void work_release(Work *w)
{
    work_orphan(w);
}

/* Every way of finishing passes here first. */
void work_end(Work *w)
{
    assert(!w->ended);
    w->ended = true;
    w->job = NULL;
    work_leave_session(w);
    w->server->n_running--;
    w->deadline = sd_event_source_disable_unref(w->deadline);
}

void work_answer(Work *w, DBusMessage *reply)
{
    if (w->peer)
        server_reply(w->server, w->call, reply);
    else if (reply)
        dbus_message_unref(reply);
    work_free(w);
}

/* Hands the result to the request, which may be kept for long; what was asked need not be. */
static void request_result(Work *w, DBusMessage *result)
{
    work_drop_args(w);
    request_ended(w, result);
    if (!w->peer)
        work_free(w);
}

void work_fail(Work *w, ErrorCode code, const char *message)
{
    DBusMessage *m;
    Writer writer;

    if (w->late && code == ERROR_CANCELLED) {
        code = ERROR_TIMEOUT;
        message = w->late;
    }
    work_end(w);
    if (!w->request) {
        if (w->peer)
            server_reply_error(w->server, w->call, code, message);
        work_free(w);
        return;
    }
    m = dbus_message_new(DBUS_MESSAGE_TYPE_ERROR);
    if (m) {
        writer_init(&writer, m);
        writer_string(&writer, message);
        if (!dbus_message_set_error_name(m, error_name(code)))
            writer.error = -ENOMEM;
        m = writer_end_message(&writer, m);
    }
    request_result(w, m);
}

DBusMessage *work_reply(Work *w, Writer *writer)
{
    DBusMessage *reply = dbus_message_new_method_return(w->call);

    if (reply)
        writer_init(writer, reply);
    return reply;
}

static DBusMessage *reply_end(Writer *writer, DBusMessage *reply, const WorkInfo *info,
                              const char *metric)
{
    writer_info(writer, info, metric);
    return writer_end_message(writer, reply);
}

/* The size is known before anything is built. */
static bool reply_fits(size_t n, size_t size)
{
    return n <= LIMIT_REPLY_BYTES / (size > 0 ? size : 1);
}

void work_finish_vectors(Work *w, const uint8_t *vectors, size_t vector_size, const WorkInfo *info)
{
    DBusMessage *reply;
    Writer writer;

    if (!reply_fits(w->args.n_texts, vector_size)) {
        work_fail(w, ERROR_TOO_LARGE,
                  "The vectors do not fit into one reply: use EmbedBulk, or split the call.");
        return;
    }
    work_end(w);
    reply = work_reply(w, &writer);
    if (reply) {
        writer_open(&writer, DBUS_TYPE_ARRAY, "ay");
        for (size_t i = 0; i < w->args.n_texts; i++)
            writer_bytes(&writer, vectors + i * vector_size, vector_size);
        writer_close(&writer);
        reply = reply_end(&writer, reply, info, NULL);
    }
    work_answer(w, reply);
}

void work_finish_bulk(Work *w, int memfd, const WorkInfo *info)
{
    DBusMessage *reply;
    Writer writer;

    work_end(w);
    reply = work_reply(w, &writer);
    if (reply) {
        writer_basic(&writer, DBUS_TYPE_UNIX_FD, &memfd);
        reply = reply_end(&writer, reply, info, NULL);
    }
    close(memfd);
    work_answer(w, reply);
}

void work_finish_items(Work *w, const WorkItem *items, size_t vector_size, const WorkInfo *info)
{
    DBusMessage *reply;
    Writer writer;

    work_end(w);
    reply = work_reply(w, &writer);
    if (reply) {
        writer_open(&writer, DBUS_TYPE_ARRAY, "(uay)");
        for (size_t i = 0; i < w->args.n_media; i++) {
            dbus_uint32_t status = items[i].status;
            writer_open(&writer, DBUS_TYPE_STRUCT, NULL);
            writer_basic(&writer, DBUS_TYPE_UINT32, &status);
            writer_bytes(&writer, items[i].vector, status == ERROR_NONE ? vector_size : 0);
            writer_close(&writer);
        }
        writer_close(&writer);
        reply = reply_end(&writer, reply, info, NULL);
    }
    work_answer(w, reply);
}

void work_finish_scores(Work *w, const WorkScore *scores, const char *metric, const WorkInfo *info)
{
    DBusMessage *reply;
    Writer writer;

    work_end(w);
    reply = work_reply(w, &writer);
    if (reply) {
        writer_open(&writer, DBUS_TYPE_ARRAY, "(sd)");
        for (size_t i = 0; i < w->args.n_texts; i++) {
            writer_open(&writer, DBUS_TYPE_STRUCT, NULL);
            writer_string(&writer, w->args.texts[scores[i].label].data);
            writer_basic(&writer, DBUS_TYPE_DOUBLE, &scores[i].score);
            writer_close(&writer);
        }
        writer_close(&writer);
        reply = reply_end(&writer, reply, info, metric);
    }
    work_answer(w, reply);
}

void work_finish_empty(Work *w)
{
    work_end(w);
    work_answer(w, dbus_message_new_method_return(w->call));
}

void work_finish_answer(Work *w, const char *finish, const WorkInfo *info)
{
    DBusMessage *m = dbus_message_new(DBUS_MESSAGE_TYPE_METHOD_RETURN);
    TextBuffer *text = &w->request->text;
    Writer writer;

    if (m && (text_end(text) < 0 || w->request->text_lost)) {
        dbus_message_unref(m);
        m = NULL;
    }
    if (m) {
        writer_init(&writer, m);
        writer_open(&writer, DBUS_TYPE_ARRAY, "{sv}");
        writer_entry_string(&writer, "text", text->data ? text->data : "");
        writer_entry_string(&writer, "finish", finish);
        sources_write(&w->request->sources, &writer);
        writer_entry_open(&writer, "info", "a{sv}");
        writer_info(&writer, info, NULL);
        writer_entry_close(&writer);
        writer_close(&writer);
        m = writer_end_message(&writer, m);
    }
    work_end(w);
    request_result(w, m);
}

void writer_info(Writer *w, const WorkInfo *info, const char *metric)
{
    writer_open(w, DBUS_TYPE_ARRAY, "{sv}");
    writer_entry_string(w, "model", info->model);
    writer_entry_string(w, "digest", info->digest);
    writer_entry_string(w, "backend", info->backend);
    writer_entry_u32(w, "dimension", info->dimension);
    writer_entry_string(w, "dtype", info->dtype == VECTOR_F16 ? "f16" : "f32");
    writer_entry_bool(w, "normalised", info->normalised);
    writer_entry_open(w, "truncated", "ab");
    writer_open(w, DBUS_TYPE_ARRAY, "b");
    for (size_t i = 0; i < info->n_items; i++) {
        dbus_bool_t truncated = info->truncated && info->truncated[i];
        writer_basic(w, DBUS_TYPE_BOOLEAN, &truncated);
    }
    writer_close(w);
    writer_entry_close(w);
    writer_entry_u64(w, "tokens", info->tokens);
    writer_entry_double(w, "effort", info->effort);
    writer_entry_u64(w, "weight_bytes", info->weight_bytes);
    writer_entry_u64(w, "kv_bytes", info->kv_bytes);
    writer_entry_double(w, "queued_ms", info->queued_ms);
    writer_entry_double(w, "computed_ms", info->computed_ms);
    if (metric)
        writer_entry_string(w, "metric", metric);
    if (info->search)
        writer_entry_bool(w, "more", info->more);
    writer_close(w);
}

WorkArgs *work_args(Work *w)
{
    return &w->args;
}

const char *work_sender(const Work *w)
{
    return w->peer ? w->peer->name : "";
}

uid_t work_uid(const Work *w)
{
    return w->user->uid;
}

const char *work_path(const Work *w)
{
    return w->request ? w->request->path : "";
}

void *work_conversation(const Work *w)
{
    return w->conversation;
}

uint64_t work_arrived_usec(const Work *w)
{
    return w->arrived_usec;
}

void work_set_job(Work *w, void *job)
{
    w->job = job;
}

void *work_job(const Work *w)
{
    return w->job;
}
