#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "daemon/ctl-machine.h"
#include "daemon/ctl.h"
#include "ipc/client-collection.h"
#include "ipc/client-service.h"

/* Our own name for it: the service has none. */
#define DOCTOR_MEDIA "NotDecoded"

typedef struct Doctor {
    Client *client;
    unsigned failed;
    struct timespec begin;
} Doctor;

static void check_begin(Doctor *d)
{
    clock_gettime(CLOCK_MONOTONIC, &d->begin);
}

static void say(const char *verdict, const char *what, const char *text)
{
    printf("%-5s %-12s %s\n", verdict, what, text);
}

/* What helps. */
static void advise(const char *text)
{
    printf("      %-12s %s\n", "", text);
}

static void fail(Doctor *d, const char *what, const char *text, const char *advice)
{
    say("FAIL", what, text);
    advise(advice);
    d->failed++;
}

/* Of errors that a working service gives for a reason that somebody can remove. */
static const char *advice_for(const Doctor *d, const ClientError *e)
{
    bool system = strcmp(client_bus(d->client), "system") == 0;

    if (strcmp(e->name, "ModelUnavailable") == 0)
        return system ? "Install the package percept-spark-model, or put a model into "
                        "/usr/share/perceptd/models where everybody may read it; Model= in "
                        "/etc/perceptd/perceptd.conf names another."
                      : "Install the package percept-spark-model, or put a model into "
                        "~/.local/share/perceptd/models; perceptd --model names another.";
    if (strcmp(e->name, DOCTOR_MEDIA) == 0)
        return "The program percept-media is missing or cannot be closed in: install perceptd "
               "anew, and see the service's log.";
    if (strcmp(e->name, "IndexCorrupt") == 0)
        return system ? "Remove it, as root: perceptctl purge --uid=UID, and run perceptctl index "
                        "again."
                      : "Remove it, perceptctl purge --uid=$(id -u) "
                        "--state=$HOME/.local/state/perceptd, and run perceptctl index again.";
    if (strcmp(e->name, "Busy") == 0 || strcmp(e->name, "QuotaExceeded") == 0)
        return "Others use it to its limits: try again, and see QueueDepth in perceptctl status.";
    if (strstr(e->name, "AccessDenied"))
        return "You may not call this: the policy of the bus has been changed.";
    return system ? "See journalctl -u perceptd." : "See journalctl --user -u perceptd.";
}

/* r as the functions of client.h return it; good: what is said then. */
static bool check_end(Doctor *d, const char *what, int r, const char *good, const ClientError *e)
{
    struct timespec now;
    char line[768];
    double msec;

    clock_gettime(CLOCK_MONOTONIC, &now);
    msec = (double)(now.tv_sec - d->begin.tv_sec) * 1e3 +
           (double)(now.tv_nsec - d->begin.tv_nsec) / 1e6;
    if (r < 0) {
        snprintf(line, sizeof line, "%s: %s", e->name, e->message);
        fail(d, what, line, advice_for(d, e));
    } else {
        snprintf(line, sizeof line, "%s (%.1f ms)", good, msec);
        say("ok", what, line);
    }
    return r >= 0;
}

/* ---- the bus ---- */

static bool has_policy(void)
{
    return access("/usr/share/dbus-1/system.d/org.perceptd.Percept1.conf", F_OK) == 0 ||
           access("/etc/dbus-1/system.d/org.perceptd.Percept1.conf", F_OK) == 0;
}

static const char *bus_advice(const char *bus, BusFinding finding)
{
    bool system = strcmp(bus, "system") == 0, session = strcmp(bus, "session") == 0;

    switch (finding) {
    case BUS_MISSING:
        return system ? "The system's bus does not run: systemctl start dbus"
               : session
                   ? "There is no session: log in on this terminal instead of using su or sudo, or "
                     "use --system."
                   : "Is the address right?";
    case BUS_WITHOUT_SERVICE:
        return system ? "The bus does not know the service: install perceptd; after that, "
                        "systemctl reload dbus"
                      : "The bus does not know the service: install perceptd and log in again, or "
                        "run perceptd --bus=session beside.";
    case BUS_FORBIDS:
        return has_policy() ? "Its policy file is there, but not loaded: systemctl reload dbus"
                            : "The policy file org.perceptd.Percept1.conf is missing from "
                              "/usr/share/dbus-1/system.d: install perceptd anew.";
    case BUS_CANNOT_START:
        return system ? "The service does not start: see systemctl status perceptd and journalctl "
                        "-u perceptd."
                      : "The service does not start: see systemctl --user status perceptd.";
    default:
        return system ? "The service hangs: systemctl restart perceptd"
                      : "The service hangs: systemctl --user restart perceptd";
    }
}

/* Every bus that may have it, until one does. */
static bool check_bus(Doctor *d, const char *bus)
{
    static const char *const both[] = {"session", "system"};
    const char *const *buses = bus ? &bus : both;
    size_t n = bus ? 1 : 2;
    BusFinding findings[2];
    ClientError errors[2];
    char line[1024];

    check_begin(d);
    for (size_t i = 0; i < n; i++) {
        findings[i] = client_examine(buses[i], &d->client, &errors[i]);
        if (findings[i] == BUS_GOOD)
            return check_end(d, "bus", 0, ctl_bus(d->client), NULL);
    }
    for (size_t i = 0; i < n; i++) {
        snprintf(line, sizeof line, "%s: %s: %s", buses[i], errors[i].name, errors[i].message);
        fail(d, "bus", line, bus_advice(buses[i], findings[i]));
    }
    return false;
}

/* ---- the service ---- */

static void check_properties(Doctor *d, char backend[64])
{
    _cleanup_(dict_deinit) Dict p = {0};
    ClientError e;
    char line[512];
    int r;

    check_begin(d);
    r = client_properties(d->client, &p, &e);
    snprintf(line, sizeof line, "perceptd %s, interface revision %s, model %s",
             dict_text(&p, "Version"), dict_text(&p, "ApiRevision"), dict_text(&p, "State"));
    if (check_end(d, "service", r, line, &e) && *dict_text(&p, "DegradedReason"))
        fail(d, "degraded", dict_text(&p, "DegradedReason"),
             "The service goes on as well as it can; what it says there is what to change.");
    snprintf(backend, 64, "%s", dict_text(&p, "Backend"));
}

static bool check_text(Doctor *d, const char *what)
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
    return check_end(d, what, r, line, &e);
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
        strcpy(e.name, DOCTOR_MEDIA);
        snprintf(e.message, sizeof e.message, "the media helper does not decode it (status %u)",
                 v.status[0]);
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

static void check_index(Doctor *d)
{
    _cleanup_(client_collections_deinit) ClientCollections found = {0};
    ClientError e;
    char line[320];
    int r;

    check_begin(d);
    r = client_list_collections(d->client, &found, &e);
    snprintf(line, sizeof line, "%zu collection%s", found.n, found.n == 1 ? "" : "s");
    if (!check_end(d, "index", r, line, &e))
        return;
    for (size_t i = 0; i < found.n; i++)
        if (strcmp(found.items[i].state, "mismatch") == 0) {
            snprintf(line, sizeof line, "%s was made with another model", found.items[i].name);
            fail(d, "index", line,
                 "perceptctl index, with its folders, adds pictures and recordings again.");
        }
}

/* Not a failure: it works, only slower than it might. */
static void note_gpu(const char *backend)
{
    const char *advice = machine_gpu_advice("", backend);

    if (advice)
        say("note", "GPU", advice);
}

int ctl_doctor(const CtlOptions *o)
{
    Doctor d = {0};
    char backend[64];

    if (o->n_arguments > 0)
        return ctl_usage("doctor");
    if (!check_bus(&d, o->bus))
        return -EHOSTUNREACH;
    /* The first text may load the model. Without one, the rest would say the same again. */
    if (check_text(&d, "first text")) {
        check_text(&d, "text");
        check_picture(&d);
        check_sound(&d);
        check_answer(&d);
    }
    check_properties(&d, backend);
    check_index(&d);
    note_gpu(backend);
    client_close(d.client);
    puts(d.failed ? "Something is broken." : "All is well.");
    return d.failed ? -EREMOTEIO : 0;
}
