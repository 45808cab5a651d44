#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "daemon/ctl.h"

static void print_json(const Dict *d)
{
    putchar('{');
    for (size_t i = 0; i < d->n; i++)
        printf("%s\"%s\": %s", i > 0 ? ", " : "", d->entries[i].key, d->entries[i].json);
    puts("}");
}

int ctl_status(Client *c, const CtlOptions *o)
{
    _cleanup_(dict_deinit) Dict d = {0};
    ClientError error;
    int r;

    if (o->n_arguments > 0)
        return ctl_usage("status");
    r = client_properties(c, &d, &error);
    if (r < 0)
        return ctl_refused(r, &error);
    if (o->json) {
        print_json(&d);
        return 0;
    }
    printf("perceptd %s on %s\n", dict_text(&d, "Version"), ctl_bus(c));
    printf("  model:    %s\n", dict_text(&d, "State"));
    if (*dict_text(&d, "Backend"))
        printf("  back end: %s\n", dict_text(&d, "Backend"));
    if (*dict_text(&d, "DegradedReason"))
        printf("  trouble:  %s\n", dict_text(&d, "DegradedReason"));
    printf("  in work:  %s\n", dict_text(&d, "QueueDepth"));
    return 0;
}

/* ---- doctor ---- */

typedef struct Doctor {
    Client *client;
    unsigned failed;
    struct timespec begin;
} Doctor;

static void check_begin(Doctor *d)
{
    clock_gettime(CLOCK_MONOTONIC, &d->begin);
}

/* r as the functions of client.h return it; good: what is said then. */
static bool check_end(Doctor *d, const char *what, int r, const char *good, const ClientError *e)
{
    struct timespec now;
    double msec;

    clock_gettime(CLOCK_MONOTONIC, &now);
    msec = (double)(now.tv_sec - d->begin.tv_sec) * 1e3 +
           (double)(now.tv_nsec - d->begin.tv_nsec) / 1e6;
    if (r < 0) {
        printf("FAIL  %-12s %s: %s\n", what, e->name, e->message);
        d->failed++;
    } else
        printf("ok    %-12s %s (%.1f ms)\n", what, good, msec);
    return r >= 0;
}

static void check_properties(Doctor *d)
{
    _cleanup_(dict_deinit) Dict p = {0};
    ClientError e;
    char line[512];
    int r;

    check_begin(d);
    r = client_properties(d->client, &p, &e);
    snprintf(line, sizeof line, "perceptd %s, interface revision %s, model %s",
             dict_text(&p, "Version"), dict_text(&p, "ApiRevision"), dict_text(&p, "State"));
    if (check_end(d, "service", r, line, &e) && *dict_text(&p, "DegradedReason")) {
        printf("FAIL  %-12s %s\n", "degraded", dict_text(&p, "DegradedReason"));
        d->failed++;
    }
}

static void check_text(Doctor *d, const char *what)
{
    static const char *const text[] = {"two red circles"};
    _cleanup_(vectors_deinit) Vectors v = {0};
    _cleanup_(dict_deinit) Dict info = {0};
    ClientError e;
    char line[512];
    int r;

    check_begin(d);
    r = client_embed_text(d->client, text, 1, &v, &info, &e);
    snprintf(line, sizeof line, "%s on %s", dict_text(&info, "model"), dict_text(&info, "backend"));
    check_end(d, what, r, line, &e);
}

/* A file in memory, so that nothing has to be found on the disk. */
static void check_medium(Doctor *d, const char *what, const void *data, size_t size)
{
    _cleanup_close_ int fd = memfd_create("doctor", MFD_CLOEXEC);
    _cleanup_(vectors_deinit) Vectors v = {0};
    _cleanup_(dict_deinit) Dict info = {0};
    const ClientMedium medium = {fd, ""};
    ClientError e;
    int r;

    check_begin(d);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) {
        check_end(d, what, -EIO, "", &(ClientError){"here", "no memory file can be made"});
        return;
    }
    r = client_embed_media(d->client, &medium, 1, &v, &info, &e);
    if (r >= 0 && v.status[0] != 0) {
        r = -EREMOTEIO;
        snprintf(e.name, sizeof e.name, "status %u", v.status[0]);
        strcpy(e.message, "the media helper does not decode it; see the service's log");
    }
    check_end(d, what, r, "decoded and embedded", &e);
}

static void check_picture(Doctor *d)
{
    /* A grey PNG of 8 by 8 pixels. */
    /* clang-format off */
    static const uint8_t png[] = {
        0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48,
        0x44, 0x52, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00, 0x08, 0x08, 0x00, 0x00, 0x00,
        0x00, 0xe1, 0x64, 0xe1, 0x57, 0x00, 0x00, 0x00, 0x13, 0x49, 0x44, 0x41, 0x54, 0x78,
        0xda, 0x63, 0xa8, 0x68, 0x80, 0x40, 0x06, 0x28, 0x5d, 0xc1, 0x40, 0x96, 0x08, 0x00,
        0x5c, 0x84, 0x1f, 0x01, 0xdc, 0xb7, 0xa4, 0xa9, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45,
        0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
    };
    /* clang-format on */

    check_medium(d, "picture", png, sizeof png);
}

static void check_sound(Doctor *d)
{
    /* A tenth of a second of a square wave, 16 bits, 16 kHz. */
    struct {
        char riff[4];
        uint32_t riff_size;
        char wave[4], fmt[4];
        uint32_t fmt_size;
        uint16_t format, channels;
        uint32_t rate, bytes_per_second;
        uint16_t frame_bytes, bits;
        char data[4];
        uint32_t data_size;
        int16_t samples[1600];
    } wav = {
        .riff = "RIFF",
        .riff_size = sizeof wav - 8,
        .wave = "WAVE",
        .fmt = "fmt ",
        .fmt_size = 16,
        .format = 1,
        .channels = 1,
        .rate = 16000,
        .bytes_per_second = 32000,
        .frame_bytes = 2,
        .bits = 16,
        .data = "data",
        .data_size = sizeof wav.samples,
    };

    for (size_t i = 0; i < sizeof wav.samples / sizeof *wav.samples; i++)
        wav.samples[i] = i / 20 % 2 ? 8000 : -8000;
    check_medium(d, "sound", &wav, sizeof wav);
}

static void check_answer(Doctor *d)
{
    const AskOptions options = {.max_tokens = 4};
    _cleanup_(dict_deinit) Dict result = {0};
    char path[CLIENT_PATH_MAX];
    ClientError e;
    int r;

    check_begin(d);
    r = client_ask(d->client, "What is the opposite of cold?", NULL, 0, &options, path, &e);
    if (r >= 0)
        r = client_wait(d->client, path, &result, &e);
    check_end(d, "answer", r, "a question was answered", &e);
}

int ctl_doctor(const CtlOptions *o)
{
    Doctor d = {0};
    ClientError e;
    int r;

    if (o->n_arguments > 0)
        return ctl_usage("doctor");
    check_begin(&d);
    r = client_open(o->bus, &d.client, &e);
    if (!check_end(&d, "bus", r, r < 0 ? "" : ctl_bus(d.client), &e))
        return -EHOSTUNREACH;
    check_properties(&d);
    check_text(&d, "first text"); /* may load the model */
    check_text(&d, "text");
    check_picture(&d);
    check_sound(&d);
    check_answer(&d);
    client_close(d.client);
    puts(d.failed ? "Something is broken." : "All is well.");
    return d.failed ? -EREMOTEIO : 0;
}
