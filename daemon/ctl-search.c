#include <errno.h>
#include <string.h>

#include "daemon/ctl-file.h"
#include "daemon/ctl-indexer.h"
#include "daemon/ctl-open.h"
#include "daemon/ctl-terminal.h"
#include "daemon/ctl.h"
#include "ipc/json.h"

#define PICTURE_WIDTH  240 /* pixels */
#define PICTURE_HEIGHT 120
#define TEXT_MAX       4096

/* What stands for the hit on a line: a file's path, or the name that another program gave. */
static char *hit_path(const ClientEntry *hit)
{
    const char *uri = dict_text(&hit->metadata, "uri");

    return file_path(*uri ? uri : hit->id);
}

static void print_hit(const ClientEntry *hit, MediaHelper *helper, TerminalPictures pictures)
{
    _cleanup_free_ char *path = hit_path(hit);
    Thumbnail t = {0};

    printf("%+.4f  ", hit->score);
    file_print(stdout, path ? path : hit->id);
    putchar('\n');
    if (!helper || !path || strcmp(hit->modality, "image") != 0 ||
        thumbnail_of(helper, path, PICTURE_WIDTH, PICTURE_HEIGHT, &t) < 0)
        return;
    terminal_draw(stdout, pictures, &t);
    thumbnail_deinit(&t);
}

static void print_hits(const ClientEntries *hits, TerminalPictures pictures)
{
    _cleanup_(media_helper_freep) MediaHelper *helper = NULL;

    /* Without the helper the names alone have to do. */
    if (pictures != PICTURES_NONE)
        (void)thumbnail_helper(&helper);
    for (size_t i = 0; i < hits->n; i++)
        print_hit(&hits->items[i], helper, pictures);
    if (hits->n == 0)
        puts("nothing found");
}

static void print_json(const ClientEntries *hits, const Dict *info)
{
    fputs("{\"hits\": [", stdout);
    for (size_t i = 0; i < hits->n; i++) {
        const ClientEntry *hit = &hits->items[i];
        _cleanup_free_ char *path = hit_path(hit);

        fputs(i > 0 ? ", {\"id\": " : "{\"id\": ", stdout);
        json_string(stdout, hit->id);
        fputs(", \"path\": ", stdout);
        if (path)
            json_string(stdout, path);
        else
            fputs("null", stdout);
        printf(", \"score\": %.9g, \"rank\": %u, \"modality\": ", hit->score, hit->rank);
        json_string(stdout, hit->modality);
        fputs(", \"metadata\": {", stdout);
        for (size_t k = 0; k < hit->metadata.n; k++) {
            fputs(k > 0 ? ", " : "", stdout);
            json_string(stdout, hit->metadata.entries[k].key);
            printf(": %s", hit->metadata.entries[k].json);
        }
        fputs("}}", stdout);
    }
    fputs("], ", stdout);
    ctl_print_info_json(info);
    puts("}");
}

static int open_best(const ClientEntries *hits)
{
    _cleanup_free_ char *path = hits->n > 0 ? hit_path(&hits->items[0]) : NULL;
    _cleanup_free_ char *uri = path ? file_uri(path) : NULL;
    int r;

    if (!uri)
        return ctl_error(-ENOENT, "there is nothing to open");
    r = open_uri(uri, "");
    if (r == -ENOENT)
        return ctl_error(r, "xdg-open is not installed (package xdg-utils)");
    return r < 0 ? ctl_error(r, "xdg-open: %s", strerror(-r)) : 0;
}

/* The words of the command line as one text. */
static int join(const CtlOptions *o, char text[TEXT_MAX])
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < o->n_arguments; i++) {
        int n = snprintf(text + used, TEXT_MAX - used, "%s%s", i > 0 ? " " : "", o->arguments[i]);
        used += (size_t)n;
        if (used >= TEXT_MAX)
            return ctl_error(-E2BIG, "more than %d bytes of text", TEXT_MAX - 1);
    }
    return 0;
}

static int search(Client *c, const CtlOptions *o, const char *text, TerminalPictures pictures)
{
    _cleanup_(client_entries_deinit) ClientEntries hits = {0};
    _cleanup_(ctl_media_close) CtlMedia media = {.n = 0};
    _cleanup_(dict_deinit) Dict info = {0};
    ClientQuery query = {.text = text, .limit = o->limit};
    char path[CLIENT_PATH_MAX];
    ClientError error;
    int r = ctl_media_open(o, &media);

    if (r < 0)
        return r;
    if (media.n > 0)
        query.medium = &media.items[0];
    r = client_find_collection(c, o->collection, path, &error);
    if (r == -ENOENT)
        return ctl_error(r, "nothing is indexed yet: see perceptctl index");
    if (r >= 0)
        r = client_search(c, path, &query, &hits, &info, &error);
    if (r < 0)
        return ctl_refused(r, &error);
    if (o->json)
        print_json(&hits, &info);
    else
        print_hits(&hits, pictures);
    return o->open ? open_best(&hits) : 0;
}

/* Asks for the next words until there are none. */
static int converse(Client *c, const CtlOptions *o, TerminalPictures pictures)
{
    char line[TEXT_MAX];
    int r = 0;

    while (r != -EHOSTUNREACH) {
        fputs("search: ", stdout);
        fflush(stdout);
        if (!fgets(line, sizeof line, stdin))
            break;
        line[strcspn(line, "\n")] = '\0';
        /* What is wrong with one search, it has said; the next may be better. */
        if (line[strspn(line, " \t")] != '\0')
            r = search(c, o, line, pictures);
    }
    putchar('\n');
    return r == -EHOSTUNREACH ? r : 0;
}

int ctl_search(Client *c, const CtlOptions *o)
{
    TerminalPictures pictures = PICTURES_NONE;
    bool given = o->n_media > 0 || o->n_arguments > 0;
    char text[TEXT_MAX];
    int r = 0;

    if (o->n_media > 1 || (o->n_media == 1 && o->n_arguments > 0) || (!given && !o->prompt))
        return ctl_usage("search");
    if (join(o, text) < 0)
        return -E2BIG;
    if (!o->json)
        pictures = terminal_pictures();
    if (given)
        r = search(c, o, text, pictures);
    return o->prompt && r != -EHOSTUNREACH ? converse(c, o, pictures) : r;
}
