#include <stdio.h>
#include <string.h>

#include "daemon/run.h"

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

static void info_print(const Run *run, const Counters *c)
{
    const ModelInfo *m = model_info(run->model);
    double rows = (double)c->rows, layers = m->n_layers;
    double active = (double)c->active_parameters / rows;
    double groups = (double)c->group_rows / (rows * layers),
           experts = (double)c->expert_rows / (rows * layers);
    double group_share = groups / (m->n_groups - 1), share = active / (double)m->decoder_parameters;

    if (run->options->json) {
        printf("{\"family\": \"%s\", \"parameters\": %llu, \"decoder_parameters\": %llu, "
               "\"active_parameters\": %.0f, \"active_share\": %.4f, \"groups\": %u, "
               "\"groups_active\": %.3f, "
               "\"group_share\": %.4f, \"experts\": %u, \"experts_active\": %.3f, \"layers\": %u, "
               "\"width\": %u, "
               "\"context\": %u, \"vocabulary\": %u, \"bytes\": %llu, \"digest\": \"%s\", "
               "\"engine\": \"%s: %s\"}\n",
               m->family, (unsigned long long)m->parameters,
               (unsigned long long)m->decoder_parameters, active, share, m->n_groups, groups,
               group_share, m->n_experts, experts, m->n_layers, m->d_model, m->context_length,
               m->vocab_size, (unsigned long long)m->file_bytes, m->digest, run->backend->name,
               run->backend->detail);
        return;
    }
    printf("family             %s\n", m->family);
    printf("parameters         %llu\n", (unsigned long long)m->parameters);
    printf("  of the decoder   %llu\n", (unsigned long long)m->decoder_parameters);
    printf("  active a token   %.0f (%.1f%% of the decoder's)\n", active, 100 * share);
    printf("layers             %u of width %u\n", m->n_layers, m->d_model);
    printf("head groups        %u, one always on; %.2f of the others active a token (%.1f%%)\n",
           m->n_groups, groups, 100 * group_share);
    printf("experts            %u, at most %u a token; %.2f active\n", m->n_experts, m->expert_cap,
           experts);
    printf("context            %u\n", m->context_length);
    printf("vocabulary         %u\n", m->vocab_size);
    printf("file               %llu bytes\n", (unsigned long long)m->file_bytes);
    printf("digest             sha256:%s\n", m->digest);
    printf("engine             %s: %s\n", run->backend->name, run->backend->detail);
}

int run_info(const RunOptions *options)
{
    Run run;
    Counters counters;
    int r = run_open(&run, options, NULL);
    if (r >= 0)
        r = activity_measure(&run, &counters);
    if (r >= 0)
        info_print(&run, &counters);
    run_close(&run);
    return r;
}
