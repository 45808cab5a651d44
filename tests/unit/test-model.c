/* Files that are not a sound percept model: each is refused with a sentence that names the key
 * or tensor. */

#include "engine/engine.h"
#include "tests/test.h"
#include "tests/unit/tiny.h"

/* Opens a damaged file; returns what model_new() said, and checks the sentence. */
static void refused(const TinyOptions *options, int error, const char *mention)
{
    char sentence[WEIGHTS_ERROR_MAX];
    size_t size;
    _cleanup_free_ void *data = tiny_build(options, &size);
    _cleanup_(weights_closep) Weights *w = NULL;
    _cleanup_(model_freep) Model *m = NULL;

    int r = weights_open_memory(data, size, &w, sentence);
    if (r < 0)
        test_fail(__FILE__, __LINE__, "the container itself was refused: %s", sentence);
    ASSERT_ERROR(model_new(w, &m), error);
    ASSERT(!m);
    if (!strstr(weights_error(w), mention))
        test_fail(__FILE__, __LINE__, "'%s' does not name %s", weights_error(w), mention);
}

static void test_sound(void)
{
    char sentence[WEIGHTS_ERROR_MAX];
    TinyOptions options = {.seed = 1};
    size_t size;
    _cleanup_free_ void *data = tiny_build(&options, &size);
    _cleanup_(weights_closep) Weights *w = NULL;
    _cleanup_(model_freep) Model *m = NULL;

    ASSERT_OK(weights_open_memory(data, size, &w, sentence));
    ASSERT_OK(model_new(w, &m));
    const ModelInfo *info = model_info(m);
    ASSERT_STREQ(info->family, "percept");
    ASSERT_EQ(info->n_layers, TINY_LAYERS);
    ASSERT_EQ(info->n_groups, TINY_GROUPS);
    ASSERT_EQ(info->n_experts, TINY_EXPERTS);
    ASSERT_EQ(info->vocab_size, TINY_VOCAB);
    ASSERT_EQ(info->file_bytes, size);
    char digest[65];
    ASSERT_OK(model_digest(m, digest));
    ASSERT_EQ(strlen(digest), 64);

    /* Token embedding and output norm are all that does not belong to the decoder proper. */
    uint64_t outside = TINY_VOCAB * TINY_MODEL + TINY_MODEL;
    ASSERT_EQ(info->parameters - info->decoder_parameters, outside);
}

static void test_tensors(void)
{
    static const char *const names[] = {
        "token_embd.weight",          "output_norm.weight",         "density.up.weight",
        "density.down.bias",          "blk.0.attn_norm.weight",     "blk.1.attn_q.weight",
        "blk.0.attn_out.weight",      "blk.1.attn_gate.density",    "blk.0.ffn_gate_inp.bias",
        "blk.1.ffn_gate_exps.weight", "blk.0.ffn_down_exps.weight", "blk.1.ffn_down_shexp.weight",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        refused(&(TinyOptions){.seed = 1, .skip_tensor = names[i]}, EBADMSG, names[i]);
        refused(&(TinyOptions){.seed = 1, .reshape_tensor = names[i]}, EBADMSG, names[i]);
    }
    refused(&(TinyOptions){.seed = 1, .retype_tensor = "blk.0.attn_k.weight"}, EBADMSG,
            "blk.0.attn_k.weight");
    refused(&(TinyOptions){.seed = 1, .retype_tensor = "blk.1.ffn_norm.weight"}, EBADMSG,
            "blk.1.ffn_norm.weight");
}

static void test_keys(void)
{
    static const struct {
        const char *key;
        uint32_t value;
    } rows[] = {
        {"percept.context_length", 0},
        {"percept.context_length", UINT32_MAX},
        {"percept.embedding_length", 0},
        {"percept.embedding_length", 65},
        {"percept.embedding_length", 1u << 31},
        {"percept.block_count", 0},
        {"percept.block_count", UINT32_MAX},
        {"percept.attention.group_count", 0},
        {"percept.attention.group_count", 1},
        {"percept.attention.group_count", 65},
        {"percept.attention.head_count_per_group", 0},
        {"percept.attention.head_count_per_group", 1u << 20},
        {"percept.attention.head_dim", 31},
        {"percept.attention.head_dim", 1u << 30},
        {"percept.expert_count", 0},
        {"percept.expert_count", 1u << 30},
        {"percept.expert_feed_forward_length", 48},
        {"percept.expert_used_cap", 0},
        {"percept.expert_used_cap", TINY_EXPERTS + 1},
        {"percept.density_length", 1u << 30},
        {"percept.rope.freq_base", 0xffc00000}, /* NaN */
        {"percept.rope.freq_base", 0},
        {"percept.norm_epsilon", 0x7f800000}, /* infinity */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        refused(&(TinyOptions){.seed = 1, .key = rows[i].key, .value = rows[i].value}, EBADMSG,
                rows[i].key);
        refused(&(TinyOptions){.seed = 1, .skip_key = rows[i].key}, EBADMSG, rows[i].key);
    }

    /* In range, but not what the tensors have. */
    refused(&(TinyOptions){.seed = 1, .key = "percept.block_count", .value = 3}, EBADMSG, "blk.2.");
    refused(&(TinyOptions){.seed = 1, .key = "percept.expert_count", .value = 9}, EBADMSG,
            "ffn_gate_inp");
    refused(&(TinyOptions){.seed = 1, .key = "percept.attention.group_count", .value = 8}, EBADMSG,
            "attn_gate");
}

static void test_family(void)
{
    refused(&(TinyOptions){.seed = 1, .architecture = "llama"}, ENOTSUP, "llama");
    refused(&(TinyOptions){.seed = 1, .architecture = ""}, ENOTSUP, "general.architecture");
    refused(&(TinyOptions){.seed = 1, .skip_key = "general.architecture"}, EBADMSG,
            "general.architecture");
}

/* Runs a few tokens through whatever a damaged file made of itself. */
static void survive(Weights *w, Backend *b)
{
    const EngineOptions options = {.max_sessions = 1, .max_batch_rows = 8, .max_tokens = 8};
    const int32_t ids[] = {1, 100, 101, 102};
    _cleanup_(model_freep) Model *m = NULL;
    _cleanup_(engine_closep) Engine *e = NULL;
    Session *s;

    if (model_new(w, &m) < 0) {
        ASSERT(*weights_error(w));
        return;
    }
    if (model_info(m)->context_length > 4096 || model_info(m)->vocab_size < 103)
        return;
    _cleanup_free_ float *logits = calloc(model_info(m)->vocab_size, sizeof(float));
    ASSERT(logits);
    ASSERT_OK(engine_open(m, b, &options, &e));
    ASSERT_OK(session_open(e, &s));
    BatchItem item = {.session = s, .ids = ids, .n = 4, .want_logits = true, .logits = logits};
    int r = decoder_forward(e, &item, 1, ROUTE_GATES);
    ASSERT(r == 0 || r == -E2BIG);

    Sampler sampler;
    sampler_init(&sampler, &(SamplerOptions){.temperature = 1, .top_p = 0.9f});
    int32_t id = sampler_next(&sampler, logits, model_info(m)->vocab_size);
    ASSERT(id == 2 || (id >= 8 && (uint32_t)id < model_info(m)->vocab_size));
}

/* Bytes changed at random: an error or nonsense, never a fault. */
static void test_damage(void)
{
    char sentence[WEIGHTS_ERROR_MAX];
    TinyOptions options = {.seed = 1};
    size_t size, opened = 0;
    uint64_t random = 11;
    _cleanup_free_ uint8_t *data = tiny_build(&options, &size);
    _cleanup_(backend_closep) Backend *b = NULL;

    ASSERT_OK(backend_cpu_open(1, PRECISION_INT8, 0, &b));
    for (int round = 0; round < 1000; round++) {
        uint8_t kept[4];
        size_t at[4];
        Weights *w = NULL;

        /* Half of the rounds in the first bytes, where the keys and tensor names are. */
        for (int i = 0; i < 4; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            at[i] = (random >> 33) % (round % 2 ? size : 12000);
            kept[i] = data[at[i]];
            data[at[i]] = (uint8_t)(random >> 25);
        }
        if (weights_open_memory(data, size, &w, sentence) >= 0) {
            survive(w, b);
            opened++;
        }
        weights_close(w);
        for (int i = 3; i >= 0; i--)
            data[at[i]] = kept[i];
    }
    ASSERT_CMP(opened, >, 100);
}

int main(void)
{
    RUN(test_sound);
    RUN(test_tensors);
    RUN(test_keys);
    RUN(test_family);
    RUN(test_damage);
    return 0;
}
