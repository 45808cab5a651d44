#pragma once

/*
 * Typed errors: what went wrong, as a code of ours that becomes a name on the bus, with a sentence
 * for the developer. The sentence says what to do and never quotes the client's data. Numbers are
 * stable: they are the item status of EmbedMedia and of
 * what is added to collections.
 */

typedef enum ErrorCode {
    ERROR_NONE = 0,
    ERROR_INVALID_ARGS = 1, /* 1 to 31: names of org.freedesktop.DBus.Error */
    ERROR_UNKNOWN_METHOD = 2,
    ERROR_UNKNOWN_OBJECT = 3,
    ERROR_UNKNOWN_INTERFACE = 4,
    ERROR_UNKNOWN_PROPERTY = 5,
    ERROR_PROPERTY_READ_ONLY = 6,
    ERROR_ACCESS_DENIED = 7,
    ERROR_LIMITS_EXCEEDED = 8,
    ERROR_NO_MEMORY = 9,
    ERROR_TIMEOUT = 10,
    ERROR_NOT_SUPPORTED = 11,
    ERROR_FAILED = 12,
    ERROR_CANCELLED = 32, /* from 32: names of org.perceptd.Percept1.Error */
    ERROR_QUOTA_EXCEEDED = 33,
    ERROR_BUSY = 34,
    ERROR_TOO_LARGE = 35,
    ERROR_TRUNCATED = 36,
    ERROR_UNSUPPORTED_MEDIA = 37,
    ERROR_DECODE_FAILED = 38,
    ERROR_BAD_DESCRIPTOR = 39,
    ERROR_MODEL_UNAVAILABLE = 40,
    ERROR_DEVICE_LOST = 41,
    ERROR_NOT_SEALED = 42,
    ERROR_MODEL_MISMATCH = 43,
    ERROR_NO_SUCH_COLLECTION = 44,
    ERROR_NO_SUCH_ITEM = 45,
    ERROR_INDEX_CORRUPT = 46,
} ErrorCode;

#define FAILURE_MESSAGE_MAX 192

typedef struct Failure {
    ErrorCode code;
    char message[FAILURE_MESSAGE_MAX];
} Failure;

/* Name on the bus; valid for ever. */
const char *error_name(ErrorCode code);

/* Fills *f and returns -EBADMSG, so that a check can end with `return failure_set(…)`. */
int failure_set(Failure *f, ErrorCode code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
