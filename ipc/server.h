#pragma once

/*
 * The service's end of the bus: owns the libdbus connection, the name, the objects, and everything
 * that clients have in flight. Used on the thread that runs the event loop only.
 */

#include <stdint.h>

#include <systemd/sd-event.h>

#include "engine/base/cleanup.h"
#include "ipc/handlers.h"

typedef struct Server Server;

/* What never changes while the daemon runs; borrowed until server_free(). */
typedef struct ServerFacts {
    const char *version;
    const char *const *modalities; /* NULL-terminated */
    uint32_t
        space_length;    /* dimension of a whole vector; halves down to a quarter are offered too */
    uint32_t keep_msec;  /* a finished request that nobody releases */
    uint32_t stall_msec; /* a stream that nobody reads, until its job is cancelled */
} ServerFacts;

/* An installed model, shown to everybody. */
typedef struct ServerModel {
    char name[LIMIT_MODEL_NAME + 1];
    bool selected;     /* the next call runs on it */
    const char *state; /* a static word: "installed", "loading", "ready" or "failed" */
    uint64_t bytes;    /* of its files */
    char digest[LIMIT_MODEL_NAME + 1]; /* "" until it was loaded once, like what follows */
    char family[32];
    bool senses;                        /* all of the service's modalities; else text alone */
    uint32_t dimension, context_length; /* dimension 0: it makes no vectors */
    uint64_t memory;                    /* bytes of weights and buffers; 0: it is not loaded */
} ServerModel;

typedef struct ServerEvents {
    const Handlers *handlers;
    /* The bus has gone, or has taken the name from us. */
    void (*lost)(void *userdata);
    /* A call was refused because its connection, its uid or all together have too much in
     * flight. */
    void (*quota_hit)(void *userdata, uid_t uid, const char *sender);
    void *userdata;
} ServerEvents;

/* bus: "session", "system" or an address. Connects, registers the objects and takes the name, in
 * this order; the only place where the service waits for the bus. -EEXIST: somebody else owns
 * the name; -ECONNREFUSED: no such bus. */
int server_open(sd_event *event, const char *bus, const ServerFacts *facts,
                const ServerEvents *events, Server **ret_server);
/* Tells the clients that State, Backend or DegradedReason changed. */
void server_status_changed(Server *s);
/* The models that are installed, of which there may have been others before. Copied. */
void server_models_changed(Server *s, const ServerModel *models, size_t n);
/* Calls and requests that the daemon has not finished yet. */
unsigned server_works_open(const Server *s);
/* Asks the daemon to cancel all work. */
void server_cancel_all(Server *s);
/* Every work has ended by now. Sends what is queued, gives the name back. */
Server *server_close(Server *s);
DEFINE_CLEANUP(Server *, server_close);
