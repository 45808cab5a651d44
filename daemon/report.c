#include "daemon/report.h"

#include "daemon/journal.h"

/* A client's trouble is worth a line, but not one for every call. */
static void tell(Account *account, const JournalEvent *event, const Work *work, const char *text)
{
    uint64_t now = now_usec();
    JournalEvent e = *event;

    if (now - account->told_usec < REPORT_USEC)
        return;
    account->told_usec = now;
    e.request = work_path(work);
    e.sender = work_sender(work);
    e.uid = account->uid;
    e.has_uid = true;
    journal_event(&e, "%s", text);
}

void report_failure(const Job *j)
{
    static const JournalEvent quota = {.level = LOG_LEVEL_NOTICE, .message_id = EVENT_QUOTA};
    static const JournalEvent decode = {.level = LOG_LEVEL_INFO, .message_id = EVENT_DECODE_FAILED};
    static const JournalEvent corrupt = {.level = LOG_LEVEL_ERROR, .message_id = EVENT_CORRUPT};
    static const JournalEvent cancelled = {.level = LOG_LEVEL_DEBUG, .message_id = EVENT_CANCELLED};
    ErrorCode code = j->failure.code;

    if (code == ERROR_INDEX_CORRUPT)
        tell(j->account, &corrupt, j->work, "The index of a user is damaged.");
    else if (code == ERROR_QUOTA_EXCEEDED)
        tell(j->account, &quota, j->work, "A user has reached a quota.");
    else if (code == ERROR_DECODE_FAILED || code == ERROR_UNSUPPORTED_MEDIA)
        tell(j->account, &decode, j->work, "Media could not be decoded.");
    else if (code == ERROR_CANCELLED)
        tell(j->account, &cancelled, j->work, "A call was cancelled.");
}

void report_model(const ModelStatus *before, const ModelStatus *now)
{
    if (before->state == WORKER_READY)
        journal_event(&(JournalEvent){.level = LOG_LEVEL_NOTICE,
                                      .message_id = EVENT_MODEL_UNLOADED,
                                      .model = before->name},
                      "The model has left memory.");
    if (now->state == WORKER_READY)
        journal_event(&(JournalEvent){.level = LOG_LEVEL_NOTICE,
                                      .message_id = EVENT_MODEL_LOADED,
                                      .model = now->name,
                                      .backend = now->backend,
                                      .duration_usec = now->load_usec},
                      "Model '%s' is loaded on %s.", now->name, now->backend);
    if (now->state == WORKER_FAILED)
        journal_event(&(JournalEvent){.level = LOG_LEVEL_ERROR,
                                      .message_id = EVENT_MODEL_FAILED,
                                      .model = now->name},
                      "%s", now->reason);
}
