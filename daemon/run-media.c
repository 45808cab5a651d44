#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/run.h"

int run_media_open(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    return fd < 0 ? -errno : fd;
}

/* $PERCEPT_MEDIA, or the helper beside this build of percept-run, or the installed one. */
int run_helper_open(MediaHelper **ret_helper)
{
    const char *path = getenv("PERCEPT_MEDIA");
    char beside[PATH_MAX + 64];

    if (!path) {
        ssize_t n = readlink("/proc/self/exe", beside, PATH_MAX);
        char *slash = n > 0 ? memrchr(beside, '/', (size_t)n) : NULL;
        if (slash) {
            strcpy(slash, "/../encoders/media/percept-media");
            path = access(beside, X_OK) == 0 ? beside : NULL;
        }
    }
    if (!path)
        path = PKGLIBEXECDIR "/percept-media";
    /* The helper starts with the first file, whose fault it would seem to be. */
    int r = access(path, X_OK) == 0 ? media_helper_new(path, ret_helper) : -errno;
    return r < 0 ? run_error(r, "cannot start %s: %s", path, strerror(-r)) : 0;
}

int run_media_read(Run *run, const RunMedia *media, bool high_detail, Media *ret_media)
{
    const char *message = "";

    if (!run->helper) {
        int r = run_helper_open(&run->helper);
        if (r < 0)
            return r;
    }
    _cleanup_close_ int fd = run_media_open(media->path);
    if (fd < 0)
        return run_error(fd, "%s: %s", media->path, strerror(-fd));
    MediaRequest request = {
        .kind = media->kind,
        .max_patches = high_detail ? ENCODER_IMAGE_PATCHES_HIGH : ENCODER_IMAGE_PATCHES_LOW,
    };
    int r = media_decode(run->helper, fd, &request, ret_media, &message);
    return r < 0 ? run_error(r, "%s: %s", media->path, message) : 0;
}

int run_encode(Run *run, const Media *media, bool high_detail, Encoded *ret_encoded,
               float *ret_vector)
{
    int r;

    if (media->kind == MEDIA_IMAGE) {
        ImageView view = {media->rgb, media->width, media->height};
        r = encoders_image(run->encoders, &view, high_detail, ret_encoded);
    } else {
        AudioView view = {media->samples, media->n_samples};
        r = encoders_audio(run->encoders, &view, ret_encoded);
    }
    return r < 0 ? r : space_project(run->space, ret_encoded, ret_vector);
}

int run_encode_media(Run *run, const RunMedia *media, bool high_detail, Encoded *ret_encoded,
                     float *ret_vector)
{
    _cleanup_(media_deinit) Media decoded = {0};
    int r = run_media_read(run, media, high_detail, &decoded);
    if (r < 0)
        return r;
    r = run_encode(run, &decoded, high_detail, ret_encoded, ret_vector);
    return r < 0 ? run_error(r, "%s: %s", media->path, strerror(-r)) : 0;
}

int run_encode_text(Run *run, const char *text, float *ret_vector)
{
    int32_t ids[ENCODER_TEXT_TOKENS];
    size_t n;
    Encoded encoded;

    int r = tokenizer_encode(model_tokenizer(run->model), text, strlen(text), ids,
                             ENCODER_TEXT_TOKENS, &n);
    if (r >= 0)
        r = encoders_text(run->encoders, ids, n, &encoded);
    return r < 0 ? r : space_project(run->space, &encoded, ret_vector);
}

int run_prompt(Run *run, Prompt *ret_prompt, double *ret_encode_msec)
{
    const RunOptions *o = run->options;
    const char *text = o->text ? o->text : "", *system = o->system;
    Prompt prompt;
    double encode_msec = 0;

    int r = run_open_encoders(run);
    if (r < 0)
        return r;
    r = prompt_init(&prompt, run->splice, engine_context(run->engine));
    if (r < 0)
        return r;
    r = splice_begin(run->splice, &prompt, system, system ? strlen(system) : 0);
    for (size_t i = 0; r >= 0 && i < o->n_media; i++) {
        Encoded encoded;
        float vector[SPACE_LENGTH];
        double start = run_now_msec();
        r = run_encode_media(run, &o->media[i], o->high_detail, &encoded, vector);
        encode_msec += run_now_msec() - start;
        if (r >= 0)
            r = splice_media(run->splice, &prompt, &encoded, vector);
    }
    if (r >= 0)
        r = splice_question(run->splice, &prompt, text, strlen(text));
    if (r < 0) {
        prompt_deinit(&prompt, run->splice);
        return r == -E2BIG ? run_error(r, "the question does not fit into the context") : r;
    }
    *ret_prompt = prompt;
    if (ret_encode_msec)
        *ret_encode_msec = encode_msec;
    return 0;
}
