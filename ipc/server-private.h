#pragma once

/* What the files of the service's end share: the server and how it answers. */

#include <stdbool.h>
#include <sys/queue.h>

#include <dbus/dbus.h>

#include "ipc/bus-loop.h"
#include "ipc/server.h"

typedef struct Peer Peer;
typedef struct User User;
typedef struct BusSession BusSession;
typedef LIST_HEAD(WorkList, Work) WorkList;

struct Server {
    sd_event *event;
    const ServerFacts *facts;
    ServerEvents events;
    DBusConnection *connection;
    DBusPreallocatedSend *reserve; /* for one reply; NULL: used, and not replaced yet */
    BusLoop *loop;
    LIST_HEAD(PeerList, Peer) peers;
    LIST_HEAD(UserList, User) users;
    WorkList gone; /* works whose client has left and which the daemon has not finished yet */
    unsigned n_peers, n_sessions;
    unsigned n_works;   /* charged: running, or a finished request kept for its client */
    unsigned n_running; /* not finished by the daemon; zero when the server is closed */
    uint64_t next_token;
    ServerModel *models; /* [n_models] */
    size_t n_models;
    gid_t admin_group; /* whose members may administer; -1: there is none */
};

/* Finds the object and the method of a call and runs it; every call gets exactly one reply, now
 * or later. */
void server_dispatch(Server *s, DBusMessage *call);

/* Takes a reply, NULL meaning that it could not be built; a call that wants none gets none. */
void server_reply(Server *s, DBusMessage *call, DBusMessage *reply);
void server_reply_basic(Server *s, DBusMessage *call, int type, const void *value);
void server_reply_empty(Server *s, DBusMessage *call);
void server_reply_error(Server *s, DBusMessage *call, ErrorCode code, const char *text);
void server_reply_failure(Server *s, DBusMessage *call, const Failure *failure);
/* Takes a signal; NULL, which could not be built, is not sent: what it tells can be asked for. */
void server_signal(Server *s, DBusMessage *signal);
