/* percept-search: finds pictures and recordings for the search of the desktop. The bus of the
 * session starts it with the first letters that somebody types, and it ends when nobody does. */

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/ctl-file.h"
#include "daemon/ctl-indexer.h"
#include "daemon/ctl-open.h"
#include "daemon/thumbnail.h"
#include "ipc/client-collection.h"
#include "ipc/desktop.h"

#define IDLE_MSEC    60000
#define PICTURE_SIDE 96              /* pixels; what shells show at twice their usual size */
#define CACHED       DESKTOP_IDS_MAX /* those of one call stay */
/* Below this, something is the nearest only because nothing is near. */
#define SCORE_MIN 0.1

/* A thumbnail kept for the next keystroke, which mostly finds the same pictures. */
typedef struct Cached {
    char *id;
    Thumbnail thumbnail; /* rgb NULL: there is none of this file */
} Cached;

typedef struct Search {
    const char *bus; /* of the service; NULL: whichever has it */
    Client *client;
    MediaHelper *helper;
    Cached cache[CACHED];
    size_t n_cached; /* ever; the oldest makes room */
} Search;

static void cached_deinit(Cached *c)
{
    free(c->id);
    thumbnail_deinit(&c->thumbnail);
    c->id = NULL;
}

static void on_rest(void *userdata)
{
    Search *s = userdata;

    for (size_t i = 0; i < CACHED; i++)
        cached_deinit(&s->cache[i]);
    s->n_cached = 0;
    s->helper = media_helper_free(s->helper);
}

/* Borrowed until CACHED others have been asked for; NULL: no memory. */
static const Thumbnail *thumbnail_cached(Search *s, const char *id, const char *path)
{
    Cached *c;

    for (size_t i = 0; i < CACHED; i++)
        if (s->cache[i].id && strcmp(s->cache[i].id, id) == 0)
            return &s->cache[i].thumbnail;
    if (!s->helper && thumbnail_helper(&s->helper) < 0)
        return NULL;
    c = &s->cache[s->n_cached % CACHED];
    cached_deinit(c);
    c->id = strdup(id);
    if (!c->id)
        return NULL;
    s->n_cached++;
    (void)thumbnail_of(s->helper, path, PICTURE_SIDE, PICTURE_SIDE, &c->thumbnail);
    return &c->thumbnail;
}

/* The name of the file, the folder that it lies in below the home, and what it looks like. */
static int hit_fill(Search *s, const char *id, bool picture, DesktopHit *ret_hit)
{
    _cleanup_free_ char *path = file_path(id);
    const char *type = path ? file_media_type(path) : NULL, *home = getenv("HOME");
    char *slash = path ? strrchr(path, '/') : NULL;
    size_t n = home ? strlen(home) : 0;
    bool image = type && strncmp(type, "image/", 6) == 0;
    DesktopHit hit = {.icon = image ? "image-x-generic" : "audio-x-generic"};
    struct stat st;

    if (!slash || lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return -ENOENT;
    if (image && picture) {
        const Thumbnail *t = thumbnail_cached(s, id, path);
        if (t && t->rgb)
            hit.picture = t->rgb, hit.width = t->width, hit.height = t->height;
    }
    hit.id = strdup(id);
    hit.name = file_printable(slash + 1);
    *slash = '\0';
    if (n > 0 && strncmp(path, home, n) == 0 && (path[n] == '/' || path[n] == '\0')) {
        path[n - 1] = '~';
        hit.place = file_printable(path + n - 1);
    } else
        hit.place = file_printable(*path ? path : "/");
    if (!hit.id || !hit.name || !hit.place) {
        free(hit.id);
        free(hit.name);
        free(hit.place);
        return -ENOMEM;
    }
    *ret_hit = hit;
    return 0;
}

static int search_service(Search *s, const char *text, ClientEntries *ret_found)
{
    const ClientQuery query = {.text = text, .limit = DESKTOP_HITS_MAX, .min_score = SCORE_MIN};
    _cleanup_(dict_deinit) Dict info = {0};
    char path[CLIENT_PATH_MAX];
    ClientError e;
    int r = s->client ? 0 : client_open(s->bus, &s->client, &e);

    if (r >= 0)
        r = client_find_collection(s->client, INDEXER_COLLECTION, path, &e);
    if (r >= 0)
        r = client_search(s->client, path, &query, ret_found, &info, &e);
    if (r < 0 && r != -ENOENT) /* perhaps the other bus has it by the next time */
        s->client = client_close(s->client);
    return r;
}

static void on_search(void *userdata, const char *text, bool pictures, DesktopHits *ret_hits)
{
    _cleanup_(client_entries_deinit) ClientEntries found = {0};
    Search *s = userdata;

    if (search_service(s, text, &found) < 0)
        return;
    for (size_t i = 0; i < found.n && ret_hits->n < DESKTOP_HITS_MAX; i++) {
        DesktopHit *hit = &ret_hits->items[ret_hits->n];
        if (hit_fill(s, dict_text(&found.items[i].metadata, "uri"), pictures, hit) < 0)
            continue;
        hit->score = fmin(fmax(found.items[i].score, 0), 1);
        ret_hits->n++;
    }
}

static int on_describe(void *userdata, const char *id, DesktopHit *ret_hit)
{
    return hit_fill(userdata, id, true, ret_hit);
}

static void on_open(void *userdata, const char *id, bool folder, const char *token)
{
    _cleanup_free_ char *path = file_path(id), *uri = NULL;

    (void)userdata;
    if (path && folder)
        *strrchr(path, '/') = '\0';
    uri = path ? file_uri(*path ? path : "/") : NULL;
    if (uri && open_uri(uri, token) < 0)
        fputs("percept-search: xdg-open cannot be started\n", stderr);
}

/* In a terminal, whichever there is. */
static void on_show(void *userdata, const char *text)
{
    const char *const terminals[][9] = {
        {"xdg-terminal-exec", "perceptctl", "search", "--prompt", "--", text},
        {"x-terminal-emulator", "-e", "perceptctl", "search", "--prompt", "--", text},
        {"gnome-terminal", "--", "perceptctl", "search", "--prompt", "--", text},
        {"konsole", "-e", "perceptctl", "search", "--prompt", "--", text},
    };

    (void)userdata;
    for (size_t i = 0; i < sizeof terminals / sizeof *terminals; i++)
        if (open_program(terminals[i]) >= 0)
            return;
    fputs("percept-search: there is no terminal to show all results in\n", stderr);
}

static const DesktopHandlers handlers = {on_search, on_describe, on_open, on_show, on_rest};

static const char usage[] =
    "usage: percept-search [OPTION…]\n"
    "\n"
    "Answers searches of GNOME Shell and KRunner; started by the bus of the session.\n"
    "\n"
    "  --bus=BUS         the bus to serve: session, or an address\n"
    "  --service=BUS     where perceptd is: session, system or an address; if not given, the\n"
    "                    session's bus and then the system's are tried\n"
    "  --idle=SECONDS    end after so long without a search, 60 if not given\n"
    "  --help, --version\n";

typedef struct Options {
    const char *bus, *service;
    unsigned idle_msec;
} Options;

/* 1: done already; -EINVAL. */
static int parse(int argc, char **argv, Options *o)
{
    static const struct option known[] = {
        {"bus", required_argument, NULL, 'b'},  {"service", required_argument, NULL, 's'},
        {"idle", required_argument, NULL, 'i'}, {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},    {0},
    };
    char *end;
    double seconds;
    int c;

    while ((c = getopt_long(argc, argv, "", known, NULL)) >= 0)
        switch (c) {
        case 'b':
            o->bus = optarg;
            break;
        case 's':
            o->service = optarg;
            break;
        case 'i':
            seconds = strtod(optarg, &end);
            if (end == optarg || *end || !(seconds >= 0.1 && seconds <= 86400)) {
                fputs("percept-search: --idle takes a number from 0.1 to 86400\n", stderr);
                return -EINVAL;
            }
            o->idle_msec = (unsigned)(seconds * 1000);
            break;
        case 'h':
            fputs(usage, stdout);
            return 1;
        case 'v':
            puts("percept-search " PERCEPTD_VERSION);
            return 1;
        default:
            return -EINVAL;
        }
    if (optind < argc) {
        fputs(usage, stderr);
        return -EINVAL;
    }
    return 0;
}

int main(int argc, char **argv)
{
    Options o = {.bus = "session", .idle_msec = IDLE_MSEC};
    Search s = {0};
    ClientError e;
    int r = parse(argc, argv, &o);

    if (r != 0)
        return r > 0 ? EXIT_SUCCESS : 2;
    signal(SIGPIPE, SIG_IGN);
    s.bus = o.service;
    r = desktop_serve(o.bus, &handlers, &s, o.idle_msec, &e);
    if (r < 0)
        fprintf(stderr, "percept-search: %s: %s\n", e.name, e.message);
    on_rest(&s);
    client_close(s.client);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
