/*
 * Writes a qwen3moe model of random weights as a GGUF file, for measurements of speed and memory:
 * what it says means nothing.
 *
 *     make-moe OUT [PRESET [TYPE [SKEW [SEED]]]]
 *
 * PRESET: A (1.3 billion parameters, 0.23 read for a token), or tiny, for tests. TYPE: q8_0,
 * q4_0 or f16. SKEW: how unlike the use of experts is. Tokens share a direction, and the router
 * prefers the experts of a layer in an order of their own: the logit of the r-th falls by
 * SKEW * ln r, beside noise of about 1. 0: none is preferred, though tokens have much in common.
 *
 * Of preset A, nine tenths of the choices of 192 random tokens fall on 45% of a layer's experts
 * with 0, on 38% with 0.5 and on 26% with 1. For trained models to compare with: percept-spark
 * 42%; of Qwen3-30B-A3B others have published 45% for one subject and 51% for several.
 */

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/half.h"
#include "engine/base/tensor.h"

#define EMBED_STD   1.0f
#define MATRIX_STD  0.02f
#define SHARED      3.0f /* of the tokens' common direction, in EMBED_STD */
#define ROUTER_STD  2.5f /* of the logits for a random direction */
#define ALIGNMENT   32
#define TENSORS_MAX 512

typedef struct Preset {
    const char *name;
    uint32_t d, layers, heads, kv_heads, head_dim, experts, top, ff, vocab;
} Preset;

static const Preset presets[] = {
    {"A", 1024, 16, 16, 4, 64, 64, 8, 384, 32000},
    {"tiny", 64, 2, 4, 2, 32, 8, 2, 64, 320},
};

typedef enum Kind {
    KIND_MATRIX,
    KIND_NORM,
    KIND_EMBEDDING,
    KIND_ROUTER,
} Kind;

typedef struct Entry {
    char name[64];
    Kind kind;
    Tensor t;
    uint64_t offset;
} Entry;

typedef struct Out {
    FILE *file;
    const Preset *p;
    DType dtype;
    float skew;
    uint64_t seed;
    Entry entries[TENSORS_MAX];
    size_t n;
    uint64_t size;
} Out;

static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/* Four uniform numbers together are near enough to a normal one; variance 1. */
static float random_normal(uint64_t *state)
{
    uint64_t r = random_next(state);
    float sum = (float)(r & 0xffff) + (float)(r >> 16 & 0xffff) + (float)(r >> 32 & 0xffff) +
                (float)(r >> 48);

    return (sum - 2 * 65535.0f) * (1.7320508f / 65536.0f);
}

static uint64_t state_of(const Out *o, const char *name)
{
    uint64_t state = o->seed;

    for (; *name; name++)
        state = state * 1099511628211u + (uint8_t)*name;
    return state;
}

/* The sign of dimension i in the direction that all tokens share. */
static float shared_sign(const Out *o, uint32_t i)
{
    uint64_t state = o->seed ^ (uint64_t)i << 32;

    return random_next(&state) & 1 ? 1.0f : -1.0f;
}

static void entry_add(Out *o, Kind kind, const char *name, int64_t ne0, int64_t ne1, int64_t ne2)
{
    Entry *e = &o->entries[o->n++];
    bool plain = kind == KIND_NORM || kind == KIND_ROUTER;

    snprintf(e->name, sizeof e->name, "%s", name);
    e->kind = kind;
    e->t = (Tensor){.dtype = plain ? DTYPE_F32 : o->dtype,
                    .n_dims = ne2   ? 3
                              : ne1 ? 2
                                    : 1,
                    .ne = {ne0, ne1 ? ne1 : 1, ne2 ? ne2 : 1, 1}};
    e->offset = o->size;
    o->size += (tensor_bytes(&e->t) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void layer_add(Out *o, uint32_t layer)
{
    const Preset *p = o->p;
    const uint32_t query = p->heads * p->head_dim, key = p->kv_heads * p->head_dim;
    const struct {
        const char *name;
        Kind kind;
        int64_t ne[3];
    } rows[] = {
        {"attn_norm", KIND_NORM, {p->d}},
        {"attn_q", KIND_MATRIX, {p->d, query}},
        {"attn_k", KIND_MATRIX, {p->d, key}},
        {"attn_v", KIND_MATRIX, {p->d, key}},
        {"attn_q_norm", KIND_NORM, {p->head_dim}},
        {"attn_k_norm", KIND_NORM, {p->head_dim}},
        {"attn_output", KIND_MATRIX, {query, p->d}},
        {"ffn_norm", KIND_NORM, {p->d}},
        {"ffn_gate_inp", KIND_ROUTER, {p->d, p->experts}},
        {"ffn_gate_exps", KIND_MATRIX, {p->d, p->ff, p->experts}},
        {"ffn_up_exps", KIND_MATRIX, {p->d, p->ff, p->experts}},
        {"ffn_down_exps", KIND_MATRIX, {p->ff, p->d, p->experts}},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[64];

        snprintf(name, sizeof name, "blk.%u.%s.weight", layer, rows[i].name);
        entry_add(o, rows[i].kind, name, rows[i].ne[0], rows[i].ne[1], rows[i].ne[2]);
    }
}

static void put(Out *o, const void *data, size_t size)
{
    if (fwrite(data, 1, size, o->file) != size) {
        fprintf(stderr, "make-moe: cannot write: %s\n", strerror(errno));
        exit(1);
    }
}

static void put_u32(Out *o, uint32_t value)
{
    put(o, &value, sizeof value);
}

static void put_u64(Out *o, uint64_t value)
{
    put(o, &value, sizeof value);
}

static void put_string(Out *o, const char *text)
{
    put_u64(o, strlen(text));
    put(o, text, strlen(text));
}

enum { GGUF_U32 = 4, GGUF_I32 = 5, GGUF_F32 = 6, GGUF_STRING = 8, GGUF_ARRAY = 9 };

static void key_u32(Out *o, const char *name, uint32_t value)
{
    put_string(o, name);
    put_u32(o, GGUF_U32);
    put_u32(o, value);
}

static void key_f32(Out *o, const char *name, float value)
{
    put_string(o, name);
    put_u32(o, GGUF_F32);
    put_u32(o, f32_bits(value));
}

static void key_string(Out *o, const char *name, const char *value)
{
    put_string(o, name);
    put_u32(o, GGUF_STRING);
    put_string(o, value);
}

static void key_array(Out *o, const char *name, uint32_t type, uint64_t n)
{
    put_string(o, name);
    put_u32(o, GGUF_ARRAY);
    put_u32(o, type);
    put_u64(o, n);
}

/* Ids 0 to 258 are three controls and the bytes; the rest are numbers in letters. */
static void token_name(uint32_t id, char name[16])
{
    static const char *const controls[] = {"<unk>", "<s>", "</s>"};
    size_t n = 0;

    if (id < 3)
        strcpy(name, controls[id]);
    else if (id < 259)
        sprintf(name, "<0x%02X>", id - 3);
    else {
        for (id -= 258; id > 0; id /= 26)
            name[n++] = (char)('a' + id % 26);
        name[n] = '\0';
    }
}

static void put_tokens(Out *o)
{
    uint32_t n = o->p->vocab;
    char name[16];

    key_string(o, "tokenizer.ggml.model", "llama");
    key_string(o, "tokenizer.ggml.pre", "default");
    key_array(o, "tokenizer.ggml.tokens", GGUF_STRING, n);
    for (uint32_t i = 0; i < n; i++) {
        token_name(i, name);
        put_string(o, name);
    }
    key_array(o, "tokenizer.ggml.scores", GGUF_F32, n);
    for (uint32_t i = 0; i < n; i++)
        put_u32(o, f32_bits(i < 259 ? 0 : 258 - (float)i));
    key_array(o, "tokenizer.ggml.token_type", GGUF_I32, n);
    for (uint32_t i = 0; i < n; i++)
        put_u32(o, i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1);
    key_u32(o, "tokenizer.ggml.bos_token_id", 1);
    key_u32(o, "tokenizer.ggml.eos_token_id", 2);
}

static void put_keys(Out *o)
{
    const Preset *p = o->p;
    const struct {
        const char *name;
        uint32_t value;
    } numbers[] = {
        {"qwen3moe.context_length", 32768},
        {"qwen3moe.embedding_length", p->d},
        {"qwen3moe.block_count", p->layers},
        {"qwen3moe.feed_forward_length", p->ff * p->top},
        {"qwen3moe.expert_feed_forward_length", p->ff},
        {"qwen3moe.attention.head_count", p->heads},
        {"qwen3moe.attention.head_count_kv", p->kv_heads},
        {"qwen3moe.attention.key_length", p->head_dim},
        {"qwen3moe.attention.value_length", p->head_dim},
        {"qwen3moe.expert_count", p->experts},
        {"qwen3moe.expert_used_count", p->top},
    };
    enum { N_NUMBERS = sizeof numbers / sizeof *numbers, N_OTHERS = 10 };

    put(o, "GGUF", 4);
    put_u32(o, 3);
    put_u64(o, o->n);
    put_u64(o, N_NUMBERS + N_OTHERS);
    key_string(o, "general.architecture", "qwen3moe");
    for (size_t i = 0; i < N_NUMBERS; i++)
        key_u32(o, numbers[i].name, numbers[i].value);
    key_f32(o, "qwen3moe.rope.freq_base", 1e6f);
    key_f32(o, "qwen3moe.attention.layer_norm_rms_epsilon", 1e-6f);
    put_tokens(o);
}

static void put_table(Out *o)
{
    static const uint32_t numbers[_DTYPE_COUNT] = {
        [DTYPE_F16] = 1, [DTYPE_Q8_0] = 8, [DTYPE_Q4_0] = 2};

    for (size_t i = 0; i < o->n; i++) {
        const Entry *e = &o->entries[i];

        put_string(o, e->name);
        put_u32(o, e->t.n_dims);
        for (uint32_t j = 0; j < e->t.n_dims; j++)
            put_u64(o, (uint64_t)e->t.ne[j]);
        put_u32(o, numbers[e->t.dtype]);
        put_u64(o, e->offset);
    }
}

/* 32 values as a block of the file's type; returns its bytes. */
static size_t block_encode(DType dtype, const float x[32], uint8_t *out)
{
    float most = 0, largest = 0;
    uint16_t half;

    for (int i = 0; i < 32; i++)
        if (fabsf(x[i]) > most) {
            most = fabsf(x[i]);
            largest = x[i];
        }
    float scale = dtype == DTYPE_Q8_0 ? most / 127 : largest / -8;
    float inverse = scale != 0 ? 1 / scale : 0;

    half = f32_to_f16(scale);
    memcpy(out, &half, 2);
    for (int i = 0; dtype == DTYPE_Q8_0 && i < 32; i++)
        out[2 + i] = (uint8_t)(int8_t)lrintf(x[i] * inverse);
    for (int i = 0; dtype == DTYPE_Q4_0 && i < 16; i++) {
        int low = (int)(x[i] * inverse + 8.5f), high = (int)(x[i + 16] * inverse + 8.5f);

        out[2 + i] = (uint8_t)((low > 15 ? 15 : low) | (high > 15 ? 15 : high) << 4);
    }
    return dtype == DTYPE_Q8_0 ? 34 : 18;
}

/* One row in the file's type, for any width that its blocks divide. */
static size_t row_encode(DType dtype, const float *x, size_t n, uint8_t *out)
{
    size_t at = 0;

    if (dtype == DTYPE_F32) {
        memcpy(out, x, n * sizeof *x);
        return n * sizeof *x;
    }
    for (size_t i = 0; i < n && dtype == DTYPE_F16; i++, at += 2) {
        uint16_t half = f32_to_f16(x[i]);
        memcpy(out + at, &half, 2);
    }
    for (size_t i = 0; i < n && dtype != DTYPE_F16; i += 32)
        at += block_encode(dtype, x + i, out + at);
    return at;
}

/* An order of the experts of a layer: rank of each. */
static void ranks_fill(uint64_t *state, uint32_t n, uint32_t *ranks)
{
    for (uint32_t i = 0; i < n; i++)
        ranks[i] = i + 1;
    for (uint32_t i = n - 1; i > 0; i--) {
        uint32_t j = (uint32_t)(random_next(state) % (i + 1)), swap = ranks[i];

        ranks[i] = ranks[j];
        ranks[j] = swap;
    }
}

/* Takes the tokens' common direction out of a router's random row: it is for the skew alone. */
static void row_clear(const Out *o, float *x, uint32_t n)
{
    float along = 0;

    for (uint32_t i = 0; i < n; i++)
        along += x[i] * shared_sign(o, i);
    for (uint32_t i = 0; i < n; i++)
        x[i] -= along / (float)n * shared_sign(o, i);
}

static void row_fill(const Out *o, const Entry *e, uint64_t *state, uint32_t rank, float *x)
{
    size_t n = (size_t)e->t.ne[0];
    float d = (float)o->p->d, part = SHARED / sqrtf(1 + SHARED * SHARED);

    for (size_t i = 0; i < n; i++) {
        float noise = random_normal(state);

        switch (e->kind) {
        case KIND_MATRIX:
            x[i] = MATRIX_STD * noise;
            break;
        case KIND_NORM:
            x[i] = 1 + MATRIX_STD * noise;
            break;
        case KIND_EMBEDDING:
            x[i] = EMBED_STD * (noise + SHARED * shared_sign(o, (uint32_t)i));
            break;
        case KIND_ROUTER:
            x[i] = ROUTER_STD / sqrtf(d) * noise;
            break;
        }
    }
    if (e->kind != KIND_ROUTER)
        return;
    row_clear(o, x, (uint32_t)n);
    for (size_t i = 0; i < n; i++)
        x[i] -= o->skew * logf((float)rank) * shared_sign(o, (uint32_t)i) / (d * part);
}

static void put_data(Out *o)
{
    static const uint8_t zeros[ALIGNMENT];
    float *x = malloc(sizeof *x * 65536);
    uint8_t *bytes = malloc(sizeof *x * 65536);
    uint32_t ranks[1024];

    if (!x || !bytes)
        exit(1);
    for (size_t i = 0; i < o->n; i++) {
        const Entry *e = &o->entries[i];
        uint64_t state = state_of(o, e->name);
        size_t size = 0, rows = (size_t)(e->t.ne[1] * e->t.ne[2]);

        ranks_fill(&state, o->p->experts, ranks);
        for (size_t row = 0; row < rows; row++) {
            row_fill(o, e, &state, ranks[row % o->p->experts], x);
            size_t n = row_encode(e->t.dtype, x, (size_t)e->t.ne[0], bytes);
            put(o, bytes, n);
            size += n;
        }
        put(o, zeros, (ALIGNMENT - size % ALIGNMENT) % ALIGNMENT);
    }
    free(x);
    free(bytes);
}

static int options_read(Out *o, int argc, char **argv)
{
    const char *preset = argc > 2 ? argv[2] : "A", *type = argc > 3 ? argv[3] : "q8_0";

    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (strcmp(presets[i].name, preset) == 0)
            o->p = &presets[i];
    o->dtype = strcmp(type, "q4_0") == 0  ? DTYPE_Q4_0
               : strcmp(type, "f16") == 0 ? DTYPE_F16
                                          : DTYPE_Q8_0;
    o->skew = argc > 4 ? strtof(argv[4], NULL) : 0;
    o->seed = argc > 5 ? strtoull(argv[5], NULL, 10) : 1;
    return argc >= 2 && argc <= 6 && o->p ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
    static const uint8_t zeros[ALIGNMENT];
    static Out o;

    if (options_read(&o, argc, argv) < 0) {
        fputs("usage: make-moe OUT [A|tiny [q8_0|q4_0|f16 [SKEW [SEED]]]]\n", stderr);
        return 2;
    }
    o.file = fopen(argv[1], "wb");
    if (!o.file) {
        fprintf(stderr, "make-moe: %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    entry_add(&o, KIND_EMBEDDING, "token_embd.weight", o.p->d, o.p->vocab, 0);
    for (uint32_t layer = 0; layer < o.p->layers; layer++)
        layer_add(&o, layer);
    entry_add(&o, KIND_NORM, "output_norm.weight", o.p->d, 0, 0);
    entry_add(&o, KIND_MATRIX, "output.weight", o.p->d, o.p->vocab, 0);
    put_keys(&o);
    put_table(&o);
    put(&o, zeros, (size_t)(-ftell(o.file) & (ALIGNMENT - 1)));
    put_data(&o);
    return fclose(o.file) == 0 ? 0 : 1;
}
