#pragma once

/*
 * Where the daemon logs: to the journal with fields when standard error is connected to it, else to
 * standard error. Events that somebody may look for have a fixed MESSAGE_ID, explained in
 * units/perceptd.catalog. Questions, file names and vectors are never logged.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/base/log.h"

#define EVENT_STARTED        "5d9f1a4e8c0b4f6aa6d27a0c61f3e101"
#define EVENT_STOPPED        "5d9f1a4e8c0b4f6aa6d27a0c61f3e102"
#define EVENT_MODEL_LOADED   "5d9f1a4e8c0b4f6aa6d27a0c61f3e103"
#define EVENT_MODEL_FAILED   "5d9f1a4e8c0b4f6aa6d27a0c61f3e104"
#define EVENT_QUOTA          "5d9f1a4e8c0b4f6aa6d27a0c61f3e105"
#define EVENT_DECODE_FAILED  "5d9f1a4e8c0b4f6aa6d27a0c61f3e106"
#define EVENT_CANCELLED      "5d9f1a4e8c0b4f6aa6d27a0c61f3e107"
#define EVENT_RELOADED       "5d9f1a4e8c0b4f6aa6d27a0c61f3e108"
#define EVENT_CONFIG_REFUSED "5d9f1a4e8c0b4f6aa6d27a0c61f3e109"
#define EVENT_MODEL_UNLOADED "5d9f1a4e8c0b4f6aa6d27a0c61f3e10b"
#define EVENT_HUNG           "5d9f1a4e8c0b4f6aa6d27a0c61f3e10a"
#define EVENT_CORRUPT        "5d9f1a4e8c0b4f6aa6d27a0c61f3e10c"
#define EVENT_REBUILT        "5d9f1a4e8c0b4f6aa6d27a0c61f3e10d"

/* Fields left NULL or 0 are not written. */
typedef struct JournalEvent {
    LogLevel level;
    const char *message_id;
    const char *request, *sender, *model, *backend;
    uint64_t duration_usec;
    uid_t uid;
    bool has_uid;
} JournalEvent;

/* Becomes the sink of engine/base/log.h. Called again to change the level. */
void journal_open(LogLevel most);
/* The words of org.freedesktop.LogControl1: levels are those of syslog, targets are "auto",
 * "journal", "console" and "null". Setters give -EINVAL for others. */
const char *journal_level(void);
int journal_set_level(const char *name);
const char *journal_target(void);
int journal_set_target(const char *name);
void journal_event(const JournalEvent *event, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
