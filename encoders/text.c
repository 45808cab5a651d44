#include "encoders/text.h"

int text_front_init(TextFront *f, Weights *w, const Workspace *ws)
{
    size_t n_tokens;

    if (weights_get_strings(w, "tokenizer.ggml.tokens", &n_tokens) < 0 || n_tokens == 0)
        return weights_fail(w, -EBADMSG, "tokenizer.ggml.tokens is missing or empty");
    return encoder_matrix(w, "txt.token_embd.weight", ws->config.d_model, n_tokens, &f->token_embd);
}

int text_front_run(const TextFront *f, Workspace *ws, const int32_t *ids, size_t n)
{
    size_t d = ws->config.d_model;

    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= f->token_embd.ne[1])
            return -EINVAL;
    ws->backend->ops->embed(ws->backend, &f->token_embd, ids, n, ws->x, d);
    return 0;
}
