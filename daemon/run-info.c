#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/run-json.h"
#include "daemon/run.h"
#include "engine/chat.h"

/* Something to say while counting: the shares are those of plain text. The card has them by
 * skill. */
static const char sample[] =
    "Describe the picture. How many red circles are to the left of the blue square?";

/* Mean share of the decoder's parameters, groups and experts over the rows of a short prompt. */
static int activity_measure(Run *run, Counters *ret_counters)
{
    Session *session;
    int32_t ids[256];
    size_t n;

    int r = tokenizer_encode(model_tokenizer(run->model), sample, strlen(sample), ids, 256, &n);
    if (r < 0)
        return r;
    r = session_open(run->engine, &session);
    if (r < 0)
        return r;
    BatchItem item = {
        .session = session,
        .ids = ids,
        .n = (uint32_t)n,
        .shift = run->options->effort / 2,
    };
    r = decoder_forward(run->engine, &item, 1, run->options->route);
    *ret_counters = *session_counters(session);
    session_close(session);
    return r;
}

/* Means of one row and layer. */
typedef struct Activity {
    double parameters, share, groups, group_share, experts;
} Activity;

static Activity activity_of(const ModelInfo *m, const Counters *c)
{
    double rows = (double)c->rows, cells = rows * m->n_layers;
    double parameters = (double)c->active_parameters / rows;
    double groups = (double)c->group_rows / cells;

    return (Activity){
        .parameters = parameters,
        .share = parameters / (double)m->decoder_parameters,
        .groups = groups,
        .group_share = m->gated ? groups / (m->n_groups - 1) : 0,
        .experts = (double)c->expert_rows / cells,
    };
}

static void info_print_json(const Run *run, const Activity *a, const char *digest)
{
    const ModelInfo *m = model_info(run->model);
    JsonOut j = json_begin(NULL, NULL);

    json_text(&j, "family", m->family);
    json_count(&j, "parameters", m->parameters);
    json_count(&j, "decoder_parameters", m->decoder_parameters);
    json_number(&j, "active_parameters", a->parameters);
    json_number(&j, "active_share", a->share);
    json_count(&j, "heads", m->n_heads);
    json_count(&j, "groups", m->n_groups);
    if (m->gated) {
        json_number(&j, "groups_active", a->groups);
        json_number(&j, "group_share", a->group_share);
    }
    json_count(&j, "experts", m->n_experts);
    json_number(&j, "experts_active", a->experts);
    json_count(&j, "layers", m->n_layers);
    json_count(&j, "width", m->d_model);
    json_count(&j, "context", m->context_length);
    json_count(&j, "vocabulary", m->vocab_size);
    json_count(&j, "bytes", m->file_bytes);
    json_text(&j, "digest", digest);
    json_text(&j, "engine", run->backend->detail);
    json_end(NULL);
}

static void info_print(const Run *run, const Activity *a, const char *digest)
{
    const ModelInfo *m = model_info(run->model);
    const ChatForm *form = chat_find(model_tokenizer(run->model), m->family);

    printf("family            %s\n", m->family);
    printf("parameters        %" PRIu64 "\n", m->parameters);
    printf("  of the decoder  %" PRIu64 "\n", m->decoder_parameters);
    printf("  active a token  %.0f (%.1f%% of the decoder's)\n", a->parameters, 100 * a->share);
    printf("layers            %u of width %u\n", m->n_layers, m->d_model);
    if (m->gated)
        printf("head groups       %u, one always on; %.2f of the others active (%.1f%%)\n",
               m->n_groups, a->groups, 100 * a->group_share);
    else
        printf("heads             %u over %u key heads\n", m->n_heads, m->n_groups);
    printf("experts           %u, at most %u a token; %.2f active\n", m->n_experts, m->expert_cap,
           a->experts);
    printf("context           %u\n", m->context_length);
    printf("vocabulary        %u\n", m->vocab_size);
    if (form)
        printf("conversation      %s\n", chat_name(form));
    printf("file              %" PRIu64 " bytes\n", m->file_bytes);
    printf("digest            sha256:%s\n", digest);
    printf("engine            %s: %s\n", run->backend->name, run->backend->detail);
}

int run_info(const RunOptions *options)
{
    Run run;
    Counters counters;
    char digest[65];

    int r = run_open(&run, options, NULL);
    if (r >= 0)
        r = activity_measure(&run, &counters);
    if (r >= 0)
        r = model_digest(run.model, digest);
    if (r >= 0) {
        Activity activity = activity_of(model_info(run.model), &counters);
        (options->json ? info_print_json : info_print)(&run, &activity, digest);
    }
    run_close(&run);
    return r;
}
