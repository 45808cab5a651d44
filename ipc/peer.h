#pragma once

/*
 * Peers are the connections that use the service. The uid of each is asked of the bus once, without
 * waiting; calls that arrive meanwhile are kept in order. Users add up the peers of one uid, so
 * that opening more connections buys nothing.
 */

#include "ipc/server-private.h"

struct User {
    LIST_ENTRY(User) link;
    uid_t uid;
    unsigned n_refs;  /* peers, and works that outlive them */
    unsigned n_works; /* charged */
    unsigned n_sessions;
};

struct Peer {
    LIST_ENTRY(Peer) link;
    Server *server;
    char *name;
    User *user; /* NULL while the bus is asked for the uid */
    bool admin; /* root, the service's own user, or of the group that administers */
    WorkList works;
    LIST_HEAD(SessionList, BusSession) sessions;
    unsigned n_works, n_sessions;
    DBusPendingCall *asking;
    DBusMessage *waiting[LIMIT_CALLS_PER_CONNECTION];
    size_t n_waiting;
};

Peer *peer_find(Server *s, const char *name);
/* Keeps the call until the sender's uid is known, then dispatches it; answers it when it cannot
 * be kept. */
void peer_defer(Server *s, const char *name, DBusMessage *call);
/* The connection has left the bus: its work is cancelled, its requests are gone, and so is the
 * peer. */
void peer_left(Peer *p);

User *user_ref(User *u);
User *user_unref(User *u);
