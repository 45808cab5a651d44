#include "encoders/media/wav.h"

#include <string.h>

#include "encoders/media/media.h"

#define HEADER       12 /* RIFF, size, WAVE */
#define CHUNK_HEADER 8
#define FMT_RATE     8 /* bytes a second, within the fmt chunk */
#define FMT_SIZE     16
#define DS64_DATA    8 /* size of the data chunk, within the ds64 chunk of RF64 */
#define DS64_SIZE    16

/* Lengths written by programs that cannot know them, because they write to a pipe. The first
 * stands for "all ones" in both places, the second is that of SoX and eSpeak. */
#define STREAMED_ALL_ONES 0xffffffffu
#define STREAMED_SOX      0x7ffff000u

typedef struct Wav {
    uint32_t riff_size, byte_rate;
    uint64_t long_data_size; /* of RF64 */
    bool is_rf64;
} Wav;

static uint32_t load_u32(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static void store_u32(uint8_t *p, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> (8 * i));
}

static bool is_streamed(const Wav *w, uint32_t data_size)
{
    if (w->is_rf64)
        return false;
    return data_size == STREAMED_SOX ||
           (data_size == STREAMED_ALL_ONES && w->riff_size == STREAMED_ALL_ONES);
}

static Reason data_check(const Wav *w, Input *in, size_t at, bool truncate)
{
    uint64_t there = in->size - at - CHUNK_HEADER, claimed = load_u32(in->data + at + 4);

    if (is_streamed(w, (uint32_t)claimed)) {
        store_u32(in->data + at + 4, (uint32_t)there);
        store_u32(in->data + 4, (uint32_t)(in->size - CHUNK_HEADER));
        return REASON_NONE;
    }
    if (w->is_rf64 && claimed == STREAMED_ALL_ONES)
        claimed = w->long_data_size;
    if (claimed <= there)
        return REASON_NONE;
    if (!truncate && claimed / MEDIA_SECONDS_MAX > w->byte_rate && w->byte_rate > 0)
        return REASON_SECONDS;
    return REASON_SOUND_SHORT;
}

Reason wav_check(Input *in, bool truncate)
{
    Wav w = {0};

    if (in->size < HEADER || memcmp(in->data + 8, "WAVE", 4) != 0)
        return REASON_NONE;
    w.is_rf64 = memcmp(in->data, "RF64", 4) == 0;
    w.riff_size = load_u32(in->data + 4);
    for (size_t at = HEADER; in->size - at >= CHUNK_HEADER;) {
        const uint8_t *chunk = in->data + at, *body = chunk + CHUNK_HEADER;
        size_t size = load_u32(chunk + 4), there = in->size - at - CHUNK_HEADER;

        if (memcmp(chunk, "data", 4) == 0)
            return data_check(&w, in, at, truncate);
        if (size > there)
            return REASON_SOUND_SHORT;
        if (memcmp(chunk, "fmt ", 4) == 0 && size >= FMT_SIZE)
            w.byte_rate = load_u32(body + FMT_RATE);
        if (memcmp(chunk, "ds64", 4) == 0 && size >= DS64_SIZE)
            w.long_data_size = load_u32(body + DS64_DATA) | (uint64_t)load_u32(body + DS64_DATA + 4)
                                                                << 32;
        size += size % 2; /* chunks begin at even places */
        if (size > there)
            return REASON_NONE;
        at += CHUNK_HEADER + size;
    }
    return REASON_NONE;
}
