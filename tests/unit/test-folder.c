#include <stdbool.h>
#include <sys/stat.h>

#include "engine/base/tokenizer.h"
#include "tests/test.h"
#include "tests/unit/folder-builder.h"

static float value_at(const Tensor *t, int row, int column)
{
    const char *at = (const char *)tensor_row(t, row) + dtype_row_bytes(t->dtype, column);
    uint32_t bits = 0;
    float value;

    memcpy(t->dtype == DTYPE_BF16 ? (char *)&bits + 2 : (char *)&bits, at,
           t->dtype == DTYPE_BF16 ? 2 : 4);
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The experts are the same in every layout and type. */
static void test_experts(void)
{
    static const char *const names[] = {"gate", "up", "down"};

    for (int i = 0; i < 6; i++) {
        Folder f = {.layout = (Layout)(i % 3), .short_floats = i >= 3};
        _cleanup_(weights_closep) Weights *w = folder_sound(&f);

        for (int part = 0; part < 3; part++) {
            int64_t ne[] = {part == 2 ? FF : MODEL, part == 2 ? MODEL : FF, EXPERTS};
            Tensor experts[EXPERTS];
            char name[64];

            sprintf(name, "blk.0.ffn_%s_exps.weight", names[part]);
            if (weights_need_experts(w, name, ne, experts) < 0)
                test_fail(__FILE__, __LINE__, "%s", weights_error(w));
            for (int e = 0; e < EXPERTS; e++)
                for (int r = 0; r < ne[1]; r++)
                    for (int c = 0; c < ne[0]; c++)
                        ASSERT(value_at(&experts[e], r, c) == expert_value(e, part, r, c));
            ASSERT(!weights_find(w, name));
        }
        folder_free(&f);
    }
}

static void test_keys(void)
{
    Folder f = {0};
    _cleanup_(weights_closep) Weights *w = folder_sound(&f);
    static const struct {
        const char *name;
        uint32_t value;
    } numbers[] = {
        {"qwen3moe.context_length", 64},
        {"qwen3moe.embedding_length", MODEL},
        {"qwen3moe.block_count", 1},
        {"qwen3moe.feed_forward_length", 6},
        {"qwen3moe.expert_feed_forward_length", FF},
        {"qwen3moe.attention.head_count", HEADS},
        {"qwen3moe.attention.head_count_kv", 1},
        {"qwen3moe.attention.key_length", DIM},
        {"qwen3moe.attention.value_length", DIM},
        {"qwen3moe.expert_count", EXPERTS},
        {"qwen3moe.expert_used_count", 1},
        {"qwen3moe.vocab_size", VOCAB},
        {"tokenizer.ggml.eos_token_id", 258},
    };
    WeightsString s;
    uint32_t u;
    float value = 0;
    bool b = false;

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (weights_get_u32(w, numbers[i].name, &u) < 0 || u != numbers[i].value)
            test_fail(__FILE__, __LINE__, "%s", numbers[i].name);
    }
    ASSERT_OK(weights_get_string(w, "general.architecture", &s));
    ASSERT(s.length == 8 && memcmp(s.data, "qwen3moe", 8) == 0);
    ASSERT_OK(weights_get_f32(w, "qwen3moe.rope.freq_base", &value));
    ASSERT(value == 1e6f);
    ASSERT_OK(weights_get_f32(w, "qwen3moe.attention.layer_norm_rms_epsilon", &value));
    ASSERT(value == 1e-6f);
    ASSERT_OK(weights_get_bool(w, "qwen3moe.expert_weights_norm", &b));
    ASSERT(b);
    ASSERT_ERROR(weights_get_f32(w, "qwen3moe.attention.clamp_kqv", &value), ENOENT);
    folder_free(&f);
}

static void test_tensors(void)
{
    Folder f = {.sharded = true, .short_floats = true};
    _cleanup_(weights_closep) Weights *w = folder_sound(&f);
    const int64_t any[] = {0, 0};
    size_t size = 0;
    Tensor t;

    ASSERT_OK(weights_need(w, "token_embd.weight", DTYPE_BF16, 2, any, &t));
    ASSERT(t.ne[0] == MODEL && t.ne[1] == VOCAB);
    ASSERT_OK(weights_need_vector(w, "blk.0.ffn_norm.weight", 1, any, &t));
    ASSERT(t.dtype == DTYPE_F32 && ((const float *)t.data)[3] == 7);
    ASSERT_OK(weights_need_vector(w, "blk.0.ffn_gate_inp.weight", 2, any, &t));
    ASSERT(t.ne[1] == EXPERTS && ((const float *)t.data)[0] == 7);
    ASSERT(weights_find(w, "blk.0.attn_output.weight") && weights_find(w, "output.weight"));
    ASSERT(weights_find(w, "blk.0.attn_q_norm.weight") && weights_find(w, "output_norm.weight"));
    ASSERT_EQ(weights_tensor_count(w), 15);
    for (size_t i = 0; i < f.n; i++)
        size += f.parts[i].size;
    ASSERT_EQ(weights_file_size(w), size);
    folder_free(&f);
}

/* A tied head is the embedding, whether the file repeats it or not. */
static void test_tied(void)
{
    for (int i = 0; i < 2; i++) {
        Folder f = {.tied = i,
                    .file = "config.json",
                    .from = "\"tie_word_embeddings\": false",
                    .to = "\"tie_word_embeddings\": true"};
        _cleanup_(weights_closep) Weights *w = folder_sound(&f);

        ASSERT(!weights_find(w, "output.weight"));
        folder_free(&f);
    }
}

static void string_check(const Weights *w, const char *key, size_t index, const char *expected)
{
    WeightsString s;

    ASSERT_OK(index == SIZE_MAX ? weights_get_string(w, key, &s)
                                : weights_string_at(w, key, index, &s));
    if (s.length != strlen(expected) || memcmp(s.data, expected, s.length) != 0)
        test_fail(__FILE__, __LINE__, "%s is '%.*s', not '%s'", key, (int)s.length, s.data,
                  expected);
}

static void test_tokenizer(void)
{
    Folder f = {0};
    _cleanup_(weights_closep) Weights *w = folder_sound(&f);
    int32_t types[VOCAB];
    size_t n = 0;
    bool b = true;

    string_check(w, "tokenizer.ggml.model", SIZE_MAX, "gpt2");
    string_check(w, "tokenizer.ggml.pre", SIZE_MAX, "qwen2");
    ASSERT_OK(weights_get_strings(w, "tokenizer.ggml.tokens", &n));
    ASSERT_EQ(n, VOCAB);
    string_check(w, "tokenizer.ggml.tokens", 'a', "a");
    string_check(w, "tokenizer.ggml.tokens", ' ', "\u0120");
    string_check(w, "tokenizer.ggml.tokens", 257, "abc");
    string_check(w, "tokenizer.ggml.tokens", 258, "<|end|>");
    string_check(w, "tokenizer.ggml.tokens", 261, "[PAD261]");
    ASSERT_OK(weights_get_i32s(w, "tokenizer.ggml.token_type", types, VOCAB));
    ASSERT(types[0] == 1 && types[257] == 1 && types[258] == 3 && types[259] == 4);
    ASSERT(types[260] == 5 && types[261] == 5);
    ASSERT_OK(weights_get_strings(w, "tokenizer.ggml.merges", &n));
    ASSERT_EQ(n, 2);
    string_check(w, "tokenizer.ggml.merges", 0, "a b");
    string_check(w, "tokenizer.ggml.merges", 1, "ab c");
    ASSERT_OK(weights_get_bool(w, "tokenizer.ggml.add_bos_token", &b));
    ASSERT(!b);
    folder_free(&f);
}

static void test_encode(void)
{
    static const int32_t expected[] = {257, 'a', 256, 'd'};
    Folder f = {0};
    _cleanup_(weights_closep) Weights *w = folder_sound(&f);
    Tokenizer *t = NULL;
    int32_t ids[8];
    size_t n = 0;

    if (tokenizer_new(w, &t) < 0)
        test_fail(__FILE__, __LINE__, "%s", weights_error(w));
    ASSERT_EQ(tokenizer_size(t), VOCAB);
    ASSERT_EQ(tokenizer_special(t)->eos, 258);
    ASSERT_OK(tokenizer_encode(t, "abcaabd", 7, ids, 8, &n));
    ASSERT_EQ(n, 4);
    ASSERT_MEMEQ(ids, expected, sizeof expected);
    tokenizer_free(t);
    folder_free(&f);
}

/* Byte fallback, and the ways to say how blanks are written; a token that begins every text. */
#define FALLBACK(steps)                                                                            \
    "{\"model\": {\"type\": \"BPE\", \"byte_fallback\": true, \"unk_token\": \"<unk>\","           \
    " \"vocab\": {\"<unk>\": 0, \"<0x0A>\": 1, \"\u2581\": 2, \"a\": 3, \"\u2581a\": 4, \"<s>\": " \
    "258},"                                                                                        \
    " \"merges\": [\"\u2581 a\"]}, " steps ", \"post_processor\": {\"type\": \"Sequence\","        \
    " \"processors\": [{\"type\": \"TemplateProcessing\", \"single\":"                             \
    " [{\"SpecialToken\": {\"id\": \"<s>\"}}, {\"Sequence\": {\"id\": \"A\"}}]}]}}"
#define REPLACE "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\u2581\"}"
#define METASPACE                                                                                  \
    "\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"\u2581\", \"split\": false, "

static void test_fallback(void)
{
    static const struct {
        const char *text;
        bool prefix;
    } forms[] = {
        {FALLBACK("\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\":"
                  " \"Prepend\", \"prepend\": \"\u2581\"}, " REPLACE "]}"),
         true},
        {FALLBACK("\"normalizer\": " REPLACE), false},
        {FALLBACK(METASPACE "\"prepend_scheme\": \"first\"}"), true},
        {FALLBACK(METASPACE "\"prepend_scheme\": \"never\"}"), false},
    };

    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        Folder f = {.tokenizer = forms[i].text};
        _cleanup_(weights_closep) Weights *w = folder_sound(&f);
        int32_t types[VOCAB];
        bool b = !forms[i].prefix;

        string_check(w, "tokenizer.ggml.model", SIZE_MAX, "llama");
        ASSERT_OK(weights_get_bool(w, "tokenizer.ggml.add_space_prefix", &b));
        ASSERT_EQ(b, forms[i].prefix);
        ASSERT_OK(weights_get_i32s(w, "tokenizer.ggml.token_type", types, VOCAB));
        ASSERT(types[0] == 2 && types[1] == 6 && types[3] == 1 && types[5] == 5);
        ASSERT_OK(weights_get_bool(w, "tokenizer.ggml.add_bos_token", &b));
        ASSERT(b);
        folder_free(&f);
    }
    for (int i = 0; i < 2; i++) {
        Folder f = {.tokenizer = i ? FALLBACK(METASPACE "\"prepend_scheme\": \"always\"}")
                                   : FALLBACK("\"normalizer\": {\"type\": \"NFKC\"}")};
        Weights *w = NULL;

        ASSERT_ERROR(folder_open(&f, &w), ENOTSUP);
        ASSERT(strstr(f.error, "no way to write blanks that is known"));
        folder_free(&f);
    }
}

static void test_missing(void)
{
    static const char *const says[] = {"config.json is missing", "tokenizer.json is missing",
                                       "model.safetensors or its index is missing"};

    for (size_t i = 0; i < 3; i++) {
        Folder f = {0};
        Weights *w = folder_sound(&f);

        weights_close(w);
        f.parts[i].name = "other";
        ASSERT_ERROR(weights_open_parts(f.parts, f.n, &w, f.error), ENOENT);
        ASSERT(strstr(f.error, says[i]));
        folder_free(&f);
    }
}

/* The same from the disk; the digest is what `sha256sum * | sha256sum` says. */
static void test_disk(void)
{
    char path[] = "/tmp/test-folder-XXXXXX", name[128], error[WEIGHTS_ERROR_MAX] = "", hex[65];
    char command[256], line[80] = "";
    Folder f = {.sharded = true};
    Weights *w = folder_sound(&f);
    uint64_t offset = 0;
    int fd = -1;
    Tensor t;
    FILE *p;

    weights_close(w);
    ASSERT(mkdtemp(path));
    for (size_t i = 0; i < f.n; i++) {
        FILE *file;

        sprintf(name, "%s/%s", path, f.parts[i].name);
        file = fopen(name, "wb");
        ASSERT(file && fwrite(f.parts[i].data, f.parts[i].size, 1, file) == 1);
        fclose(file);
    }
    if (weights_open(path, &w, error) < 0)
        test_fail(__FILE__, __LINE__, "%s", error);
    ASSERT_OK(weights_need_matrix(w, "output.weight", 2, (int64_t[]){0, 0}, &t));
    ASSERT(value_at(&t, 0, 1) == 7);
    ASSERT(weights_locate(w, t.data, &fd, &offset) && fd >= 0);
    ASSERT(!weights_locate(w, &t, &fd, &offset));
    ASSERT_OK(weights_digest(w, hex));
    sprintf(command, "cd %s && LC_ALL=C sha256sum * | sha256sum", path);
    p = popen(command, "r");
    ASSERT(p && fgets(line, sizeof line, p));
    pclose(p);
    ASSERT(strncmp(line, hex, 64) == 0);
    weights_close(w);

    for (size_t i = 0; i < f.n; i++) {
        sprintf(name, "%s/%s", path, f.parts[i].name);
        unlink(name);
    }
    ASSERT_ERROR(weights_open(path, &w, error), ENOENT);
    ASSERT(strstr(error, "config.json is missing"));
    sprintf(name, "%s/config.json", path);
    ASSERT_OK(mkdir(name, 0700));
    ASSERT_ERROR(weights_open(path, &w, error), EBADMSG);
    ASSERT(strstr(error, "config.json is not a regular file"));
    rmdir(name);
    rmdir(path);
    folder_free(&f);
}

int main(void)
{
    RUN(test_experts);
    RUN(test_keys);
    RUN(test_tensors);
    RUN(test_tied);
    RUN(test_tokenizer);
    RUN(test_encode);
    RUN(test_fallback);
    RUN(test_missing);
    RUN(test_disk);
    return 0;
}
