#include <string.h>

#include "engine/base/folder.h"

#define KEY_BOS     "tokenizer.ggml.bos_token_id"
#define KEY_EOS     "tokenizer.ggml.eos_token_id"
#define KEY_EOT     "tokenizer.ggml.eot_token_id"
#define KEY_ADD_BOS "tokenizer.ggml.add_bos_token"

/* A list of ids that end an answer may hold more than GGUF has keys for; these two are kept. */
static const char *const end_keys[] = {KEY_EOS, KEY_EOT};

/* The id of a token by its text; -1 when there is none. */
static int64_t token_id(const FolderSpecials *s, const JsonNode *text)
{
    if (!json_is(text, JSON_STRING))
        return -1;
    for (size_t i = 0; i < s->n_tokens; i++)
        if (s->tokens[i].length == text->count &&
            memcmp(s->tokens[i].data, text->text, text->count) == 0)
            return (int64_t)i;
    return -1;
}

/* A token of tokenizer_config.json: its text, or an object with it. */
static int64_t named_id(const FolderSpecials *s, const char *name)
{
    const JsonNode *node = json_get(s->tokenizer_config, name);

    return token_id(s, json_is(node, JSON_OBJECT) ? json_get(node, "content") : node);
}

static int add_id(const FolderSpecials *s, Gguf *gguf, const char *key, const char *name,
                  const JsonNode *node, const FolderError *error)
{
    uint64_t id;

    if (json_unsigned(node, s->n_tokens - 1, &id) < 0)
        return folder_fail(error, -EBADMSG, "key '%s' is not the id of one of %zu tokens", name,
                           s->n_tokens);
    return gguf_add_u32(gguf, key, (uint32_t)id);
}

/* What ends an answer: generation_config.json knows best, then config.json, then the tokenizer. */
static int add_ends(const FolderSpecials *s, Gguf *gguf, const FolderError *error)
{
    static const char name[] = "eos_token_id";
    const JsonNode *node = json_get(s->generation, name);
    int64_t id;
    int i = 0, e = 0;

    if (!node || node->type == JSON_NULL)
        node = json_get(s->config, name);
    if (!node || node->type == JSON_NULL) {
        id = named_id(s, "eos_token");
        return id < 0 ? 0 : gguf_add_u32(gguf, KEY_EOS, (uint32_t)id);
    }
    if (node->type != JSON_ARRAY)
        return add_id(s, gguf, KEY_EOS, name, node, error);
    for (const JsonNode *n = json_first(node); n < json_end(node) && i < 2 && e == 0;
         n = json_next(n))
        e = add_id(s, gguf, end_keys[i++], name, n, error);
    return e;
}

static int add_begin(const FolderSpecials *s, Gguf *gguf, const FolderError *error)
{
    const JsonNode *node = json_get(s->config, "bos_token_id");
    int64_t id;

    if (node && node->type != JSON_NULL)
        return add_id(s, gguf, KEY_BOS, "bos_token_id", node, error);
    id = named_id(s, "bos_token");
    return id < 0 ? 0 : gguf_add_u32(gguf, KEY_BOS, (uint32_t)id);
}

/* The template that goes around one text: alone, or one of several processors. */
static const JsonNode *single_template(const JsonNode *tokenizer)
{
    const JsonNode *post = json_get(tokenizer, "post_processor");
    const JsonNode *steps = json_get(post, "processors");

    if (json_is(steps, JSON_ARRAY))
        for (post = json_first(steps); post < json_end(steps); post = json_next(post))
            if (json_is_text(json_get(post, "type"), "TemplateProcessing"))
                return json_get(post, "single");
    return json_get(json_is(steps, JSON_ARRAY) ? NULL : post, "single");
}

/* Whether a text begins with a token of its own; one that ends with it is refused. */
static int add_template(const FolderSpecials *s, Gguf *gguf, const FolderError *error)
{
    const JsonNode *parts = single_template(s->tokenizer), *first;

    if (!json_is(parts, JSON_ARRAY) || parts->count == 0)
        return gguf_add_bool(gguf, KEY_ADD_BOS,
                             json_is(json_get(s->tokenizer_config, "add_bos_token"), JSON_TRUE));
    first = json_first(parts);
    if (!json_get(first, "SpecialToken"))
        first = NULL;
    if (parts->count > (first ? 2u : 1u) ||
        !json_get(first ? json_next(first) : json_first(parts), "Sequence"))
        return folder_fail(error, -ENOTSUP,
                           "tokenizer.json: key 'post_processor' may put one token before a text "
                           "and nothing else");
    return gguf_add_bool(gguf, KEY_ADD_BOS, first != NULL);
}

int folder_specials(const FolderSpecials *s, Gguf *gguf, const FolderError *error)
{
    int e = add_begin(s, gguf, error);

    if (e == 0)
        e = add_ends(s, gguf, error);
    return e < 0 ? e : add_template(s, gguf, error);
}
