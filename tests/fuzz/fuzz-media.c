/* Everything that percept-media does with a file, in this process: formats, EXIF, WAV headers,
 * turning, cutting, mixing, resampling. */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "encoders/media/codecs.h"
#include "tests/fuzz/fuzz.h"

static const MediaRequest requests[] = {
    {.kind = MEDIA_ANY, .max_patches = 64},
    {.kind = MEDIA_ANY, .truncate_audio = true, .region = {1, 2, 3, 4}},
};

/* What a client may rely on. */
static void reply_check(const Output *out, Reason reason)
{
    if (reason >= _REASON_COUNT)
        abort();
    if (reason != REASON_NONE)
        return;
    if (out->reply.kind == MEDIA_IMAGE) {
        if (out->reply.width == 0 || out->reply.height == 0 ||
            out->size != (size_t)out->reply.width * out->reply.height * 3)
            abort();
    } else if (out->reply.n_samples == 0 || out->reply.n_samples * sizeof(float) > out->size) {
        abort();
    }
}

/* libsndfile loses 6 KB when a Vorbis header is damaged; percept-media retires in time. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:vorbis_info_init\n";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        Input in = {malloc(size ? size : 1), size};
        Output out = {.fd = memfd_create("fuzz", MFD_CLOEXEC)};
        Reason reason;

        if (!in.data || out.fd < 0)
            abort();
        memcpy(in.data, data, size);
        reason = media_decode_input(&in, &requests[i], &out);
        reply_check(&out, reason);
        output_unmap(&out);
        close(out.fd);
        free(in.data);
    }
    return 0;
}
