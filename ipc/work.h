#pragma once

/*
 * The inside of a Work. It lives until the daemon has finished it and, if it is a request, its
 * client has released it as well; all that time it is charged to its connection and its uid.
 */

#include "ipc/peer.h"
#include "ipc/writer.h"

typedef struct Request Request;

/* What the path of a collection says. */
typedef struct CollectionRef {
    uid_t uid;
    char name[LIMIT_NAME + 1];
} CollectionRef;

struct Work {
    LIST_ENTRY(Work) link; /* of its peer's works, or of the server's `gone` ones */
    Server *server;
    Peer *peer; /* NULL after it left */
    User *user;
    DBusMessage *call; /* the arguments point into it */
    WorkArgs args;
    void *job;
    BusSession *session; /* whose question it is; NULL: of none, or the session has ended */
    void *conversation;
    uint64_t arrived_usec;
    sd_event_source *deadline;
    const char *late; /* it was timed out, and why; static */
    bool stopping;    /* the daemon was asked to cancel everything, this included */
    bool ended;
    Request *request; /* NULL unless WORK_ASK */
};

/* Reads the arguments, charges the quotas and hands the work to the daemon; answers the call on
 * every failure. */
void work_start(Peer *p, WorkKind kind, DBusMessage *call);
/* The same for a call on a collection; there may be none of the name. */
void work_start_on(Peer *p, WorkKind kind, const CollectionRef *collection, DBusMessage *call);
/* The same for a question in a session. */
void work_ask_in(BusSession *b, DBusMessage *call);
/* Asks the daemon to stop. The work may be freed when this returns. */
void work_cancel(Work *w);
/* The same, to be reported as a time-out with this message, which is static. */
void work_time_out(Work *w, const char *message);
/* The client has left: nothing is sent to it any more. */
void work_orphan(Work *w);
/* The request's client wants no more of it. */
void work_release(Work *w);

/* For the functions that finish: marks the end; the reply, NULL when there is no memory; sends it
 * and frees the work. */
void work_end(Work *w);
DBusMessage *work_reply(Work *w, Writer *writer);
void work_answer(Work *w, DBusMessage *reply);

/* Appends info as an a{sv}; metric NULL: there are no scores. */
void writer_info(Writer *w, const WorkInfo *info, const char *metric);
