#include "tests/test.h"
#include "tests/unit/folder-builder.h"

/* In `file`, `from` becomes `to`. */
typedef struct Lie {
    const char *file, *from, *to;
    int error;
    const char *says;
} Lie;

#define CONFIG    "config.json"
#define TOKENIZER "tokenizer.json"
#define TENSORS   "model.safetensors"

/* clang-format off */
static const Lie lies[] = {
    {CONFIG, "{", "", EBADMSG, "config.json: byte"},
    {CONFIG, "qwen3_moe", "qwen4", ENOTSUP, "model_type 'qwen4' is not a family"},
    {CONFIG, "\"model_type\"", "\"type\"", EBADMSG, "key 'model_type' is not a string"},
    {CONFIG, "\"silu\"", "\"gelu\"", ENOTSUP, "key 'hidden_act' may only be silu"},
    {CONFIG, "\"attention_bias\": false", "\"attention_bias\": true", ENOTSUP, "attention_bias"},
    {CONFIG, "_layers\": []", "_layers\": [0]", ENOTSUP, "mlp_only_layers"},
    {CONFIG, "step\": 1", "step\": 2", ENOTSUP, "key 'decoder_sparse_step' may only be 1"},
    {CONFIG, "\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"yarn\"}", ENOTSUP,
        "rope_sc"},
    {CONFIG, "\"architectures\"", "\"quantization_config\"", ENOTSUP, "quantization_config"},
    {CONFIG, "\"architectures\"", "\"rope_parameters\": {\"rope_type\": \"yarn\"}, \"x\"", ENOTSUP,
        "rope_parameters.rope_type"},
    {CONFIG, "\"rope_theta\"", "\"theta\"", EBADMSG, "key 'rope_theta' is missing"},
    {CONFIG, "1000000.0", "\"1\"", EBADMSG, "key 'rope_theta' is not a float"},
    {CONFIG, "1000000.0", "1e39", EBADMSG, "key 'rope_theta' is not a float"},
    {CONFIG, "\"hidden_size\"", "\"width\"", EBADMSG, "key 'hidden_size' is missing"},
    {CONFIG, "_experts\": 2", "_experts\": -2", EBADMSG, "key 'num_experts' is not a whole number"},
    {CONFIG, "_experts\": 2", "_experts\": 2.0", EBADMSG,
        "key 'num_experts' is not a whole number"},
    {CONFIG, "_experts\": 2", "_experts\": 0", EBADMSG, "key 'num_experts' is 0"},
    {CONFIG, "_experts\": 2", "_experts\": 4000000000", EBADMSG, "key 'num_experts' is 4000000000"},
    {CONFIG, "_experts\": 2", "_experts\": 3", EBADMSG, "experts.2.gate_proj.weight' is missing"},
    {CONFIG, "_experts\": 2", "_experts\": 1", EBADMSG, "experts.1.gate_proj.weight' is not of"},
    {CONFIG, "_layers\": 1", "_layers\": 100000", EBADMSG, "key 'num_hidden_layers' is 100000"},
    {CONFIG, "size\": 262", "size\": 2000000", EBADMSG, "key 'vocab_size' is 2000000"},
    {CONFIG, "size\": 262", "size\": 258", EBADMSG, "token '<|end|>' has the id 258"},
    {CONFIG, "embeddings\": 64", "embeddings\": 1e300", EBADMSG, "'max_position_embeddings'"},
    {CONFIG, "embeddings\": 64", "embeddings\": 99999999999", EBADMSG, "'max_position_embeddings'"},
    {CONFIG, "prob\": true", "prob\": 1", EBADMSG, "key 'norm_topk_prob' is not true or false"},
    {CONFIG, "id\": 258", "id\": 262", EBADMSG, "key 'eos_token_id' is not the id of one of 262"},
    {CONFIG, "id\": 258", "id\": [258, \"x\"]", EBADMSG, "key 'eos_token_id'"},
    {CONFIG, "\"head_dim\": 5", "\"head_dim\": null, \"vocab_size\": 9", EBADMSG,
        "'vocab_size' twice"},

    {TENSORS, "\"model.embed_tokens.weight\"", "\"model.embed.weight\"", EBADMSG,
        "not of this family"},
    {TENSORS, "layers.0.input", "layers.1.input", EBADMSG, "is of none of the 1 layers"},
    {TENSORS, "layers.0.input", "layers.00.input", EBADMSG, "is of none of the 1 layers"},
    {TENSORS, "layers.0.input", "layers.-1.input", EBADMSG, "is of none of the 1 layers"},
    {TENSORS, "layers.0.input", "layers.4294967296.input", EBADMSG, "is of none of the 1 layers"},
    {TENSORS, "q_proj.weight", "q_proj.bias", EBADMSG,
        "self_attn.q_proj.bias' is not of this family"},
    {TENSORS, "experts.1.up", "experts.2.up", EBADMSG, "experts.2.up_proj.weight' is not of"},
    {TENSORS, "experts.1.up_proj", "experts.1.side_proj", EBADMSG,
        "'model.layers.0.mlp.experts.1.side"},
    {TENSORS, "experts.1.up_proj", "experts.1.upper", EBADMSG,
        "upper.weight' is not of this family"},
    {TENSORS, "experts.1.up_proj", "experts.0.up_proj", EBADMSG, "experts.0.up_proj.weight' twice"},
    {TENSORS, "\"lm_head.weight\"", "\"model.layers.0.self_attn.rotary_emb.inv_freq\"", EBADMSG,
        "tensor 'lm_head.weight' is missing"},
    {TENSORS, "1.down_proj.weight\":{\"dtype\":\"F32\",\"shape\":[4,3]",
        "1.down_proj.weight\":{\"dtype\":\"F32\",\"shape\":[3,4]", EBADMSG,
        "experts.1.down_proj.weight' has another type or shape"},
    {TENSORS, "1.down_proj.weight\":{\"dtype\":\"F32\",\"shape\":[4,3]",
        "1.down_proj.weight\":{\"dtype\":\"I32\",\"shape\":[4,3]", ENOTSUP,
        "experts.1.down_proj.weight' is I32; F32, F16 and BF16 are read"},
    {TENSORS, "1.down_proj.weight\":{\"dtype\":\"F32\",\"shape\":[4,3]",
        "1.down_proj.weight\":{\"dtype\":\"F32\",\"shape\":[12]", EBADMSG,
        "has 1 dimensions, not 2"},

    {TOKENIZER, "\"BPE\"", "\"Unigram\"", ENOTSUP, "key 'model.type' may only be BPE"},
    {TOKENIZER, "\"model\"", "\"models\"", ENOTSUP, "key 'model.type'"},
    {TOKENIZER, "\"dropout\": null", "\"dropout\": 0.1", ENOTSUP, "key 'model.dropout'"},
    {TOKENIZER, "\"NFC\"", "\"Lowercase\"", ENOTSUP, "key 'normalizer' is not known"},
    {TOKENIZER, "{\"type\": \"NFC\"}", "null", ENOTSUP, "no splitting rule"},
    {TOKENIZER, "'ll", "'l", ENOTSUP, "no splitting rule that is known"},
    {TOKENIZER, "Isolated", "Removed", ENOTSUP, "no splitting rule that is known"},
    {TOKENIZER, "\"ignore_merges\": false", "\"ignore_merges\": true", ENOTSUP, "ignore_merges"},
    {TOKENIZER, "\"vocab\": {", "\"vocab\": [{", EBADMSG, "tokenizer.json: byte"},
    {TOKENIZER, "\"ab\": 256", "\"ab\": 257", EBADMSG, "two tokens have the id 257"},
    {TOKENIZER, "\"ab\": 256", "\"ab\": \"256\"", EBADMSG, "token 'ab' has no id"},
    {TOKENIZER, "\"ab\": 256", "\"ab\": 4294967552", EBADMSG, "token 'ab' has no id"},
    {TOKENIZER, "\"id\": 259", "\"id\": 256", EBADMSG, "two tokens have the id 256"},
    {TOKENIZER, "\"id\": 259", "\"id\": -1", EBADMSG, "an entry of 'added_tokens' has no id"},
    {TOKENIZER, "\"lstrip\": false", "\"lstrip\": true", ENOTSUP, "added token '<|end|>' takes"},
    {TOKENIZER, "\"merges\": [", "\"merges\": [7, ", EBADMSG, "merge 0 is not two tokens"},
    {TOKENIZER, "[\"ab\", \"c\"]", "[\"ab\"]", EBADMSG, "merge 1 is not two tokens"},
    {TOKENIZER, "[\"ab\", \"c\"]", "[\"ab\", \"c\", \"d\"]", EBADMSG, "merge 1 is not two tokens"},
    {TOKENIZER, "[\"ab\", \"c\"]", "[\"a b\", \"c\"]", ENOTSUP, "merge 1 joins blanks"},
    {TOKENIZER, "\"post_processor\": {\"type\": \"ByteLevel\"}", "\"post_processor\": {\"type\": "
        "\"TemplateProcessing\", \"single\": [{\"Sequence\": {}}, {\"SpecialToken\": {}}]}",
        ENOTSUP, "key 'post_processor' may put one token before"},
};

static const Lie index_lies[] = {
    {"model.safetensors.index.json", "weight_map", "weights", EBADMSG,
        "key 'weight_map' is not an"},
    {"model.safetensors.index.json", "model-1.", "../model-1.", ENOENT,
        "'model.embed_tokens.weight'"},
    {"model.safetensors.index.json", "model-1.", "model-3.", ENOENT,
        "lies in a file that is missing"},
    {"model.safetensors.index.json", "model-1.", "model-2.", EBADMSG, "does not lie in 'model-2."},
    {"model.safetensors.index.json", "\"model-1.safetensors\"", "1", ENOENT,
        "file that is missing"},
    {"model.safetensors.index.json", "lm_head.", "head.", EBADMSG,
        "tensor 'head.weight' does not lie"},
    {"model.safetensors.index.json", ", \"lm_head.weight\": \"model-2.safetensors\"", "", EBADMSG,
        "names 17 tensors, its files hold 18"},
    {"model-2.safetensors", "model.norm.weight", "model.embed_tokens.weight", EBADMSG,
        "'model.embed_tokens.weight' lies in model-1.safetensors and in model-2.safetensors"},
    {"model-2.safetensors", "\"F32\"", "\"F33\"", ENOTSUP,
        "model-2.safetensors: tensor 'model.layers"},
};
/* clang-format on */

/* Each lie alone, told in a folder of this kind. */
static void lies_check(const Lie *list, size_t n, Folder kind)
{
    for (size_t i = 0; i < n; i++) {
        Folder f = kind;
        Weights *w = NULL;
        int r;

        f.file = list[i].file;
        f.from = list[i].from;
        f.to = list[i].to;
        r = folder_open(&f, &w);
        ASSERT(!w);
        if (r != -list[i].error || !strstr(f.error, list[i].says))
            test_fail(__FILE__, __LINE__, "%s -> %s: %d, '%s'", f.from, f.to, r, f.error);
        folder_free(&f);
    }
}

static void test_lies(void)
{
    lies_check(lies, sizeof lies / sizeof *lies, (Folder){.sharded = false});
    lies_check(index_lies, sizeof index_lies / sizeof *index_lies, (Folder){.sharded = true});
}

/* Fused experts of another shape than the configuration's, and both layouts at once. */
static void test_fused_lies(void)
{
    static const Lie fused[] = {
        {TENSORS, "[2,6,4]", "[2,4,3,2]", EBADMSG, "gate_up_proj' does not have the shape"},
        {TENSORS, "[2,6,4]", "[1,6,8]", EBADMSG, "gate_up_proj' does not have the shape"},
        {TENSORS, "[2,6,4]", "[2,8,3]", EBADMSG, "gate_up_proj' does not have the shape"},
        {TENSORS, "[2,4,3]", "[2,6,2]", EBADMSG, "down_proj' does not have the shape"},
        {CONFIG, "_experts\": 2", "_experts\": 3", EBADMSG, "the shape of the 3 experts"},
    };

    lies_check(fused, sizeof fused / sizeof *fused, (Folder){.layout = FUSED});
}

int main(void)
{
    RUN(test_lies);
    RUN(test_fused_lies);
    return 0;
}
