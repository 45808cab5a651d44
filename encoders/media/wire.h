#pragma once

/*
 * The two messages between a helper and its client: one packet each, over a socket pair. With the
 * request come two descriptors: the file, and an empty memfd for the result. Private to this
 * folder.
 */

#include "encoders/media/media.h"
#include "encoders/media/reason.h"

/* AddressSanitizer and ThreadSanitizer, which ask for more than the walls allow, as GCC and as
 * Clang say that they are there. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WIRE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WIRE_SANITIZED 1
#endif
#endif
#ifndef WIRE_SANITIZED
#define WIRE_SANITIZED 0
#endif

/* Where the helper finds its end of the socket pair. */
#define WIRE_FD 3

typedef struct WireRequest {
    uint32_t kind;
    uint32_t max_patches;
    uint32_t region[4];
    uint32_t truncate_audio;
} WireRequest;

typedef struct WireReply {
    uint32_t reason;
    uint32_t kind; /* what the memfd holds */
    uint32_t width, height, source_width, source_height;
    uint32_t n_samples, source_rate, source_channels;
    uint32_t truncated;
    uint32_t retiring; /* this helper ends now */
} WireReply;
