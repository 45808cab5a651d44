#include <errno.h>
#include <string.h>

#include "daemon/ctl-machine.h"
#include "daemon/ctl.h"
#include "ipc/client-collection.h"
#include "ipc/client-service.h"

#define TRY_TEXTS  16
#define TRY_TOKENS 8

/* All that can be known at a glance; what cannot is left empty. */
typedef struct Glance {
    Dict properties, model;
    ClientCollections collections;
    uint32_t pid;
    ProcessMemory memory;
    double texts_per_second, tokens_per_second;
} Glance;

static void glance_deinit(Glance *g)
{
    dict_deinit(&g->properties);
    dict_deinit(&g->model);
    client_collections_deinit(&g->collections);
}

static double number_of(const Dict *d, const char *key)
{
    return strtod(dict_text(d, key), NULL);
}

/* How fast it is, tried on the spot: a few texts at once. */
static double try_texts(Client *c)
{
    static const char *const one = "a red circle above two blue squares";
    const char *texts[TRY_TEXTS];
    Vectors v = {0};
    Dict info = {0};
    ClientError e;
    double msec = 0;

    for (size_t i = 0; i < TRY_TEXTS; i++)
        texts[i] = one;
    if (client_embed_text(c, texts, TRY_TEXTS, &v, &info, &e) >= 0)
        msec = number_of(&info, "computed_ms");
    vectors_deinit(&v);
    dict_deinit(&info);
    return msec > 0 ? TRY_TEXTS * 1000 / msec : 0;
}

/* Reading the question and writing a few words. */
static double try_answer(Client *c)
{
    const AskOptions options = {.max_tokens = TRY_TOKENS};
    char path[CLIENT_PATH_MAX];
    Dict result = {0};
    ClientError e;
    double rate = 0;
    int r = client_ask(c, "What is the opposite of cold?", NULL, 0, &options, path, &e);

    if (r >= 0)
        r = client_wait(c, path, &result, &e);
    if (r >= 0) {
        const char *info = dict_json(&result, "info");
        const char *tokens = strstr(info, "\"tokens\": "),
                   *msec = strstr(info, "\"computed_ms\": ");
        double n = tokens ? strtod(tokens + strlen("\"tokens\": "), NULL) : 0;
        double ms = msec ? strtod(msec + strlen("\"computed_ms\": "), NULL) : 0;
        rate = ms > 0 ? n * 1000 / ms : 0;
    }
    dict_deinit(&result);
    return rate;
}

static int look(Client *c, Glance *g)
{
    ClientError e;
    int r = client_properties(c, &g->properties, &e);

    if (r < 0)
        return ctl_refused(r, &e);
    (void)client_selected_model(c, &g->model, &e);
    (void)client_list_collections(c, &g->collections, &e);
    if (client_process(c, &g->pid, &e) >= 0)
        (void)machine_memory("", g->pid, &g->memory);
    /* Nobody wants a model loaded, or others to wait, for being looked at. */
    if (strcmp(dict_text(&g->properties, "State"), "ready") == 0 &&
        number_of(&g->properties, "QueueDepth") == 0) {
        g->texts_per_second = try_texts(c);
        g->tokens_per_second = try_answer(c);
    }
    return 0;
}

static void print_dict_json(const Dict *d)
{
    for (size_t i = 0; i < d->n; i++)
        printf("%s\"%s\": %s", i > 0 ? ", " : "", d->entries[i].key, d->entries[i].json);
}

static void print_json(const Glance *g)
{
    putchar('{');
    print_dict_json(&g->properties);
    fputs(", \"Model\": {", stdout);
    print_dict_json(&g->model);
    printf("}, \"Process\": %u, \"ResidentBytes\": %llu, \"MappedBytes\": %llu", g->pid,
           (unsigned long long)g->memory.resident, (unsigned long long)g->memory.files);
    printf(", \"TextsPerSecond\": %.4g, \"TokensPerSecond\": %.4g}\n", g->texts_per_second,
           g->tokens_per_second);
}

static double mib(uint64_t bytes)
{
    return (double)bytes / (1 << 20);
}

static void print_model(const Glance *g)
{
    printf("  model:    %s", dict_text(&g->properties, "State"));
    if (g->model.n > 0)
        printf(", %s, %.1f MiB", dict_text(&g->model, "Name"),
               number_of(&g->model, "Bytes") / (1 << 20));
    if (*dict_text(&g->model, "Digest"))
        printf(", digest %.12s", dict_text(&g->model, "Digest"));
    putchar('\n');
}

static void print_collections(const ClientCollections *c)
{
    uint64_t items = 0, stale = 0;

    for (size_t i = 0; i < c->n; i++) {
        items += c->items[i].items;
        stale += c->items[i].stale;
    }
    if (c->n == 0)
        return;
    printf("  index:    %llu items in %zu collection%s", (unsigned long long)items, c->n,
           c->n == 1 ? "" : "s");
    if (stale > 0)
        printf(", %llu of them of another model", (unsigned long long)stale);
    putchar('\n');
}

int ctl_status(Client *c, const CtlOptions *o)
{
    _cleanup_(glance_deinit) Glance g = {0};
    int r;

    if (o->n_arguments > 0)
        return ctl_usage("status");
    r = look(c, &g);
    if (r < 0)
        return r;
    if (o->json) {
        print_json(&g);
        return 0;
    }
    printf("perceptd %s on %s, process %u\n", dict_text(&g.properties, "Version"), ctl_bus(c),
           g.pid);
    print_model(&g);
    if (*dict_text(&g.properties, "Backend"))
        printf("  back end: %s\n", dict_text(&g.properties, "Backend"));
    if (*dict_text(&g.properties, "DegradedReason"))
        printf("  trouble:  %s\n", dict_text(&g.properties, "DegradedReason"));
    printf("  queue:    %s in work\n", dict_text(&g.properties, "QueueDepth"));
    if (g.memory.resident > 0)
        printf("  memory:   %.1f MiB, of which %.1f MiB are mapped files\n", mib(g.memory.resident),
               mib(g.memory.files));
    print_collections(&g.collections);
    if (g.texts_per_second > 0)
        printf("  rates:    %.0f texts/s, %.0f tokens/s of questions and answers, tried just now\n",
               g.texts_per_second, g.tokens_per_second);
    return 0;
}
