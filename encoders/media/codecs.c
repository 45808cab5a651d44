#include "encoders/media/codecs.h"

#include <string.h>

typedef enum Format {
    FORMAT_NONE,
    FORMAT_JPEG,
    FORMAT_PNG,
    FORMAT_WEBP,
    FORMAT_SOUND,
} Format;

static bool has(const Input *in, size_t offset, const char *bytes, size_t n)
{
    return in->size >= offset + n && memcmp(in->data + offset, bytes, n) == 0;
}

/* An MPEG audio frame's header: eleven bits of sync, then a version, a layer, a bit rate and a
 * sample rate that exist. */
static bool is_mpeg(const Input *in)
{
    const uint8_t *p = in->data;

    if (has(in, 0, "ID3", 3))
        return true;
    return in->size >= 4 && p[0] == 0xff && (p[1] & 0xe0) == 0xe0 && (p[1] & 0x18) != 0x08 &&
           (p[1] & 0x06) != 0 && (p[2] & 0xf0) != 0xf0 && (p[2] & 0x0c) != 0x0c;
}

static Format format_find(const Input *in)
{
    if (has(in, 0, "\xff\xd8\xff", 3))
        return FORMAT_JPEG;
    if (has(in, 0, "\x89PNG\r\n\x1a\n", 8))
        return FORMAT_PNG;
    if (has(in, 0, "RIFF", 4) && has(in, 8, "WEBP", 4))
        return FORMAT_WEBP;
    if ((has(in, 0, "RIFF", 4) || has(in, 0, "RF64", 4)) && has(in, 8, "WAVE", 4))
        return FORMAT_SOUND;
    if (has(in, 0, "fLaC", 4) || has(in, 0, "OggS", 4) || is_mpeg(in))
        return FORMAT_SOUND;
    return FORMAT_NONE;
}

static Reason image_decode(Format format, Input *in, const MediaRequest *request, Output *out)
{
    Picture p = {0};
    Reason reason;

    if (format == FORMAT_JPEG)
        reason = jpeg_decode(in, request, &p);
    else if (format == FORMAT_PNG)
        reason = png_decode(in, &p);
    else
        reason = webp_decode(in, &p);
    if (reason == REASON_NONE)
        reason = picture_finish(&p, request, out);
    picture_deinit(&p);
    return reason;
}

Reason media_decode_input(Input *in, const MediaRequest *request, Output *out)
{
    Format format = format_find(in);

    if (format == FORMAT_NONE)
        return REASON_NO_FORMAT;
    if (format == FORMAT_SOUND)
        return request->kind == MEDIA_IMAGE ? REASON_NOT_IMAGE : sound_decode(in, request, out);
    if (request->kind == MEDIA_AUDIO)
        return REASON_NOT_AUDIO;
    return image_decode(format, in, request, out);
}
