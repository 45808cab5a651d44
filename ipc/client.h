#pragma once

/*
 * The client's end of the bus, for programs that may wait: one function a method. Each returns 0,
 * or a negative errno with *ret_error filled: -EREMOTEIO when the service refused.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/cleanup.h"
#include "ipc/limits.h"

typedef struct Client Client;

typedef struct ClientError {
    char name[128]; /* of the bus error, without "org.perceptd.Percept1.Error." */
    char message[256];
} ClientError;

/* A dictionary that came from the service. */
typedef struct DictEntry {
    char *key, *json;
    char *text; /* strings as they are, everything else as JSON */
} DictEntry;

typedef struct Dict {
    DictEntry *entries;
    size_t n;
} Dict;

void dict_deinit(Dict *d);
/* "" when there is no such key. */
const char *dict_text(const Dict *d, const char *key);
const char *dict_json(const Dict *d, const char *key);

typedef struct Vectors {
    size_t n, dimension;
    float *values;    /* [n, dimension] */
    uint32_t *status; /* [n]; of media: 0, or the number of an error and zeros for values */
} Vectors;

void vectors_deinit(Vectors *v);

/* What a question may say besides; zero or NULL leaves it to the service. */
typedef struct AskOptions {
    const char *system, *model;
    double effort, temperature;
    uint64_t seed;
    uint32_t max_tokens;
    bool high_detail, think;
} AskOptions;

typedef struct ClientMedium {
    int fd; /* borrowed */
    const char *type;
} ClientMedium;

/* bus: "session", "system", an address, or NULL for whichever of the first two has the service. */
int client_open(const char *bus, Client **ret_client, ClientError *ret_error);
Client *client_close(Client *c);
DEFINE_CLEANUP(Client *, client_close);
/* Which one it is. */
const char *client_bus(const Client *c);

int client_properties(Client *c, Dict *ret_properties, ClientError *ret_error);
int client_embed_text(Client *c, const char *const *texts, size_t n, Vectors *ret_vectors,
                      Dict *ret_info, ClientError *ret_error);
int client_embed_media(Client *c, const ClientMedium *media, size_t n, Vectors *ret_vectors,
                       Dict *ret_info, ClientError *ret_error);
/* ret_labels and ret_scores [n]: the best first; labels are indices. */
int client_classify(Client *c, const ClientMedium *medium, const char *const *labels, size_t n,
                    size_t *ret_labels, double *ret_scores, Dict *ret_info, ClientError *ret_error);

#define CLIENT_PATH_MAX 256
int client_ask(Client *c, const char *question, const ClientMedium *media, size_t n,
               const AskOptions *options, char ret_path[CLIENT_PATH_MAX], ClientError *ret_error);
int client_open_stream(Client *c, const char *path, int *ret_fd, ClientError *ret_error);
/* Waits for the end: text, finish and info. */
int client_wait(Client *c, const char *path, Dict *ret_result, ClientError *ret_error);

typedef struct ClientFrame {
    int kind; /* StreamKind */
    size_t length;
    char text[STREAM_PAYLOAD_MAX + 1];
} ClientFrame;
/* Reads the next frame; waits for one. 0 at the end of the stream, 1 otherwise. */
int client_read_frame(int fd, ClientFrame *ret_frame);
