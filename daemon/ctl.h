#pragma once

/* perceptctl: a client of the bus for people. What its commands share. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "ipc/client.h"

#define CTL_MEDIA_MAX 8

typedef struct CtlOptions {
    const char *bus; /* NULL: whichever has the service */
    bool json;
    const char *media[CTL_MEDIA_MAX], *types[CTL_MEDIA_MAX];
    size_t n_media;
    const char **arguments;
    size_t n_arguments;
    AskOptions ask;
    const char *collection; /* of index, watch and search */
    uint32_t limit;
    bool open, prompt;
    uint32_t uid; /* of purge */
    bool has_uid;
    const char *state; /* NULL: where the service of the system keeps it */
} CtlOptions;

/* What --help prints. */
extern const char ctl_help[];
/* Arguments are those behind the options, the command first. 1: done already; -EINVAL after
 * saying why. */
int ctl_options(int argc, char **argv, CtlOptions *ret_options);

/* Files opened as media. */
typedef struct CtlMedia {
    ClientMedium items[CTL_MEDIA_MAX];
    size_t n;
} CtlMedia;

/* Commands: 0, or a negative errno after saying on standard error what is wrong. */
int ctl_status(Client *c, const CtlOptions *o);
int ctl_doctor(const CtlOptions *o);
int ctl_ask(Client *c, const CtlOptions *o);
int ctl_embed(Client *c, const CtlOptions *o);
int ctl_classify(Client *c, const CtlOptions *o);
int ctl_similar(Client *c, const CtlOptions *o);
int ctl_index(Client *c, const CtlOptions *o);
int ctl_watch(Client *c, const CtlOptions *o);
int ctl_search(Client *c, const CtlOptions *o);
int ctl_purge(const CtlOptions *o);

int ctl_error(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
int ctl_refused(int error, const ClientError *e);
/* In words. */
const char *ctl_bus(const Client *c);
/* Prints and returns -EINVAL. */
int ctl_usage(const char *command);
void ctl_media_close(CtlMedia *m);
int ctl_media_open(const CtlOptions *o, CtlMedia *ret_media);
/* type "": found by the first bytes. The caller closes ret_medium->fd. */
int ctl_medium_open(const char *path, const char *type, ClientMedium *ret_medium);
/* Answers may hold control characters, which a terminal would obey. */
void ctl_print_text(const char *text, size_t length);
void ctl_print_vector(const float *values, size_t n, const char *separator);
/* The arguments as absolute paths without links, NULL behind the last; ctl_roots_free(). */
int ctl_roots(const CtlOptions *o, char ***ret_roots);
void ctl_roots_free(char **roots);
/* SIGINT and SIGTERM set scan_stopped. */
void ctl_stop_on_signals(void);
/* ", "info": {…}" */
void ctl_print_info_json(const Dict *info);
