#pragma once

/*
 * Strangers' bytes to pixels and samples, in another process.
 *
 * A MediaHelper is one running percept-media behind a socket pair: it gets a descriptor and
 * options, decodes with ceilings checked before any allocation, and answers in a memfd that is
 * sealed before anybody reads it. Its crash or time-out is an error of one request, after which
 * the helper is started anew. The caller polls media_helper_fd() and calls
 * media_helper_receive(). Used by one thread at a time.
 *
 * Read are JPEG, PNG and WebP (of an animation the first picture), and WAV, FLAC, Ogg and, where
 * libsndfile has it, MP3.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/cleanup.h"

#define MEDIA_BYTES_MAX    (64u << 20)  /* of one encoded file */
#define MEDIA_PIXELS_MAX   (100u << 20) /* of one decoded image, before scaling */
#define MEDIA_SIDE_MAX     32768
#define MEDIA_SECONDS_MAX  30
#define MEDIA_RATE         16000 /* samples a second of what comes out */
#define MEDIA_TIMEOUT_MSEC 10000

typedef enum MediaKind {
    MEDIA_ANY, /* found by the first bytes */
    MEDIA_IMAGE,
    MEDIA_AUDIO,
} MediaKind;

/* Results: 0 or one of these, negative. */
typedef enum MediaError {
    MEDIA_ERROR_UNSUPPORTED = -1001, /* not a format that we read */
    MEDIA_ERROR_DECODE = -1002,      /* damaged */
    MEDIA_ERROR_TOO_LARGE = -1003,   /* a ceiling, before allocation */
    MEDIA_ERROR_CRASHED = -1004,     /* the helper died or ran out of time */
    MEDIA_ERROR_EMPTY = -1005,       /* no pixels, or too little to hear: under 10 ms */
} MediaError;

typedef struct MediaRequest {
    MediaKind kind;
    uint32_t max_patches; /* images: 64 or 256, allows scaling in the DCT domain; 0: full size */
    /* x, y, width, height in pixels of the upright source; width 0: all. A region that does not
     * lie within the picture is cut to it, and MEDIA_ERROR_EMPTY when nothing is left. */
    uint32_t region[4];
    bool truncate_audio; /* cut at MEDIA_SECONDS_MAX instead of MEDIA_ERROR_TOO_LARGE */
} MediaRequest;

/* A decoded item; memory is a private mapping owned by it. */
typedef struct Media {
    MediaKind kind;
    uint8_t *rgb;                         /* [height, width, 3] */
    uint32_t width, height;               /* after DCT scaling, orientation and region */
    uint32_t source_width, source_height; /* upright, before scaling and region */
    float *samples;                       /* 16 kHz mono */
    size_t n_samples;
    uint32_t source_rate, source_channels;
    bool truncated;
    void *map;
    size_t map_size;
} Media;

void media_deinit(Media *m);

typedef struct MediaHelper MediaHelper;

/* program: path of percept-media. The process starts with the first request. */
int media_helper_new(const char *program, MediaHelper **ret_helper);
/* Ends the process. */
MediaHelper *media_helper_free(MediaHelper *h);
DEFINE_CLEANUP(MediaHelper *, media_helper_free);

/* One request at a time: -EBUSY. The descriptor is borrowed for the call; it is read from its
 * beginning, whatever its offset. A memfd with the seals against writing and shrinking is mapped,
 * another regular file is read; anything else is MEDIA_ERROR_UNSUPPORTED. -EINVAL: fd is no
 * descriptor; other errnos: the helper cannot be started. */
int media_helper_submit(MediaHelper *h, int fd, const MediaRequest *request);
/* -1 when idle. */
int media_helper_fd(const MediaHelper *h);
/* What is left of the deadline; -1 when idle. */
int media_helper_timeout_msec(const MediaHelper *h);
/* -EAGAIN: not yet; -EINVAL: idle. 0 fills *ret_media; a MediaError otherwise. *ret_message is a
 * static English sentence for developers, or NULL after 0. */
int media_helper_receive(MediaHelper *h, Media *ret_media, const char **ret_message);
/* Gives up a request that nobody waits for any more: ends the process if it is at work. */
void media_helper_cancel(MediaHelper *h);
/* Ends the process, which is idle: the next request, of somebody else, gets a new one. */
void media_helper_renew(MediaHelper *h);
/* Nothing above waits for a process that was ended. This takes what is left of those, and returns
 * how many are still dying: call it again in a while. */
size_t media_helper_reap(MediaHelper *h);
/* Blocking convenience for tools: submit and wait. */
int media_decode(MediaHelper *h, int fd, const MediaRequest *request, Media *ret_media,
                 const char **ret_message);
