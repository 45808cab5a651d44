#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/ctl.h"
#include "ipc/json.h"

#define THINGS_MAX 64

/* Vectors of media and texts, in this order, and the info of the last call. */
typedef struct Embedded {
    Vectors media, texts;
    Dict info;
} Embedded;

static void embedded_deinit(Embedded *e)
{
    vectors_deinit(&e->media);
    vectors_deinit(&e->texts);
    dict_deinit(&e->info);
}

/* The first medium that has no vector is an error. */
static int check_media(const Vectors *v, const char *const *paths)
{
    for (size_t i = 0; i < v->n; i++)
        if (v->status[i] != 0)
            return ctl_error(-EREMOTEIO, "%s: cannot be embedded (status %u of EmbedMedia)",
                             paths[i], v->status[i]);
    return 0;
}

static int embed(Client *c, const CtlOptions *o, Embedded *e)
{
    _cleanup_(ctl_media_close) CtlMedia media = {.n = 0};
    ClientError error;
    int r = ctl_media_open(o, &media);

    if (r >= 0 && media.n > 0) {
        r = client_embed_media(c, media.items, media.n, &e->media, &e->info, &error);
        r = r < 0 ? ctl_refused(r, &error) : check_media(&e->media, o->media);
    }
    if (r < 0 || o->n_arguments == 0)
        return r;
    dict_deinit(&e->info);
    r = client_embed_text(c, o->arguments, o->n_arguments, &e->texts, &e->info, &error);
    return r < 0 ? ctl_refused(r, &error) : 0;
}

static const float *vector_at(const Embedded *e, size_t i)
{
    const Vectors *v = i < e->media.n ? &e->media : &e->texts;

    return v->values + (i < e->media.n ? i : i - e->media.n) * v->dimension;
}

static void print_vectors_json(const Embedded *e, size_t n, size_t dimension)
{
    fputs("{\"vectors\": [", stdout);
    for (size_t i = 0; i < n; i++) {
        fputs(i > 0 ? ", [" : "[", stdout);
        ctl_print_vector(vector_at(e, i), dimension, ", ");
        putchar(']');
    }
    fputs("], ", stdout);
    ctl_print_info_json(&e->info);
    puts("}");
}

int ctl_embed(Client *c, const CtlOptions *o)
{
    _cleanup_(embedded_deinit) Embedded e = {0};
    size_t n = o->n_media + o->n_arguments, dimension;
    int r;

    if (n == 0)
        return ctl_usage("embed");
    r = embed(c, o, &e);
    if (r < 0)
        return r;
    dimension = e.media.n > 0 ? e.media.dimension : e.texts.dimension;
    if (o->json) {
        print_vectors_json(&e, n, dimension);
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        ctl_print_vector(vector_at(&e, i), dimension, " ");
        putchar('\n');
    }
    return 0;
}

int ctl_classify(Client *c, const CtlOptions *o)
{
    size_t n = o->n_arguments > 0 ? o->n_arguments - 1 : 0;
    _cleanup_free_ size_t *labels = calloc(n + 1, sizeof *labels);
    _cleanup_free_ double *scores = calloc(n + 1, sizeof *scores);
    _cleanup_(dict_deinit) Dict info = {0};
    ClientMedium medium;
    ClientError error;
    int r;

    if (n == 0 || o->n_media > 0)
        return ctl_usage("classify");
    if (!labels || !scores)
        return ctl_error(-ENOMEM, "out of memory");
    r = ctl_medium_open(o->arguments[0], "", &medium);
    if (r < 0)
        return r;
    r = client_classify(c, &medium, o->arguments + 1, n, labels, scores, &info, &error);
    close(medium.fd);
    if (r < 0)
        return ctl_refused(r, &error);
    fputs(o->json ? "{\"scores\": [" : "", stdout);
    for (size_t i = 0; i < n; i++) {
        const char *label = o->arguments[1 + labels[i]];
        if (!o->json) {
            printf("%.4f  %s\n", scores[i], label);
            continue;
        }
        fputs(i > 0 ? ", {\"label\": " : "{\"label\": ", stdout);
        json_string(stdout, label);
        printf(", \"score\": %.9g}", scores[i]);
    }
    if (o->json) {
        fputs("], ", stdout);
        ctl_print_info_json(&info);
        puts("}");
    }
    return 0;
}

static bool is_file(const char *argument)
{
    struct stat st;

    return stat(argument, &st) == 0 && !S_ISDIR(st.st_mode);
}

/* Sorts the arguments into files and texts; names [n] in the order of the vectors. */
static int sort_things(const CtlOptions *o, CtlOptions *ret_sorted, const char **texts,
                       const char **names)
{
    *ret_sorted = *o;
    ret_sorted->arguments = texts;
    ret_sorted->n_arguments = 0;
    for (size_t i = 0; i < o->n_arguments; i++) {
        if (!is_file(o->arguments[i])) {
            texts[ret_sorted->n_arguments++] = o->arguments[i];
            continue;
        }
        if (ret_sorted->n_media == CTL_MEDIA_MAX)
            return ctl_error(-EINVAL, "at most %d files", CTL_MEDIA_MAX);
        ret_sorted->media[ret_sorted->n_media] = o->arguments[i];
        ret_sorted->types[ret_sorted->n_media++] = "";
    }
    memcpy(names, ret_sorted->media, ret_sorted->n_media * sizeof *names);
    memcpy(names + ret_sorted->n_media, texts, ret_sorted->n_arguments * sizeof *names);
    return 0;
}

static double cosine(const Embedded *e, size_t a, size_t b, size_t dimension)
{
    const float *x = vector_at(e, a), *y = vector_at(e, b);
    double sum = 0;

    for (size_t i = 0; i < dimension; i++)
        sum += (double)x[i] * y[i];
    return sum;
}

static void print_pairs(const Embedded *e, const char **names, size_t n, size_t dimension,
                        bool json)
{
    fputs(json ? "{\"pairs\": [" : "", stdout);
    for (size_t a = 0, printed = 0; a < n; a++)
        for (size_t b = a + 1; b < n; b++) {
            double score = cosine(e, a, b, dimension);
            if (!json) {
                printf("%+.4f  %s  ~  %s\n", score, names[a], names[b]);
                continue;
            }
            fputs(printed++ > 0 ? ", {\"a\": " : "{\"a\": ", stdout);
            json_string(stdout, names[a]);
            fputs(", \"b\": ", stdout);
            json_string(stdout, names[b]);
            printf(", \"cosine\": %.9g}", score);
        }
    if (!json)
        return;
    fputs("], ", stdout);
    ctl_print_info_json(&e->info);
    puts("}");
}

int ctl_similar(Client *c, const CtlOptions *o)
{
    _cleanup_(embedded_deinit) Embedded e = {0};
    const char *texts[THINGS_MAX], *names[THINGS_MAX + CTL_MEDIA_MAX];
    size_t n = o->n_media + o->n_arguments;
    CtlOptions sorted;
    int r;

    if (n < 2 || n > THINGS_MAX)
        return ctl_usage("similar");
    r = sort_things(o, &sorted, texts, names);
    if (r >= 0)
        r = embed(c, &sorted, &e);
    if (r < 0)
        return r;
    print_pairs(&e, names, n, e.media.n > 0 ? e.media.dimension : e.texts.dimension, o->json);
    return 0;
}
