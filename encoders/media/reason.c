#include "encoders/media/reason.h"

#include <assert.h>
#include <stddef.h>

#include "encoders/media/media.h"

/* clang-format off */
static const struct {
    int error;
    const char *message;
} reasons[_REASON_COUNT] = {
    [REASON_NONE] = { 0, NULL },
    [REASON_NO_FILE] = { MEDIA_ERROR_UNSUPPORTED,
        "the descriptor is no regular file or memfd" },
    [REASON_NO_FORMAT] = { MEDIA_ERROR_UNSUPPORTED,
        "not JPEG, PNG, WebP, WAV, FLAC, Ogg or MP3" },
    [REASON_NOT_IMAGE] = { MEDIA_ERROR_UNSUPPORTED,
        "an image is wanted, and this is sound" },
    [REASON_NOT_AUDIO] = { MEDIA_ERROR_UNSUPPORTED,
        "sound is wanted, and this is an image" },
    [REASON_JPEG_KIND] = { MEDIA_ERROR_UNSUPPORTED,
        "a kind of JPEG that is not read: lossless, 12 bits a sample or unusual colours" },
    [REASON_SOUND_KIND] = { MEDIA_ERROR_UNSUPPORTED,
        "libsndfile does not know this encoding of sound" },
    [REASON_SOUND_RATE] = { MEDIA_ERROR_UNSUPPORTED,
        "sample rates from 1,000 to 384,000 Hz are read" },
    [REASON_SOUND_CHANNELS] = { MEDIA_ERROR_UNSUPPORTED,
        "sound of up to 32 channels is read" },
    [REASON_READ] = { MEDIA_ERROR_DECODE,
        "the file could not be read to its end" },
    [REASON_JPEG] = { MEDIA_ERROR_DECODE,
        "the JPEG is damaged" },
    [REASON_JPEG_SHORT] = { MEDIA_ERROR_DECODE,
        "the JPEG ends before its picture does" },
    [REASON_PNG] = { MEDIA_ERROR_DECODE,
        "the PNG is damaged or cut off" },
    [REASON_WEBP] = { MEDIA_ERROR_DECODE,
        "the WebP is damaged or cut off" },
    [REASON_SOUND] = { MEDIA_ERROR_DECODE,
        "the sound file is damaged" },
    [REASON_SOUND_SHORT] = { MEDIA_ERROR_DECODE,
        "the sound file ends before its sound does" },
    [REASON_BYTES] = { MEDIA_ERROR_TOO_LARGE,
        "files of up to 64 MiB are read" },
    [REASON_SIDES] = { MEDIA_ERROR_TOO_LARGE,
        "pictures of up to 32,768 pixels a side are read" },
    [REASON_PIXELS] = { MEDIA_ERROR_TOO_LARGE,
        "pictures of up to 100 Mi pixels are read" },
    [REASON_SCANS] = { MEDIA_ERROR_TOO_LARGE,
        "a progressive JPEG of up to 100 scans is read" },
    [REASON_SECONDS] = { MEDIA_ERROR_TOO_LARGE,
        "sound of up to 30 seconds is read; cut it, or ask for truncation" },
    [REASON_MEMORY] = { MEDIA_ERROR_TOO_LARGE,
        "decoding needs more memory than the helper may use" },
    [REASON_CRASHED] = { MEDIA_ERROR_CRASHED,
        "the media helper ended while it decoded this file" },
    [REASON_TIMEOUT] = { MEDIA_ERROR_CRASHED,
        "decoding took more than 10 seconds" },
    [REASON_NO_BYTES] = { MEDIA_ERROR_EMPTY,
        "the file is empty" },
    [REASON_NO_PIXELS] = { MEDIA_ERROR_EMPTY,
        "the picture has no pixels" },
    [REASON_NO_REGION] = { MEDIA_ERROR_EMPTY,
        "the region lies outside the picture" },
    [REASON_NO_SAMPLES] = { MEDIA_ERROR_EMPTY,
        "less than 10 milliseconds of sound" },
};
/* clang-format on */

int reason_error(Reason reason)
{
    assert(reason < _REASON_COUNT);
    return reasons[reason].error;
}

const char *reason_message(Reason reason)
{
    assert(reason < _REASON_COUNT);
    return reasons[reason].message;
}
