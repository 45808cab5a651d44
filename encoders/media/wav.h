#pragma once

/* What a WAV file's header claims, held against what is there: libsndfile believes neither and
 * says nothing. Private to this folder. */

#include <stdbool.h>

#include "encoders/media/input.h"

/* REASON_SECONDS: more than MEDIA_SECONDS_MAX is claimed and `truncate` is false;
 * REASON_SOUND_SHORT: less is there than claimed. Lengths that only say "streamed, unknown" are
 * replaced by the real ones in the input. Other files pass. */
Reason wav_check(Input *in, bool truncate);
