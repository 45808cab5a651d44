#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/folder.h"
#include "engine/base/tokenizer.h"

/* Where a family's numbers stand in config.json, and what they are called in GGUF. */

typedef enum KeyType {
    KEY_U32,
    KEY_F32,
    KEY_BOOL, /* false where it is missing */
} KeyType;

typedef struct ConfigKey {
    const char *name;   /* in config.json */
    const char *suffix; /* after "<family>." */
    KeyType type;
} ConfigKey;

typedef struct ConfigFamily {
    const char *model_type; /* in config.json */
    const char *name;
    const char *expert_width; /* the key that has it */
} ConfigFamily;

/* Settings that would change the formulas, and the one value that leaves them as they are. NULL
 * stands for null, and for a key that is missing. */
typedef struct ConfigFixed {
    const char *name, *value;
} ConfigFixed;

/* clang-format off */
static const ConfigFamily families[] = {
    { "qwen3_moe", "qwen3moe", "moe_intermediate_size" },
    { "olmoe",     "olmoe",    "intermediate_size" },
};

static const ConfigKey keys[] = {
    { "vocab_size",              "vocab_size",                       KEY_U32 },
    { "max_position_embeddings", "context_length",                   KEY_U32 },
    { "hidden_size",             "embedding_length",                 KEY_U32 },
    { "num_hidden_layers",       "block_count",                      KEY_U32 },
    { "intermediate_size",       "feed_forward_length",              KEY_U32 },
    { "num_attention_heads",     "attention.head_count",             KEY_U32 },
    { "num_experts",             "expert_count",                     KEY_U32 },
    { "num_experts_per_tok",     "expert_used_count",                KEY_U32 },
    { "rms_norm_eps",            "attention.layer_norm_rms_epsilon", KEY_F32 },
    { "norm_topk_prob",          "expert_weights_norm",              KEY_BOOL },
};

static const ConfigFixed fixed[] = {
    { "hidden_act",          "silu" },
    { "attention_bias",      "false" },
    { "mlp_only_layers",     "[]" },
    { "decoder_sparse_step", "1" },
    { "use_sliding_window",  "false" },
    { "rope_scaling",        NULL },
    { "quantization_config", NULL },
};
/* clang-format on */

typedef struct Config {
    const JsonNode *root;
    Gguf *gguf;
    const ConfigFamily *family;
    const FolderError *error;
} Config;

static int family_find(Config *c)
{
    const JsonNode *type = json_get(c->root, "model_type");

    if (!json_is(type, JSON_STRING))
        return folder_fail(c->error, -EBADMSG, "config.json: key 'model_type' is not a string");
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (json_is_text(type, families[i].model_type)) {
            c->family = &families[i];
            return 0;
        }
    return folder_fail(c->error, -ENOTSUP,
                       "config.json: model_type '%.*s' is not a family that we run",
                       type->count < 64 ? (int)type->count : 64, type->text);
}

static bool is_fixed(const JsonNode *node, const char *value)
{
    if (!node || node->type == JSON_NULL)
        return true;
    if (!value)
        return false;
    switch (node->type) {
    case JSON_FALSE:
        return strcmp(value, "false") == 0;
    case JSON_INTEGER:
        return strcmp(value, "1") == 0 && node->integer == 1;
    case JSON_ARRAY:
        return strcmp(value, "[]") == 0 && node->count == 0;
    default:
        return json_is_text(node, value);
    }
}

static int check_fixed(const Config *c)
{
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (!is_fixed(json_get(c->root, fixed[i].name), fixed[i].value))
            return folder_fail(c->error, -ENOTSUP, "config.json: key '%s' may only be %s",
                               fixed[i].name, fixed[i].value ? fixed[i].value : "null");
    return 0;
}

static int read_u32(const Config *c, const char *name, uint32_t *ret_value)
{
    uint64_t value;

    if (json_unsigned(json_get(c->root, name), UINT32_MAX, &value) < 0)
        return folder_fail(c->error, -EBADMSG, "config.json: key '%s' is %s", name,
                           json_get(c->root, name) ? "not a whole number of 32 bits" : "missing");
    *ret_value = (uint32_t)value;
    return 0;
}

static int read_f32(const Config *c, const JsonNode *node, const char *name, float *ret_value)
{
    double value;

    if (json_double(node, &value) < 0 || !isfinite((float)value))
        return folder_fail(c->error, -EBADMSG, "config.json: key '%s' is %s", name,
                           node ? "not a float" : "missing");
    *ret_value = (float)value;
    return 0;
}

static const char *key_name(const Config *c, const char *suffix, char name[64])
{
    snprintf(name, 64, "%s.%s", c->family->name, suffix);
    return name;
}

static int add_u32(const Config *c, const char *suffix, uint32_t value)
{
    char name[64];

    return gguf_add_u32(c->gguf, key_name(c, suffix, name), value);
}

static int add_f32(const Config *c, const char *suffix, float value)
{
    char name[64];

    return gguf_add_f32(c->gguf, key_name(c, suffix, name), value);
}

static int add_key(const Config *c, const ConfigKey *key)
{
    const JsonNode *node = json_get(c->root, key->name);
    char name[64];
    uint32_t u = 0;
    bool b = false;
    float f = 0;
    int r;

    switch (key->type) {
    case KEY_U32:
        r = read_u32(c, key->name, &u);
        return r < 0 ? r : add_u32(c, key->suffix, u);
    case KEY_F32:
        r = read_f32(c, node, key->name, &f);
        return r < 0 ? r : add_f32(c, key->suffix, f);
    case KEY_BOOL:
        if (node && json_bool(node, &b) < 0)
            return folder_fail(c->error, -EBADMSG, "config.json: key '%s' is not true or false",
                               key->name);
        return gguf_add_bool(c->gguf, key_name(c, key->suffix, name), b);
    }
    return -EINVAL;
}

/* Old configurations have rope_theta at the top, new ones in rope_parameters. */
static int add_rope(const Config *c)
{
    const JsonNode *parameters = json_get(c->root, "rope_parameters"), *theta;
    const JsonNode *type = json_get(parameters, "rope_type");
    float value = 0;
    int r;

    if (type && !json_is_text(type, "default"))
        return folder_fail(c->error, -ENOTSUP,
                           "config.json: key 'rope_parameters.rope_type' may only be default");
    theta = json_get(c->root, "rope_theta");
    if (!theta)
        theta = json_get(parameters, "rope_theta");
    r = read_f32(c, theta, "rope_theta", &value);
    return r < 0 ? r : add_f32(c, "rope.freq_base", value);
}

static bool is_set(const Config *c, const char *name)
{
    const JsonNode *node = json_get(c->root, name);

    return node && node->type != JSON_NULL;
}

/* Sizes of heads, where a configuration may leave the usual ones out. */
static int add_heads(const Config *c)
{
    uint32_t heads = 0, kv_heads, width = 0, head_dim = 0;
    int r = read_u32(c, "num_attention_heads", &heads);

    if (r == 0)
        r = read_u32(c, "hidden_size", &width);
    if (r < 0)
        return r;
    kv_heads = heads;
    if (is_set(c, "num_key_value_heads") && (r = read_u32(c, "num_key_value_heads", &kv_heads)) < 0)
        return r;
    if (is_set(c, "head_dim"))
        r = read_u32(c, "head_dim", &head_dim);
    else if (heads == 0 || width % heads != 0)
        r = folder_fail(c->error, -EBADMSG,
                        "config.json: key 'hidden_size' is %u, not a multiple of the %u heads",
                        width, heads);
    else
        head_dim = width / heads;
    if (r == 0)
        r = add_u32(c, "attention.head_count_kv", kv_heads);
    if (r == 0)
        r = add_u32(c, "attention.key_length", head_dim);
    return r < 0 ? r : add_u32(c, "attention.value_length", head_dim);
}

static int add_clip(const Config *c)
{
    float value = 0;
    int r;

    if (!is_set(c, "clip_qkv"))
        return 0;
    r = read_f32(c, json_get(c->root, "clip_qkv"), "clip_qkv", &value);
    return r < 0 ? r : add_f32(c, "attention.clamp_kqv", value);
}

static int check_ceiling(const Config *c, const char *name, uint32_t value, uint32_t max)
{
    if (value == 0 || value > max)
        return folder_fail(c->error, -EBADMSG, "config.json: key '%s' is %u, allowed are 1 to %u",
                           name, value, max);
    return 0;
}

/* What the other files are held against, within the ceilings that their tables are sized by. */
static int read_shape(const Config *c, FolderShape *shape)
{
    const JsonNode *tied = json_get(c->root, "tie_word_embeddings");
    int r = read_u32(c, "num_hidden_layers", &shape->n_layers);

    shape->family = c->family->name;
    if (r == 0)
        r = check_ceiling(c, "num_hidden_layers", shape->n_layers, FOLDER_LAYERS_MAX);
    if (r == 0)
        r = read_u32(c, "num_experts", &shape->n_experts);
    if (r == 0)
        r = check_ceiling(c, "num_experts", shape->n_experts, FOLDER_EXPERTS_MAX);
    if (r == 0)
        r = read_u32(c, "vocab_size", &shape->vocab_size);
    if (r == 0)
        r = check_ceiling(c, "vocab_size", shape->vocab_size, TOKENIZER_TOKENS_MAX);
    if (r == 0)
        r = read_u32(c, "hidden_size", &shape->d_model);
    if (r == 0)
        r = read_u32(c, c->family->expert_width, &shape->d_expert);
    if (r == 0 && tied && json_bool(tied, &shape->tied) < 0)
        r = folder_fail(c->error, -EBADMSG,
                        "config.json: key 'tie_word_embeddings' is not true or false");
    return r;
}

int folder_config(const JsonNode *config, Gguf *gguf, FolderShape *ret_shape,
                  const FolderError *error)
{
    Config c = {.root = config, .gguf = gguf, .error = error};
    FolderShape shape = {0};
    int r = family_find(&c);

    if (r == 0)
        r = check_fixed(&c);
    if (r == 0)
        r = read_shape(&c, &shape);
    if (r == 0)
        r = gguf_add_string(gguf, "general.architecture",
                            (WeightsString){shape.family, strlen(shape.family)});
    for (size_t i = 0; i < sizeof keys / sizeof *keys && r == 0; i++)
        r = add_key(&c, &keys[i]);
    if (r == 0)
        r = add_u32(&c, "expert_feed_forward_length", shape.d_expert);
    if (r == 0)
        r = add_heads(&c);
    if (r == 0)
        r = add_rope(&c);
    if (r == 0)
        r = add_clip(&c);
    if (r == -ENOMEM)
        return folder_fail(error, -ENOMEM, "no memory for the keys");
    if (r == 0)
        *ret_shape = shape;
    return r;
}
