#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

#include "daemon/ctl-file.h"
#include "daemon/ctl-scan.h"
#include "daemon/ctl.h"
#include "ipc/json.h"

static void on_signal(int number)
{
    (void)number;
    scan_stopped = 1;
}

void ctl_stop_on_signals(void)
{
    /* Once: who is in a hurry sends another, which ends the program at once. */
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int ctl_roots(const CtlOptions *o, char ***ret_roots)
{
    char **roots = calloc(o->n_arguments + 1, sizeof *roots);
    int r = roots ? 0 : -ENOMEM;

    for (size_t i = 0; i < o->n_arguments && r >= 0; i++) {
        roots[i] = realpath(o->arguments[i], NULL);
        if (!roots[i]) {
            _cleanup_free_ char *name = file_printable(o->arguments[i]);
            r = -errno;
            (void)ctl_error(r, "%s: %s", name ? name : "?", strerror(-r));
        }
    }
    if (r < 0) {
        ctl_roots_free(roots);
        return r;
    }
    *ret_roots = roots;
    return 0;
}

void ctl_roots_free(char **roots)
{
    for (size_t i = 0; roots && roots[i]; i++)
        free(roots[i]);
    free(roots);
}

static void print_summary(const Scan *s)
{
    const IndexerCounts *c = indexer_counts(s->indexer);

    printf("%zu added, %zu unchanged, %zu removed, %zu failed\n", c->added, c->unchanged,
           c->removed, s->n_failed);
}

static void print_json(const Scan *s)
{
    const IndexerCounts *c = indexer_counts(s->indexer);

    printf("{\"added\": %zu, \"unchanged\": %zu, \"removed\": %zu, \"failed\": [", c->added,
           c->unchanged, c->removed);
    for (size_t i = 0; i < s->n_failures; i++) {
        _cleanup_free_ char *uri = file_uri(s->failures[i].path);
        fputs(i > 0 ? ", {\"path\": " : "{\"path\": ", stdout);
        json_string(stdout, s->failures[i].path);
        fputs(", \"uri\": ", stdout);
        json_string(stdout, uri ? uri : "");
        fputs(", \"reason\": ", stdout);
        json_string(stdout, s->failures[i].reason);
        putchar('}');
    }
    puts("]}");
}

int ctl_index(Client *c, const CtlOptions *o)
{
    _cleanup_(scan_deinit) Scan s = {.json = o->json};
    char **roots = NULL;
    ClientError error;
    int r;

    if (o->n_arguments == 0)
        return ctl_usage("index");
    r = ctl_roots(o, &roots);
    if (r < 0)
        return r == -EINVAL ? -EIO : r;
    r = scan_init(&s, c, o->collection, &error);
    if (r < 0)
        (void)ctl_refused(r, &error);
    if (r >= 0) {
        ctl_stop_on_signals();
        r = scan_folders(&s, roots, o->n_arguments);
    }
    ctl_roots_free(roots);
    if (s.indexer) {
        if (o->json)
            print_json(&s);
        else
            print_summary(&s);
    }
    if (r == -ECANCELED)
        return ctl_error(r, "stopped; the next run goes on from here");
    if (r < 0)
        return r;
    return s.n_failed > 0 ? -EREMOTEIO : 0;
}
