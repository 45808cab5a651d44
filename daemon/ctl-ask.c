#include <errno.h>
#include <poll.h>
#include <string.h>

#include "daemon/ctl.h"
#include "ipc/json.h"
#include "ipc/stream.h"

#define SPIN_MSEC 100

/* Turns on standard error until the first word, if somebody is there to see it. */
typedef struct Spinner {
    bool shown, drawn;
    unsigned turn;
    char stage[32];
} Spinner;

static void spinner_draw(Spinner *s)
{
    static const char *const faces[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};

    if (!s->shown)
        return;
    fprintf(stderr, "\r\033[K%s %s", faces[s->turn++ % (sizeof faces / sizeof *faces)], s->stage);
    fflush(stderr);
    s->drawn = true;
}

static void spinner_clear(Spinner *s)
{
    if (s->drawn)
        fputs("\r\033[K", stderr);
    s->shown = s->drawn = false;
}

static void spinner_stage(Spinner *s, const char *line)
{
    static const struct {
        const char *stage, *words;
    } known[] = {
        {"decoding", "opening"},
        {"encoding", "looking and listening"},
        {"prefill", "reading"},
        {"decode", "thinking"},
    };
    size_t n = strcspn(line, " ");

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].stage) == n && strncmp(known[i].stage, line, n) == 0)
            strcpy(s->stage, known[i].words);
    spinner_draw(s);
}

/* "name text": the name without what stands before its last dot. */
static int fail_stream(ClientFrame *f)
{
    char *text = f->text + strcspn(f->text, " "), *name;

    if (*text)
        *text++ = '\0';
    name = strrchr(f->text, '.');
    return ctl_error(-EREMOTEIO, "%s: %s", name ? name + 1 : f->text, text);
}

/* Prints the answer as it comes. */
static int print_stream(int fd)
{
    Spinner spinner = {.shown = isatty(STDERR_FILENO) && isatty(STDOUT_FILENO), .stage = "waiting"};
    ClientFrame f;
    int r;

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (spinner.shown && poll(&p, 1, SPIN_MSEC) == 0) {
            spinner_draw(&spinner);
            continue;
        }
        r = client_read_frame(fd, &f);
        if (r <= 0) {
            spinner_clear(&spinner);
            return ctl_error(r < 0 ? r : -EPIPE, "the service went away");
        }
        if (f.kind == STREAM_PROGRESS) {
            spinner_stage(&spinner, f.text);
            continue;
        }
        spinner_clear(&spinner);
        if (f.kind == STREAM_ERROR)
            return fail_stream(&f);
        if (f.kind == STREAM_END)
            break;
        if (f.kind == STREAM_DELTA)
            ctl_print_text(f.text, f.length);
        if (fflush(stdout) != 0)
            return ctl_error(-errno, "cannot write: %s", strerror(errno));
    }
    putchar('\n');
    return 0;
}

static int ask_json(Client *c, const char *path)
{
    ClientError error;
    Dict result;
    int r = client_wait(c, path, &result, &error);

    if (r < 0)
        return ctl_refused(r, &error);
    printf("{\"text\": %s, \"finish\": %s, \"info\": %s}\n", dict_json(&result, "text"),
           dict_json(&result, "finish"), dict_json(&result, "info"));
    dict_deinit(&result);
    return 0;
}

int ctl_ask(Client *c, const CtlOptions *o)
{
    _cleanup_(ctl_media_close) CtlMedia media = {.n = 0};
    _cleanup_close_ int fd = -1;
    char path[CLIENT_PATH_MAX];
    ClientError error;
    int r;

    if (o->n_arguments != 1)
        return ctl_usage("ask");
    r = ctl_media_open(o, &media);
    if (r < 0)
        return r;
    r = client_ask(c, o->arguments[0], media.items, media.n, &o->ask, path, &error);
    if (r < 0)
        return ctl_refused(r, &error);
    if (o->json)
        return ask_json(c, path);
    r = client_open_stream(c, path, &fd, &error);
    return r < 0 ? ctl_refused(r, &error) : print_stream(fd);
}
