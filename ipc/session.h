#pragma once

/*
 * The Session object of a conversation: its path, and which of its questions is being answered. It
 * belongs to its connection and ends with it.
 */

#include "ipc/work.h"

struct BusSession {
    LIST_ENTRY(BusSession) link; /* of its peer */
    Peer *peer;
    char *path;
    void *conversation; /* the daemon's */
    Work *work;         /* the question in hand, or NULL */
};

/* Looks among a peer's sessions. */
BusSession *session_find(Peer *p, const char *path);
/* Answers the call with the path of a new one. */
void session_start(Peer *p, DBusMessage *call);
/* Cancels the question in hand; the daemon forgets the conversation. */
void session_end(BusSession *b);
