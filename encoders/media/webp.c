#include "encoders/media/codecs.h"

#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

#include "encoders/media/exif.h"

static uint32_t orientation_find(const WebPDemuxer *demuxer)
{
    WebPChunkIterator chunk;
    uint32_t orientation = 1;

    if (!WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk))
        return 1;
    const uint8_t *data = chunk.chunk.bytes;
    size_t size = chunk.chunk.size;
    if (size > 6 && memcmp(data, "Exif\0", 6) == 0) { /* some writers keep what JPEG needs */
        data += 6;
        size -= 6;
    }
    orientation = exif_orientation(data, size);
    WebPDemuxReleaseChunkIterator(&chunk);
    return orientation;
}

/* The first frame onto its place on an empty canvas. */
static Reason frame_decode(const WebPIterator *frame, uint32_t width, uint32_t height, Picture *p)
{
    const WebPData *data = &frame->fragment;
    WebPBitstreamFeatures features;
    uint32_t x = (uint32_t)frame->x_offset, y = (uint32_t)frame->y_offset;
    Reason reason;

    if (WebPGetFeatures(data->bytes, data->size, &features) != VP8_STATUS_OK)
        return REASON_WEBP;
    uint32_t frame_width = (uint32_t)features.width, frame_height = (uint32_t)features.height;
    if (x > width || y > height || frame_width > width - x || frame_height > height - y)
        return REASON_WEBP;

    bool opaque = !features.has_alpha && frame_width == width && frame_height == height;
    reason = picture_init(p, width, height, opaque ? 3 : 4);
    if (reason != REASON_NONE)
        return reason;
    size_t stride = (size_t)width * p->channels, offset = y * stride + (size_t)x * p->channels;
    uint8_t *to = p->pixels + offset;
    size_t room = height * stride - offset;
    if (opaque)
        to = WebPDecodeRGBInto(data->bytes, data->size, to, room, (int)stride);
    else
        to = WebPDecodeRGBAInto(data->bytes, data->size, to, room, (int)stride);
    return to ? REASON_NONE : REASON_WEBP;
}

Reason webp_decode(const Input *in, Picture *ret_picture)
{
    const WebPData data = {in->data, in->size};
    WebPDemuxer *demuxer = WebPDemux(&data);
    WebPIterator frame;
    Reason reason;

    if (!demuxer)
        return REASON_WEBP;
    uint32_t width = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH);
    uint32_t height = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT);
    reason = picture_check_size(width, height);
    if (reason == REASON_NONE) {
        reason = REASON_WEBP;
        if (WebPDemuxGetFrame(demuxer, 1, &frame)) {
            reason = frame_decode(&frame, width, height, ret_picture);
            WebPDemuxReleaseIterator(&frame);
        }
    }
    if (reason == REASON_NONE)
        ret_picture->orientation = orientation_find(demuxer);
    WebPDemuxDelete(demuxer);
    return reason;
}
