#include <errno.h>
#include <string.h>

#include "daemon/run.h"
#include "engine/chat.h"

/* The prompts of models that read text alone. */

static int chat_prompt(const Run *run, const ChatForm *form, int32_t *ids, size_t max,
                       size_t *ret_count)
{
    const RunOptions *o = run->options;
    ChatTurn turns[2];
    size_t n = 0;

    if (o->system)
        turns[n++] = (ChatTurn){CHAT_SYSTEM, o->system, strlen(o->system)};
    turns[n++] = (ChatTurn){CHAT_USER, o->text, strlen(o->text)};
    return chat_encode(form, model_tokenizer(run->model), turns, n, !o->no_think, ids, max,
                       ret_count);
}

int run_text_prompt(Run *run, int32_t **ret_ids, size_t *ret_count)
{
    const RunOptions *o = run->options;
    const ChatForm *form = chat_find(model_tokenizer(run->model), model_info(run->model)->family);
    size_t max = engine_context(run->engine), n = 0;

    if (o->system && (o->raw || !form))
        return run_error(-EINVAL, "--system needs a model with a known form of conversation");
    _cleanup_free_ int32_t *ids = calloc(max, sizeof(*ids));
    if (!ids)
        return -ENOMEM;
    int r = form && !o->raw ? chat_prompt(run, form, ids, max, &n)
                            : chat_encode_plain(model_tokenizer(run->model), o->text,
                                                strlen(o->text), true, ids, max, &n);
    if (r == -E2BIG)
        return run_error(r, "the question does not fit into the context of %zu tokens", max);
    if (r >= 0 && n == 0)
        return run_error(-EINVAL, "the question has no tokens");
    if (r < 0)
        return r;
    *ret_ids = steal_ptr(&ids);
    *ret_count = n;
    return 0;
}
