#include "engine/chat.h"

#include <string.h>

struct ChatForm {
    const char *name;
    const char *family;   /* NULL: any that has the tokens */
    const char *needs[2]; /* control tokens without which it is not this form */
    const char *begin;    /* once, in front of all turns */
    const char *before[_CHAT_ROLE_COUNT], *after[_CHAT_ROLE_COUNT];
    const char *answer;   /* in front of what the model says */
    const char *thoughts; /* none, written out: what makes a model that thinks answer at once */
    const char *thought;  /* the token which says that it thinks */
};

/* clang-format off */
static const ChatForm forms[] = {
    {   /* Qwen */
        .name = "chatml",
        .needs = { "<|im_start|>", "<|im_end|>" },
        .begin = "",
        .before = { "<|im_start|>system\n", "<|im_start|>user\n", "<|im_start|>assistant\n" },
        .after = { "<|im_end|>\n", "<|im_end|>\n", "<|im_end|>\n" },
        .answer = "<|im_start|>assistant\n",
        .thoughts = "<think>\n\n</think>\n\n",
        .thought = "<think>",
    },
    {   /* Llama 3 */
        .name = "llama-3",
        .needs = { "<|start_header_id|>", "<|eot_id|>" },
        .begin = "<|begin_of_text|>",
        .before = { "<|start_header_id|>system<|end_header_id|>\n\n",
                    "<|start_header_id|>user<|end_header_id|>\n\n",
                    "<|start_header_id|>assistant<|end_header_id|>\n\n" },
        .after = { "<|eot_id|>", "<|eot_id|>", "<|eot_id|>" },
        .answer = "<|start_header_id|>assistant<|end_header_id|>\n\n",
    },
    {   /* OLMoE: the names of the roles are plain text there */
        .name = "olmo",
        .family = "olmoe",
        .needs = { "<|endoftext|>", "<|endoftext|>" },
        .begin = "<|endoftext|>",
        .before = { "<|system|>\n", "<|user|>\n", "<|assistant|>\n" },
        .after = { "\n", "\n", "<|endoftext|>\n" },
        .answer = "<|assistant|>\n",
    },
};
/* clang-format on */

const ChatForm *chat_find(const Tokenizer *tokenizer, const char *family)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
        const ChatForm *f = &forms[i];
        if ((!f->family || strcmp(f->family, family) == 0) &&
            tokenizer_control(tokenizer, f->needs[0]) >= 0 &&
            tokenizer_control(tokenizer, f->needs[1]) >= 0)
            return f;
    }
    return NULL;
}

const char *chat_name(const ChatForm *form)
{
    return form->name;
}

bool chat_can_think(const ChatForm *form, const Tokenizer *tokenizer)
{
    return form->thought && tokenizer_spelt(tokenizer, form->thought) >= 0;
}

static TextPart markup(const char *text)
{
    return (TextPart){.text = text, .length = strlen(text), .markup = true};
}

/* first: what stands in front of all turns. */
static int turns_encode(const ChatForm *form, const Tokenizer *tokenizer, const char *first,
                        const ChatTurn *turns, size_t n, bool think, int32_t *ids, size_t max,
                        size_t *ret_count)
{
    TextPart parts[3 * CHAT_TURNS_MAX + 3];
    size_t count = 0;

    if (n > CHAT_TURNS_MAX)
        return -E2BIG;
    parts[count++] = markup(first);
    for (size_t i = 0; i < n; i++) {
        parts[count++] = markup(form->before[turns[i].role]);
        parts[count++] = (TextPart){.text = turns[i].text, .length = turns[i].length};
        parts[count++] = markup(form->after[turns[i].role]);
    }
    parts[count++] = markup(form->answer);
    if (!think && chat_can_think(form, tokenizer))
        parts[count++] = markup(form->thoughts);
    return tokenizer_encode_parts(tokenizer, parts, count, ids, max, ret_count);
}

int chat_encode(const ChatForm *form, const Tokenizer *tokenizer, const ChatTurn *turns, size_t n,
                bool think, int32_t *ids, size_t max, size_t *ret_count)
{
    return turns_encode(form, tokenizer, form->begin, turns, n, think, ids, max, ret_count);
}

int chat_encode_next(const ChatForm *form, const Tokenizer *tokenizer, const ChatTurn *turns,
                     size_t n, bool think, int32_t *ids, size_t max, size_t *ret_count)
{
    return turns_encode(form, tokenizer, form->after[CHAT_ASSISTANT], turns, n, think, ids, max,
                        ret_count);
}

int chat_encode_plain(const Tokenizer *tokenizer, const char *text, size_t length, bool markup,
                      int32_t *ids, size_t max, size_t *ret_count)
{
    const TokenizerSpecial *special = tokenizer_special(tokenizer);
    TextPart part = {text, length, markup};
    size_t begin = special->add_bos ? 1 : 0, n;

    if (begin > max)
        return -E2BIG;
    if (begin)
        ids[0] = special->bos;
    int r = tokenizer_encode_parts(tokenizer, &part, 1, ids + begin, max - begin, &n);
    if (r >= 0)
        *ret_count = begin + n;
    return r;
}
