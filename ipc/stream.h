#pragma once

/*
 * The stream of one answer: a SOCK_SEQPACKET socket that never blocks. A packet is one frame,
 * little-endian:
 *
 *     u32 sequence   from 0, without gaps
 *     u8  kind       StreamKind
 *     u8  zero[3]
 *     text           whole UTF-8 code points: a piece of the answer; "rank score identifier" of a
 *                    source; "stage permille" of progress; nothing for the end; "error-name text"
 */

#include <stddef.h>
#include <stdint.h>

#include <systemd/sd-event.h>

#include "engine/base/cleanup.h"

typedef enum StreamKind {
    STREAM_DELTA = 0,
    STREAM_SOURCE = 1,
    STREAM_PROGRESS = 2,
    STREAM_END = 3,
    STREAM_ERROR = 4,
} StreamKind;

#define STREAM_HEADER_SIZE 8

typedef struct Stream Stream;

typedef struct StreamEvents {
    void (*writable)(void *userdata); /* after stream_send() gave -EAGAIN */
    void (*closed)(void *userdata);   /* the reader is gone; the stream may be freed in here */
    void *userdata;
} StreamEvents;

/* The caller owns the reader's end. */
int stream_new(sd_event *event, const StreamEvents *events, Stream **ret_stream,
               int *ret_reader_fd);
Stream *stream_free(Stream *s);
DEFINE_CLEANUP(Stream *, stream_free);

/* n <= STREAM_PAYLOAD_MAX. -EAGAIN: the socket is full. Other errors: the reader is gone,
 * closed() follows. */
int stream_send(Stream *s, StreamKind kind, const char *text, size_t n);
