#include "tests/unit/tiny.h"

#include "engine/base/half.h"
#include "tests/test.h"

#define HEAD_DIM  32
#define D_EXPERT  32
#define D_DENSITY 16
#define ALIGNMENT 64

typedef struct Bytes {
    uint8_t *data;
    size_t length, size;
} Bytes;

typedef struct Writer {
    const TinyOptions *options;
    Bytes keys, tensors, data;
    uint64_t n_keys, n_tensors, random;
} Writer;

static void put(Bytes *b, const void *data, size_t n)
{
    if (b->length + n > b->size) {
        b->size = 2 * (b->length + n);
        b->data = realloc(b->data, b->size);
        ASSERT(b->data);
    }
    memcpy(b->data + b->length, data, n);
    b->length += n;
}

static void put_u32(Bytes *b, uint32_t v)
{
    put(b, &v, sizeof(v));
}

static void put_u64(Bytes *b, uint64_t v)
{
    put(b, &v, sizeof(v));
}

static void put_string(Bytes *b, const char *s)
{
    put_u64(b, strlen(s));
    put(b, s, strlen(s));
}

/* Starts a key unless it is to be missing. */
static bool key_begin(Writer *w, const char *name, uint32_t type)
{
    if (w->options->skip_key && strcmp(w->options->skip_key, name) == 0)
        return false;
    put_string(&w->keys, name);
    put_u32(&w->keys, type);
    w->n_keys++;
    return true;
}

static void key_u32(Writer *w, const char *name, uint32_t value)
{
    if (key_begin(w, name, 4))
        put_u32(&w->keys,
                w->options->key && strcmp(w->options->key, name) == 0 ? w->options->value : value);
}

static void key_f32(Writer *w, const char *name, float value)
{
    if (!key_begin(w, name, 6))
        return;
    if (w->options->key && strcmp(w->options->key, name) == 0)
        put_u32(&w->keys, w->options->value); /* as bits */
    else
        put(&w->keys, &value, sizeof(value));
}

static void key_string(Writer *w, const char *name, const char *value)
{
    if (key_begin(w, name, 8))
        put_string(&w->keys, value);
}

/* Uniform in [-1, 1). */
static float random_next(Writer *w)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (float)((int32_t)(w->random >> 32)) * 0x1p-31f;
}

static void data_f32(Writer *w, size_t n, float mean, float spread)
{
    for (size_t i = 0; i < n; i++) {
        float value = mean + spread * random_next(w);
        put(&w->data, &value, sizeof(value));
    }
}

static void data_q8_0(Writer *w, size_t n, float spread)
{
    uint16_t scale = f32_to_f16(spread / 127);
    for (size_t i = 0; i < n; i++) {
        int8_t q = (int8_t)(127 * random_next(w));
        if (i % 32 == 0)
            put(&w->data, &scale, sizeof(scale));
        put(&w->data, &q, sizeof(q));
    }
}

/* A tensor of up to three dimensions, innermost first; 0 = absent. Values lie around mean. */
static void tensor(Writer *w, const char *name, bool q8_0, size_t a, size_t b, size_t c, float mean,
                   float spread)
{
    const TinyOptions *o = w->options;
    uint64_t ne[] = {a, b, c};
    uint32_t n_dims = c ? 3 : b ? 2 : 1;

    if (o->skip_tensor && strcmp(o->skip_tensor, name) == 0)
        return;
    if (o->reshape_tensor && strcmp(o->reshape_tensor, name) == 0)
        ne[n_dims - 1] += 32;
    if (o->retype_tensor && strcmp(o->retype_tensor, name) == 0)
        q8_0 = !q8_0;

    while (w->data.length % ALIGNMENT)
        put(&w->data, "", 1);
    put_string(&w->tensors, name);
    put_u32(&w->tensors, n_dims);
    for (uint32_t i = 0; i < n_dims; i++)
        put_u64(&w->tensors, ne[i]);
    put_u32(&w->tensors, q8_0 ? 8 : 0);
    put_u64(&w->tensors, w->data.length);
    w->n_tensors++;

    size_t n = ne[0] * (b ? ne[1] : 1) * (c ? ne[2] : 1);
    if (q8_0)
        data_q8_0(w, n, spread);
    else
        data_f32(w, n, mean, spread);
}

/* The byte of a token in the printable alphabet that byte-level tokenizers write it with. */
static void byte_token(int byte, char ret[5])
{
    int code = byte, moved = 0;

    for (int i = 0; i <= byte; i++) {
        bool printable = (i >= 33 && i <= 126) || (i >= 161 && i <= 172) || i >= 174;
        if (!printable)
            moved++;
        if (i == byte && !printable)
            code = 255 + moved;
    }
    snprintf(ret, 5, code < 0x80 ? "%c" : "%c%c", code < 0x80 ? code : 0xc0 | code >> 6,
             0x80 | (code & 0x3f));
}

static void tokenizer_keys(Writer *w)
{
    const char *specials[] = {"<pad>",   "<bos>",  "<eos>",       "<image>",
                              "<audio>", "<user>", "<assistant>", "<system>"};
    char token[5];

    key_string(w, "tokenizer.ggml.model", "gpt2");
    key_string(w, "tokenizer.ggml.pre", "percept");
    if (key_begin(w, "tokenizer.ggml.tokens", 9)) {
        put_u32(&w->keys, 8);
        put_u64(&w->keys, TINY_VOCAB);
        for (int i = 0; i < 8; i++)
            put_string(&w->keys, specials[i]);
        for (int i = 0; i < 256; i++) {
            byte_token(i, token);
            put_string(&w->keys, token);
        }
    }
    if (key_begin(w, "tokenizer.ggml.merges", 9)) {
        put_u32(&w->keys, 8);
        put_u64(&w->keys, 0);
    }
    if (key_begin(w, "tokenizer.ggml.token_type", 9)) {
        put_u32(&w->keys, 5);
        put_u64(&w->keys, TINY_VOCAB);
        for (int i = 0; i < TINY_VOCAB; i++)
            put_u32(&w->keys, i < 8 ? 3 : 1);
    }
    key_u32(w, "tokenizer.ggml.bos_token_id", 1);
    key_u32(w, "tokenizer.ggml.eos_token_id", 2);
}

static void config_keys(Writer *w)
{
    key_string(w, "general.architecture",
               w->options->architecture ? w->options->architecture : "percept");
    key_u32(w, "general.alignment", ALIGNMENT);
    key_u32(w, "percept.context_length", TINY_CONTEXT);
    key_u32(w, "percept.embedding_length", TINY_MODEL);
    key_u32(w, "percept.block_count", TINY_LAYERS);
    key_u32(w, "percept.attention.group_count", TINY_GROUPS);
    key_u32(w, "percept.attention.head_count_per_group", 1);
    key_u32(w, "percept.attention.head_dim", HEAD_DIM);
    key_u32(w, "percept.expert_count", TINY_EXPERTS);
    key_u32(w, "percept.expert_feed_forward_length", D_EXPERT);
    key_u32(w, "percept.expert_used_cap", TINY_CAP);
    key_f32(w, "percept.rope.freq_base", 10000);
    key_f32(w, "percept.norm_epsilon", 1e-6f);
    key_u32(w, "percept.density_length", D_DENSITY);
}

static void layer_tensors(Writer *w, size_t layer)
{
    const size_t d = TINY_MODEL, g = TINY_GROUPS, n = TINY_EXPERTS, f = D_EXPERT,
                 heads = g * HEAD_DIM;
    const float bias = w->options->gate_bias;
    const struct {
        const char *name;
        bool q8_0;
        size_t a, b, c;
        float mean, spread;
    } rows[] = {
        {"attn_norm.weight", false, d, 0, 0, 1, .2f},
        {"ffn_norm.weight", false, d, 0, 0, 1, .2f},
        {"attn_q_norm.weight", false, HEAD_DIM, 0, 0, 1, .2f},
        {"attn_k_norm.weight", false, HEAD_DIM, 0, 0, 1, .2f},
        {"attn_gate.weight", false, d, g - 1, 0, 0, .12f},
        {"attn_gate.bias", false, g - 1, 0, 0, bias, .1f},
        {"attn_gate.density", false, g - 1, 0, 0, .2f, .1f},
        {"attn_q.weight", true, d, heads, 0, 0, .2f},
        {"attn_k.weight", true, d, heads, 0, 0, .2f},
        {"attn_v.weight", true, d, heads, 0, 0, .2f},
        {"attn_out.weight", true, HEAD_DIM, d, g, 0, .2f},
        {"ffn_gate_inp.weight", false, d, n, 0, 0, .12f},
        {"ffn_gate_inp.bias", false, n, 0, 0, bias, .1f},
        {"ffn_gate_inp.density", false, n, 0, 0, .2f, .1f},
        {"ffn_gate_exps.weight", true, d, f, n, 0, .2f},
        {"ffn_up_exps.weight", true, d, f, n, 0, .2f},
        {"ffn_down_exps.weight", true, f, d, n, 0, .2f},
        {"ffn_gate_shexp.weight", true, d, f, 0, 0, .2f},
        {"ffn_up_shexp.weight", true, d, f, 0, 0, .2f},
        {"ffn_down_shexp.weight", true, f, d, 0, 0, .2f},
    };
    char name[64];

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        snprintf(name, sizeof(name), "blk.%zu.%s", layer, rows[i].name);
        tensor(w, name, rows[i].q8_0, rows[i].a, rows[i].b, rows[i].c, rows[i].mean,
               rows[i].spread);
    }
}

static void tensors(Writer *w)
{
    const size_t d = TINY_MODEL;

    tensor(w, "token_embd.weight", true, d, TINY_VOCAB, 0, 0, 1);
    tensor(w, "output_norm.weight", false, d, 0, 0, 1, .2f);
    tensor(w, "density.norm.weight", false, d, 0, 0, 1, .2f);
    tensor(w, "density.up.weight", false, d, D_DENSITY, 0, 0, .2f);
    tensor(w, "density.up.bias", false, D_DENSITY, 0, 0, 0, .1f);
    tensor(w, "density.down.weight", false, D_DENSITY, 0, 0, 0, .5f);
    tensor(w, "density.down.bias", false, 1, 0, 0, 0, .1f);
    for (size_t i = 0; i < TINY_LAYERS; i++)
        layer_tensors(w, i);
}

void *tiny_build(const TinyOptions *options, size_t *ret_size)
{
    Writer w = {.options = options, .random = options->seed};
    Bytes file = {0};

    config_keys(&w);
    tokenizer_keys(&w);
    tensors(&w);

    put(&file, "GGUF", 4);
    put_u32(&file, 3);
    put_u64(&file, w.n_tensors);
    put_u64(&file, w.n_keys);
    put(&file, w.keys.data, w.keys.length);
    put(&file, w.tensors.data, w.tensors.length);
    while (file.length % ALIGNMENT)
        put(&file, "", 1);
    put(&file, w.data.data, w.data.length);
    free(w.keys.data);
    free(w.tensors.data);
    free(w.data.data);

    void *aligned = aligned_alloc(ALIGNMENT, (file.length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    ASSERT(aligned);
    memcpy(aligned, file.data, file.length);
    free(file.data);
    *ret_size = file.length;
    return aligned;
}
