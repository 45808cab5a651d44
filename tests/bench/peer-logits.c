/*
 * peer-logits MODEL THREADS: logits of llama.cpp. Reads prompts, one a line, ids with commas
 * between; writes the logits after the last id of each, floats as they lie in memory. Compiled by
 * peer.py against the peer's own headers, so it is no target of the build.
 */

#include <stdio.h>
#include <stdlib.h>

#include <llama.h>

#define IDS_MAX 4096

static int line_parse(char *line, llama_token *ids)
{
    int n = 0;

    for (char *at = line; n < IDS_MAX;) {
        char *end;
        long id = strtol(at, &end, 10);

        if (end == at)
            break;
        ids[n++] = (llama_token)id;
        at = *end == ',' ? end + 1 : end;
    }
    return n;
}

static int prompt_run(struct llama_context *context, llama_token *ids, int n, size_t vocab)
{
    llama_memory_clear(llama_get_memory(context), true);
    if (llama_decode(context, llama_batch_get_one(ids, n)) != 0)
        return -1;
    fwrite(llama_get_logits_ith(context, -1), sizeof(float), vocab, stdout);
    return 0;
}

int main(int argc, char **argv)
{
    static llama_token ids[IDS_MAX];
    static char line[16 * IDS_MAX];

    if (argc != 3)
        return 2;
    struct llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model)
        return 1;
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = params.n_batch = IDS_MAX;
    params.n_threads = params.n_threads_batch = atoi(argv[2]);
    struct llama_context *context = llama_init_from_model(model, params);
    if (!context)
        return 1;

    size_t vocab = (size_t)llama_vocab_n_tokens(llama_model_get_vocab(model));
    while (fgets(line, sizeof(line), stdin)) {
        int n = line_parse(line, ids);
        if (n > 0 && prompt_run(context, ids, n, vocab) < 0)
            return 1;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
