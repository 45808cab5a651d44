#include "tests/unit/folder-builder.h"

#include "tests/test.h"
#include "tests/unit/gguf-builder.h"

static const char config_text[] =
    "{\"model_type\": \"qwen3_moe\", \"architectures\": [\"Qwen3MoeForCausalLM\"],\n"
    " \"hidden_size\": 4, \"num_hidden_layers\": 1, \"num_attention_heads\": 2,\n"
    " \"num_key_value_heads\": 1, \"head_dim\": 5, \"num_experts\": 2, \"num_experts_per_tok\": "
    "1,\n"
    " \"moe_intermediate_size\": 3, \"intermediate_size\": 6, \"norm_topk_prob\": true,\n"
    " \"hidden_act\": \"silu\", \"vocab_size\": 262, \"max_position_embeddings\": 64,\n"
    " \"rope_theta\": 1000000.0, \"rms_norm_eps\": 1e-06, \"attention_bias\": false,\n"
    " \"decoder_sparse_step\": 1, \"mlp_only_layers\": [], \"rope_scaling\": null,\n"
    " \"use_sliding_window\": false, \"tie_word_embeddings\": false, \"eos_token_id\": 258}";

/* %s: the 256 tokens of single bytes. */
static const char tokenizer_text[] =
    "{\"version\": \"1.0\", \"truncation\": null, \"added_tokens\": [\n"
    " {\"id\": 258, \"content\": \"<|end|>\", \"single_word\": false, \"lstrip\": false,"
    " \"rstrip\": false, \"normalized\": false, \"special\": true},\n"
    " {\"id\": 259, \"content\": \"<think>\", \"special\": false}],\n"
    " \"normalizer\": {\"type\": \"NFC\"}, \"pre_tokenizer\": {\"type\": \"Sequence\","
    " \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(?i:'s|'t|'re|'ve|'m|'ll"
    "|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*"
    "|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}, \"behavior\": \"Isolated\", \"invert\": "
    "false},"
    " {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}]},\n"
    " \"post_processor\": {\"type\": \"ByteLevel\"}, \"decoder\": {\"type\": \"ByteLevel\"},\n"
    " \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null,"
    " \"byte_fallback\": false, \"ignore_merges\": false, \"vocab\": {%s, \"ab\": 256,"
    " \"abc\": 257}, \"merges\": [\"a b\", [\"ab\", \"c\"]]}}";

/* text with the lie in it, if it is about this file; caller frees. */
static char *lied(const Folder *f, const char *file, const char *text)
{
    const char *at = f->file && strcmp(f->file, file) == 0 ? strstr(text, f->from) : NULL;
    char *out = NULL;

    if (f->file && strcmp(f->file, file) == 0 && !at)
        test_fail(__FILE__, __LINE__, "'%s' does not stand in %s", f->from, file);
    ASSERT(asprintf(&out, "%.*s%s%s", at ? (int)(at - text) : 0, text, at ? f->to : "",
                    at ? at + strlen(f->from) : text) >= 0);
    return out;
}

static void part_add(Folder *f, const char *name, const void *data, size_t size)
{
    f->owned[f->n] = bytes_aligned(data, size);
    f->parts[f->n] = (WeightsFile){name, f->owned[f->n], size, false};
    f->n++;
}

static void text_add(Folder *f, const char *name, const char *text)
{
    char *changed = lied(f, name, text);

    part_add(f, name, changed, strlen(changed));
    free(changed);
}

/* One safetensors file in the making. */
typedef struct Shard {
    const Folder *folder;
    const char *name;
    char header[4096];
    size_t length;
    Bytes data;
} Shard;

static void number_put(Shard *s, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    if (!s->folder->short_floats)
        bytes_u32(&s->data, bits);
    else
        for (int i = 16; i < 32; i += 8)
            bytes_u8(&s->data, (uint8_t)(bits >> i));
}

static void header_add(Shard *s, const char *name, const char *shape, size_t values)
{
    size_t size = values * (s->folder->short_floats ? 2 : 4);

    s->length +=
        (size_t)sprintf(s->header + s->length,
                        "%c\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                        s->length ? ',' : '{', name, s->folder->short_floats ? "BF16" : "F32",
                        shape, s->data.size, s->data.size + size);
}

/* A vector or matrix whose values count up from `first`. */
static void tensor_add(Shard *s, const char *name, int rows, int columns, float first)
{
    char shape[32];

    if (rows)
        sprintf(shape, "[%d,%d]", rows, columns);
    else
        sprintf(shape, "[%d]", columns);
    header_add(s, name, shape, (size_t)((rows ? rows : 1) * columns));
    for (int i = 0; i < (rows ? rows : 1) * columns; i++)
        number_put(s, first + (float)i);
}

static void single_add(Shard *s, int expert, int part)
{
    static const char *const names[] = {"gate", "up", "down"};
    int rows = part == 2 ? MODEL : FF, columns = part == 2 ? FF : MODEL;
    char name[64], shape[32];

    sprintf(name, "model.layers.0.mlp.experts.%d.%s_proj.weight", expert, names[part]);
    sprintf(shape, "[%d,%d]", rows, columns);
    header_add(s, name, shape, (size_t)(rows * columns));
    for (int i = 0; i < rows * columns; i++)
        number_put(s, expert_value(expert, part, i / columns, i % columns));
}

/* All experts' gates and ups, or downs: rows of gate come before those of up. */
static void fused_add(Shard *s, int first, int n_parts, bool turned)
{
    int part_rows = first == 2 ? MODEL : FF, columns = first == 2 ? FF : MODEL;
    int rows = n_parts * part_rows, outer = turned ? columns : rows;
    char shape[32];

    sprintf(shape, "[%d,%d,%d]", EXPERTS, outer, rows * columns / outer);
    header_add(s,
               first == 2 ? "model.layers.0.mlp.experts.down_proj"
                          : "model.layers.0.mlp.experts.gate_up_proj",
               shape, (size_t)(EXPERTS * rows * columns));
    for (int e = 0; e < EXPERTS; e++)
        for (int i = 0; i < rows * columns; i++) {
            int row = turned ? i % rows : i / columns, column = turned ? i / rows : i % columns;

            number_put(s, expert_value(e, first + row / part_rows, row % part_rows, column));
        }
}

static void shard_finish(Folder *f, Shard *s)
{
    Bytes file = {0};
    char *header;

    strcpy(s->header + s->length, "}");
    header = lied(f, s->name, s->header);
    bytes_u64(&file, (strlen(header) + 7) / 8 * 8);
    bytes_put(&file, header, strlen(header));
    while (file.size % 8 != 0)
        bytes_u8(&file, ' ');
    bytes_put(&file, s->data.data, s->data.size);
    part_add(f, s->name, file.data, file.size);
    free(header);
    bytes_free(&file);
    bytes_free(&s->data);
}

static void attention_add(Shard *s)
{
    tensor_add(s, "model.layers.0.self_attn.q_proj.weight", HEADS * DIM, MODEL, 0);
    tensor_add(s, "model.layers.0.self_attn.k_proj.weight", DIM, MODEL, 0);
    tensor_add(s, "model.layers.0.self_attn.v_proj.weight", DIM, MODEL, 0);
    tensor_add(s, "model.layers.0.self_attn.o_proj.weight", MODEL, HEADS * DIM, 0);
    tensor_add(s, "model.layers.0.self_attn.q_norm.weight", 0, DIM, 1);
    tensor_add(s, "model.layers.0.self_attn.k_norm.weight", 0, DIM, 2);
    tensor_add(s, "model.layers.0.input_layernorm.weight", 0, MODEL, 3);
    tensor_add(s, "model.layers.0.post_attention_layernorm.weight", 0, MODEL, 4);
}

static const char index_text[] =
    "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {"
    "\"model.embed_tokens.weight\": \"model-1.safetensors\", "
    "\"model.layers.0.self_attn.q_proj.weight\": \"model-1.safetensors\", "
    "\"model.layers.0.self_attn.k_proj.weight\": \"model-1.safetensors\", "
    "\"model.layers.0.self_attn.v_proj.weight\": \"model-1.safetensors\", "
    "\"model.layers.0.self_attn.o_proj.weight\": \"model-1.safetensors\", "
    "\"model.layers.0.self_attn.q_norm.weight\": \"model-1.safetensors\", "
    "\"model.layers.0.self_attn.k_norm.weight\": \"model-1.safetensors\", "
    "\"model.layers.0.input_layernorm.weight\": \"model-1.safetensors\", "
    "\"model.layers.0.post_attention_layernorm.weight\": \"model-1.safetensors\", "
    "\"model.layers.0.mlp.gate.weight\": \"model-2.safetensors\", "
    "\"model.layers.0.mlp.experts.0.gate_proj.weight\": \"model-2.safetensors\", "
    "\"model.layers.0.mlp.experts.0.up_proj.weight\": \"model-2.safetensors\", "
    "\"model.layers.0.mlp.experts.0.down_proj.weight\": \"model-2.safetensors\", "
    "\"model.layers.0.mlp.experts.1.gate_proj.weight\": \"model-2.safetensors\", "
    "\"model.layers.0.mlp.experts.1.up_proj.weight\": \"model-2.safetensors\", "
    "\"model.layers.0.mlp.experts.1.down_proj.weight\": \"model-2.safetensors\", "
    "\"model.norm.weight\": \"model-2.safetensors\", "
    "\"lm_head.weight\": \"model-2.safetensors\"}}";

static void tensors_add(Folder *f)
{
    Shard one = {f, f->sharded ? "model-1.safetensors" : "model.safetensors", "", 0, {0}};
    Shard two = {f, "model-2.safetensors", "", 0, {0}}, *s = &one;

    tensor_add(s, "model.embed_tokens.weight", VOCAB, MODEL, 0);
    attention_add(s);
    if (f->sharded) {
        shard_finish(f, s);
        s = &two;
    }
    tensor_add(s, "model.layers.0.mlp.gate.weight", EXPERTS, MODEL, 7);
    for (int i = 0; f->layout == SINGLE && i < 3 * EXPERTS; i++)
        single_add(s, i / 3, i % 3);
    if (f->layout != SINGLE) {
        fused_add(s, 0, 2, f->layout == TURNED);
        fused_add(s, 2, 1, f->layout == TURNED);
    }
    tensor_add(s, "model.norm.weight", 0, MODEL, 5);
    if (!f->tied)
        tensor_add(s, "lm_head.weight", VOCAB, MODEL, 6);
    shard_finish(f, s);
    if (f->sharded)
        text_add(f, "model.safetensors.index.json", index_text);
}

/* The 256 tokens of bytes, as names and ids of an object: bytes that print stand for themselves. */
static void byte_tokens(char *out)
{
    int next = 256;

    for (int b = 0; b < 256; b++) {
        bool prints = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        int point = prints ? b : next++;

        out += sprintf(out, "%s\"", b ? ", " : "");
        if (point == '"' || point == '\\')
            *out++ = '\\';
        if (point < 0x80)
            *out++ = (char)point;
        else {
            *out++ = (char)(0xc0 | point >> 6);
            *out++ = (char)(0x80 | (point & 0x3f));
        }
        out += sprintf(out, "\": %d", b);
    }
}

int folder_open(Folder *f, Weights **ret_weights)
{
    char bytes[8192], tokenizer[sizeof tokenizer_text + sizeof bytes];

    byte_tokens(bytes);
    sprintf(tokenizer, tokenizer_text, bytes);
    text_add(f, "config.json", config_text);
    text_add(f, "tokenizer.json", f->tokenizer ? f->tokenizer : tokenizer);
    tensors_add(f);
    return weights_open_parts(f->parts, f->n, ret_weights, f->error);
}

Weights *folder_sound(Folder *f)
{
    Weights *w = NULL;

    if (folder_open(f, &w) < 0)
        test_fail(__FILE__, __LINE__, "%s", f->error);
    return w;
}

void folder_free(Folder *f)
{
    for (size_t i = 0; i < f->n; i++)
        free(f->owned[i]);
}
