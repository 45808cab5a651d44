#pragma once

/*
 * The Request object of an Ask: its path, the text so far, who waits for the end, who reads the
 * stream. Belongs to its Work.
 */

#include "ipc/sources.h"
#include "ipc/stream.h"
#include "ipc/text.h"
#include "ipc/work.h"

struct Request {
    char *path;
    TextBuffer text;
    Sources sources;
    bool text_lost;    /* there was no memory for some of it */
    const char *stage; /* a static word */
    double progress;
    DBusMessage
        *result; /* what Wait gets, without its addressee; NULL until the end, or out of memory */
    DBusMessage *waiters[LIMIT_WAITERS];
    size_t n_waiters;
    sd_event_source *expire;
    bool signals;     /* the client asked for them... */
    size_t signalled; /* ... and was told this many bytes of text */

    bool stream_opened;
    Stream *stream;
    size_t sent; /* bytes of text */
    size_t sent_sources;
    const char *sent_stage; /* the last one told */
    bool paused;
    sd_event_source *stall;
};

/* "<base><sender>/", the part of a path that belongs to one connection; base ends with a slash.
 * Caller frees. */
char *path_prefix(const char *base, const char *sender);
/* Chooses the path by the handle token, or a token of our own. -EBADMSG with the failure set, or
 * -ENOMEM. */
int request_new(Work *w, Failure *failure);
void request_free(Request *q);
/* Looks among a peer's works. */
Work *request_find(Peer *p, const char *path);

/* The work has ended with this result, which is taken. */
void request_ended(Work *w, DBusMessage *result);
/* Drops everything that leads to the client. */
void request_orphan(Work *w);

void request_wait(Server *s, Work *w, DBusMessage *call);
void request_open_stream(Server *s, Work *w, DBusMessage *call);
