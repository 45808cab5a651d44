#pragma once

/*
 * Why a file was refused: what the helper and its client agree on. Only the number crosses the
 * socket, so that a helper that was taken over cannot put words into anybody's mouth. Private to
 * this folder.
 */

#include <stdint.h>

typedef enum Reason {
    REASON_NONE,
    /* unsupported */
    REASON_NO_FILE,
    REASON_NO_FORMAT,
    REASON_NOT_IMAGE,
    REASON_NOT_AUDIO,
    REASON_JPEG_KIND,
    REASON_SOUND_KIND,
    REASON_SOUND_RATE,
    REASON_SOUND_CHANNELS,
    /* damaged */
    REASON_READ,
    REASON_JPEG,
    REASON_JPEG_SHORT,
    REASON_PNG,
    REASON_WEBP,
    REASON_SOUND,
    REASON_SOUND_SHORT,
    /* too large */
    REASON_BYTES,
    REASON_SIDES,
    REASON_PIXELS,
    REASON_SCANS,
    REASON_SECONDS,
    REASON_MEMORY,
    /* the helper */
    REASON_CRASHED,
    REASON_TIMEOUT,
    /* empty */
    REASON_NO_BYTES,
    REASON_NO_PIXELS,
    REASON_NO_REGION,
    REASON_NO_SAMPLES,
    _REASON_COUNT,
} Reason;

/* A MediaError, or 0 for REASON_NONE. */
int reason_error(Reason reason);
/* NULL for REASON_NONE. */
const char *reason_message(Reason reason);
