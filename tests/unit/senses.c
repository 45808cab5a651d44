#include "tests/unit/senses.h"

#include "engine/base/half.h"
#include "tests/test.h"
#include "tests/unit/gguf-builder.h"

#define ALIGNMENT 64
#define D         SENSES_MODEL
#define FF        64
#define MELS      8
#define SPACE     256

enum { U32 = 4, F32 = 6, STRING = 8, ARRAY = 9, I32 = 5 };

/* clang-format off */
static const struct {
    const char *name;
    uint32_t type, value; /* of f32: the bits of a small whole number are filled in below */
    float real;
} keys[] = {
    { "percept.embedding_length",            U32, D, 0 },
    { "percept.encoder.head_dim",            U32, 16, 0 },
    { "percept.encoder.feed_forward_length", U32, FF, 0 },
    { "percept.encoder.pool_count",          U32, SENSES_POOL, 0 },
    { "percept.image.block_count",           U32, 1, 0 },
    { "percept.image.patch_size",            U32, 16, 0 },
    { "percept.audio.block_count",           U32, 2, 0 },
    { "percept.audio.mel_count",             U32, MELS, 0 },
    { "percept.text.block_count",            U32, 1, 0 },
    { "percept.norm_epsilon",                F32, 0, 1e-6f },
    { "percept.rope.freq_base",              F32, 0, 10000 },
    { "percept.image.rope.freq_base",        F32, 0, 100 },
    { "percept.space.length",                U32, SPACE, 0 },
    { "percept.space.scale",                 F32, 0, 10 },
    { "percept.space.bias",                  F32, 0, -5 },
    { "percept.context_length",              U32, SENSES_CONTEXT, 0 },
};

static const struct {
    const char *name;
    bool q8_0;
    uint32_t in, out; /* out 0: a vector */
} tensors[] = {
#define BLOCK(prefix)                                       \
    { prefix ".attn_norm.weight", false, D,  0  },          \
    { prefix ".ffn_norm.weight",  false, D,  0  },          \
    { prefix ".attn_q.weight",    true,  D,  D  },          \
    { prefix ".attn_k.weight",    true,  D,  D  },          \
    { prefix ".attn_v.weight",    true,  D,  D  },          \
    { prefix ".attn_out.weight",  true,  D,  D  },          \
    { prefix ".ffn_gate.weight",  true,  D,  FF },          \
    { prefix ".ffn_up.weight",    true,  D,  FF },          \
    { prefix ".ffn_down.weight",  true,  FF, D  }
#define TAIL(prefix)                                        \
    { prefix ".norm.weight",       false, D, 0 },           \
    { prefix ".pool_query.weight", false, D, SENSES_POOL }, \
    { prefix ".space.weight",      true,  SENSES_POOL * D, SPACE }
    { "img.patch.weight",      true,  800,      D },
    { "img.patch.bias",        false, D,        0 },
    { "aud.conv1.weight",      true,  4 * MELS, D },
    { "aud.conv1.bias",        false, D,        0 },
    { "aud.conv2.weight",      true,  4 * D,    D },
    { "aud.conv2.bias",        false, D,        0 },
    { "txt.token_embd.weight", true,  D,        SENSES_VOCAB },
    BLOCK("img.blk.0"), BLOCK("aud.blk.0"), BLOCK("aud.blk.1"), BLOCK("txt.blk.0"),
    TAIL("img"), TAIL("aud"), TAIL("txt"),
    { "token_embd.weight",     true, D,     SENSES_VOCAB },
    { "space_proj.weight",     true, SPACE, D },
    { "img.seq_proj.weight",   true, D,     D },
    { "aud.seq_proj.weight",   true, D,     D },
};
/* clang-format on */

#define N_KEYS    (sizeof keys / sizeof *keys)
#define N_TENSORS (sizeof tensors / sizeof *tensors)

const char *senses_tensor(size_t index)
{
    return index < N_TENSORS ? tensors[index].name : NULL;
}

const char *senses_key(size_t index)
{
    return index < N_KEYS ? keys[index].name : NULL;
}

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

static void put_string(Bytes *b, const char *s)
{
    bytes_string(b, strlen(s), s);
}

static void key_begin(Bytes *b, uint64_t *n, const char *name, uint32_t type)
{
    put_string(b, name);
    bytes_u32(b, type);
    (*n)++;
}

static uint64_t config_write(Bytes *b, const SensesOptions *o)
{
    uint64_t n = 0;

    key_begin(b, &n, "general.architecture", STRING);
    put_string(b, "percept");
    key_begin(b, &n, "general.alignment", U32);
    bytes_u32(b, ALIGNMENT);
    for (size_t i = 0; i < N_KEYS; i++) {
        if (same(o->skip_key, keys[i].name))
            continue;
        key_begin(b, &n, keys[i].name, keys[i].type);
        if (same(o->key, keys[i].name))
            bytes_u32(b, o->value);
        else if (keys[i].type == U32)
            bytes_u32(b, keys[i].value);
        else
            bytes_f32(b, keys[i].real);
    }
    return n;
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

static uint64_t tokenizer_write(Bytes *b)
{
    static const char *const specials[] = {"<pad>",   "<bos>",  "<eos>",       "<image>",
                                           "<audio>", "<user>", "<assistant>", "<system>"};
    uint64_t n = 0;
    char token[5];

    key_begin(b, &n, "tokenizer.ggml.model", STRING);
    put_string(b, "gpt2");
    key_begin(b, &n, "tokenizer.ggml.pre", STRING);
    put_string(b, "percept");
    key_begin(b, &n, "tokenizer.ggml.tokens", ARRAY);
    bytes_u32(b, STRING);
    bytes_u64(b, SENSES_VOCAB);
    for (int i = 0; i < 8; i++)
        put_string(b, specials[i]);
    for (int i = 0; i < 256; i++) {
        byte_token(i, token);
        put_string(b, token);
    }
    key_begin(b, &n, "tokenizer.ggml.merges", ARRAY);
    bytes_u32(b, STRING);
    bytes_u64(b, 0);
    key_begin(b, &n, "tokenizer.ggml.token_type", ARRAY);
    bytes_u32(b, I32);
    bytes_u64(b, SENSES_VOCAB);
    for (int i = 0; i < SENSES_VOCAB; i++)
        bytes_u32(b, i < 8 ? 3 : 1);
    key_begin(b, &n, "tokenizer.ggml.bos_token_id", U32);
    bytes_u32(b, 1);
    key_begin(b, &n, "tokenizer.ggml.eos_token_id", U32);
    bytes_u32(b, 2);
    return n;
}

/* Uniform in [-1, 1). */
static float random_next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(*state >> 32) * 0x1p-31f;
}

static void data_write(Bytes *b, uint64_t *random, bool q8_0, size_t n, bool zero)
{
    for (size_t i = 0; i < n; i++) {
        float value = zero ? 0 : random_next(random);

        if (!q8_0) {
            bytes_f32(b, 0.5f + value);
            continue;
        }
        if (i % 32 == 0) {
            uint16_t scale = f32_to_f16(0.3f / 127);
            bytes_put(b, &scale, sizeof scale);
        }
        bytes_u8(b, (uint8_t)(int8_t)(127 * value));
    }
}

static uint64_t tensors_write(Bytes *info, Bytes *data, const SensesOptions *o)
{
    uint64_t n = 0, random = 1;

    for (size_t i = 0; i < N_TENSORS; i++) {
        uint32_t in = tensors[i].in, out = tensors[i].out;
        bool q8_0 = tensors[i].q8_0 != same(o->retype_tensor, tensors[i].name);

        if (same(o->skip_tensor, tensors[i].name))
            continue;
        if (same(o->reshape_tensor, tensors[i].name)) {
            in += out ? 0 : 32;
            out += out ? 1 : 0;
        }
        bytes_align(data, ALIGNMENT);
        put_string(info, tensors[i].name);
        bytes_u32(info, out ? 2 : 1);
        bytes_u64(info, in);
        if (out)
            bytes_u64(info, out);
        bytes_u32(info, q8_0 ? 8 : 0);
        bytes_u64(info, data->size);
        data_write(data, &random, q8_0, (size_t)in * (out ? out : 1),
                   o->zero_space && same("img.space.weight", tensors[i].name));
        n++;
    }
    return n;
}

void *senses_build(const SensesOptions *options, size_t *ret_size)
{
    Bytes file = {0}, config = {0}, info = {0}, data = {0};
    uint64_t n_keys = config_write(&config, options) + tokenizer_write(&config);
    uint64_t n_tensors = tensors_write(&info, &data, options);

    bytes_put(&file, "GGUF", 4);
    bytes_u32(&file, 3);
    bytes_u64(&file, n_tensors);
    bytes_u64(&file, n_keys);
    bytes_put(&file, config.data, config.size);
    bytes_put(&file, info.data, info.size);
    bytes_align(&file, ALIGNMENT);
    bytes_put(&file, data.data, data.size);
    void *aligned = bytes_aligned(file.data, file.size);
    *ret_size = file.size;
    bytes_free(&config);
    bytes_free(&info);
    bytes_free(&data);
    bytes_free(&file);
    return aligned;
}
