#include "engine/engine.h"
#include "tests/test.h"

/* Files of published families that lie are refused, and the sentence names what is wrong. argv:
 * models of make_models.py, qwen3moe and olmoe. */

typedef struct Damage {
    const char *name; /* of a key, whose value becomes this; or of a tensor, which is lost */
    uint32_t value;   /* a float's bits, where it is one */
    int error;        /* 0: it is fine so */
    const char *says;
} Damage;

static const Damage of_qwen3moe[] = {
    {"qwen3moe.context_length", 0, EBADMSG, "qwen3moe.context_length"},
    {"qwen3moe.context_length", UINT32_MAX, EBADMSG, "qwen3moe.context_length"},
    {"qwen3moe.embedding_length", 63, EBADMSG, "qwen3moe.embedding_length"},
    {"qwen3moe.embedding_length", 128, EBADMSG, "token_embd.weight"},
    {"qwen3moe.block_count", 1u << 30, EBADMSG, "qwen3moe.block_count"},
    {"qwen3moe.block_count", 3, EBADMSG, "blk.2."},
    {"qwen3moe.block_count", 1, 0, ""},
    {"qwen3moe.attention.head_count", 0, EBADMSG, "attention.head_count"},
    {"qwen3moe.attention.head_count", 5, EBADMSG, "attention.head_count"},
    {"qwen3moe.attention.head_count", 8, EBADMSG, "attn_q.weight"},
    {"qwen3moe.attention.head_count", 64, EBADMSG, "attention.head_count"},
    {"qwen3moe.attention.head_count_kv", 0, EBADMSG, "attention.head_count_kv"},
    {"qwen3moe.attention.head_count_kv", 4, EBADMSG, "attention.head_count"},
    {"qwen3moe.attention.head_count_kv", 3, EBADMSG, "attn_k.weight"},
    {"qwen3moe.attention.key_length", 33, EBADMSG, "attention.key_length"},
    {"qwen3moe.attention.key_length", 1u << 31, EBADMSG, "attention.key_length"},
    {"qwen3moe.attention.value_length", 64, ENOTSUP, "attention.value_length"},
    {"qwen3moe.attention.layer_norm_rms_epsilon", 0x7fc00000, EBADMSG, "layer_norm_rms_epsilon"},
    {"qwen3moe.rope.freq_base", 0, EBADMSG, "rope.freq_base"},
    {"qwen3moe.expert_count", 0, EBADMSG, "qwen3moe.expert_count"},
    {"qwen3moe.expert_count", 7, EBADMSG, "ffn_gate_inp.weight"},
    {"qwen3moe.expert_used_count", 9, EBADMSG, "qwen3moe.expert_used_count"},
    {"qwen3moe.expert_used_count", 65, EBADMSG, "qwen3moe.expert_used_count"},
    {"qwen3moe.expert_feed_forward_length", 64, EBADMSG, "ffn_gate_exps.weight"},
    {"blk.1.attn_k_norm.weight", 0, EBADMSG, "blk.1.attn_k_norm.weight"},
    {"blk.0.attn_output.weight", 0, EBADMSG, "blk.0.attn_output.weight"},
    {"blk.1.ffn_down_exps.weight", 0, EBADMSG, "blk.1.ffn_down_exps.weight"},
    {"output.weight", 0, 0, ""}, /* the embedding serves instead */
};

static const Damage of_olmoe[] = {
    {"olmoe.attention.clamp_kqv", 0xbf800000, EBADMSG, "olmoe.attention.clamp_kqv"},
    {"olmoe.attention.clamp_kqv", 0x7f800000, EBADMSG, "olmoe.attention.clamp_kqv"},
    {"olmoe.attention.head_count", 7, EBADMSG, "attention.head_count"},
    {"olmoe.feed_forward_length", 31, EBADMSG, "olmoe.feed_forward_length"},
};

/* Where a length and this name stand together. */
static uint8_t *name_find(uint8_t *data, size_t size, const char *name)
{
    uint64_t length = strlen(name);
    uint8_t pattern[80];

    memcpy(pattern, &length, 8);
    memcpy(pattern + 8, name, length);
    uint8_t *at = memmem(data, size, pattern, 8 + length);
    ASSERT(at);
    return at + 8;
}

static void damage_check(const void *file, size_t size, const Damage *d)
{
    _cleanup_free_ uint8_t *data = aligned_alloc(64, (size + 63) / 64 * 64);
    _cleanup_(weights_closep) Weights *w = NULL;
    _cleanup_(model_freep) Model *m = NULL;
    char error[WEIGHTS_ERROR_MAX] = "";

    ASSERT(data);
    memcpy(data, file, size);
    uint8_t *name = name_find(data, size, d->name);
    if (strstr(d->name, ".weight"))
        name[0] = 'x';
    else
        memcpy(name + strlen(d->name) + 4, &d->value, 4); /* after the type */
    ASSERT_OK(weights_open_memory(data, size, &w, error));
    int r = model_new(w, &m);
    if (r != -d->error || (r < 0 && !strstr(weights_error(w), d->says)))
        test_fail(__FILE__, __LINE__, "%s = %#x: %d, '%s'", d->name, d->value, r, weights_error(w));
}

static void file_check(const char *path, const Damage *damages, size_t n)
{
    FILE *f = fopen(path, "r");
    static uint8_t file[1 << 20];

    ASSERT(f);
    size_t size = fread(file, 1, sizeof(file), f);
    ASSERT(size > 0 && size < sizeof(file));
    fclose(f);
    for (size_t i = 0; i < n; i++)
        damage_check(file, size, &damages[i]);
}

int main(int argc, char **argv)
{
    ASSERT_EQ(argc, 3);
    file_check(argv[1], of_qwen3moe, sizeof(of_qwen3moe) / sizeof(*of_qwen3moe));
    file_check(argv[2], of_olmoe, sizeof(of_olmoe) / sizeof(*of_olmoe));
    return 0;
}
