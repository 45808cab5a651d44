#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/folder.h"

/*
 * From the names that model authors use to those of GGUF. Experts come in three layouts: a matrix
 * each; all of them in one tensor, gate and up fused [E, 2I, H] and down [E, H, I]; or the same
 * turned over, [E, H, 2I] and [E, I, H]. All become one entry of E matrices.
 */

typedef struct Name {
    const char *theirs, *ours;
} Name;

/* clang-format off */
static const Name model_names[] = {
    { "model.embed_tokens.weight", "token_embd.weight" },
    { "model.norm.weight",         "output_norm.weight" },
    { "lm_head.weight",            "output.weight" },
};

/* Behind "model.layers.<i>." and "blk.<i>.". */
static const Name layer_names[] = {
    { "input_layernorm.weight",          "attn_norm.weight" },
    { "post_attention_layernorm.weight", "ffn_norm.weight" },
    { "self_attn.q_proj.weight",         "attn_q.weight" },
    { "self_attn.k_proj.weight",         "attn_k.weight" },
    { "self_attn.v_proj.weight",         "attn_v.weight" },
    { "self_attn.o_proj.weight",         "attn_output.weight" },
    { "self_attn.q_norm.weight",         "attn_q_norm.weight" },
    { "self_attn.k_norm.weight",         "attn_k_norm.weight" },
    { "mlp.gate.weight",                 "ffn_gate_inp.weight" },
};

/* Behind "mlp.experts.<e>.". */
static const char *const parts[] = { "gate_proj.weight", "up_proj.weight", "down_proj.weight" };
static const char *const part_names[] = { "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps" };
/* clang-format on */

enum { GATE, UP, DOWN, N_PARTS };

typedef struct Table {
    const FolderShape *shape;
    Gguf *gguf;
    size_t room;
    GgufTensor *stacks; /* [n_layers, N_PARTS]: name NULL until the first expert is met */
    const FolderError *error;
} Table;

static int check_readable(const Table *t, const SafeTensor *tensor)
{
    if (tensor->foreign)
        return folder_fail(t->error, -ENOTSUP, "tensor '%s' is %s; F32, F16 and BF16 are read",
                           tensor->name, tensor->foreign);
    return 0;
}

static int entry_add(Table *t, const char *name, const Tensor *tensor)
{
    GgufTensor *entry = &t->gguf->tensors[t->gguf->n_tensors];

    assert(t->gguf->n_tensors < t->room);
    entry->name = strdup(name);
    if (!entry->name)
        return folder_fail(t->error, -ENOMEM, "no memory for a tensor's name");
    entry->tensor = *tensor;
    t->gguf->n_tensors++;
    return 0;
}

/* The decimal number at *at, without leading zeros and up to max, and the dot behind it. */
static bool take_index(const char **at, uint32_t max, uint32_t *ret_index)
{
    const char *c = *at;
    uint32_t index = 0;

    if (*c < '0' || *c > '9' || (*c == '0' && c[1] != '.'))
        return false;
    for (; *c >= '0' && *c <= '9'; c++) {
        index = 10 * index + (uint32_t)(*c - '0');
        if (index > max)
            return false;
    }
    if (*c != '.')
        return false;
    *at = c + 1;
    *ret_index = index;
    return true;
}

static bool take_word(const char **at, const char *word)
{
    size_t length = strlen(word);

    if (strncmp(*at, word, length) != 0)
        return false;
    *at += length;
    return true;
}

/* The entry of a layer's gates, ups or downs; made when the first of them is met. */
static int stack_get(Table *t, uint32_t layer, int part, const Tensor *matrix,
                     GgufTensor **ret_stack)
{
    GgufTensor *stack = &t->stacks[layer * N_PARTS + (unsigned)part];
    uint32_t n = t->shape->n_experts;

    if (!stack->name) {
        if (asprintf(&stack->name, "blk.%u.%s.weight", layer, part_names[part]) < 0) {
            stack->name = NULL;
            return folder_fail(t->error, -ENOMEM, "no memory for a tensor's name");
        }
        stack->experts = calloc(n, sizeof *stack->experts);
        if (!stack->experts)
            return folder_fail(t->error, -ENOMEM, "no memory for the experts");
        stack->tensor = (Tensor){NULL, matrix->dtype, 3, {matrix->ne[0], matrix->ne[1], n, 1}};
    }
    *ret_stack = stack;
    return 0;
}

/* Expert `index` of a layer; name is the file's. */
static int expert_add(Table *t, const char *name, uint32_t layer, int part, uint32_t index,
                      const Tensor *matrix)
{
    GgufTensor *stack = NULL;
    int r = stack_get(t, layer, part, matrix, &stack);

    if (r < 0)
        return r;
    if (stack->experts[index])
        return folder_fail(t->error, -EBADMSG, "tensor '%s' comes in two layouts", name);
    if (matrix->dtype != stack->tensor.dtype || matrix->ne[0] != stack->tensor.ne[0] ||
        matrix->ne[1] != stack->tensor.ne[1])
        return folder_fail(t->error, -EBADMSG,
                           "tensor '%s' has another type or shape than the experts before it",
                           name);
    stack->experts[index] = matrix->data;
    return 0;
}

static int add_single(Table *t, const SafeTensor *tensor, uint32_t layer, const char *rest)
{
    uint32_t index;

    if (take_index(&rest, t->shape->n_experts - 1, &index))
        for (int part = 0; part < N_PARTS; part++)
            if (strcmp(rest, parts[part]) == 0) {
                if (tensor->tensor.n_dims != 2)
                    return folder_fail(t->error, -EBADMSG, "tensor '%s' has %u dimensions, not 2",
                                       tensor->name, tensor->tensor.n_dims);
                return expert_add(t, tensor->name, layer, part, index, &tensor->tensor);
            }
    return folder_fail(t->error, -EBADMSG, "tensor '%s' is not of this family", tensor->name);
}

/* [rows, columns] to [columns, rows]. */
static void turn(const char *from, char *to, int64_t rows, int64_t columns, size_t size)
{
    enum { TILE = 16 }; /* lines of the cache in both directions */

    for (int64_t top = 0; top < rows; top += TILE)
        for (int64_t left = 0; left < columns; left++)
            for (int64_t i = top; i < rows && i < top + TILE; i++)
                memcpy(to + (size_t)(left * rows + i) * size,
                       from + (size_t)(i * columns + left) * size, size);
}

/* A copy of all experts, turned over; it belongs to the tables. */
static int stack_turn(Table *t, const SafeTensor *tensor, Tensor *ret_turned)
{
    const Tensor *from = &tensor->tensor;
    size_t size = dtype_row_bytes(from->dtype, 1), bytes = tensor_bytes(from);
    char *copy = gguf_own(t->gguf, bytes);

    if (!copy)
        return folder_fail(t->error, -ENOMEM, "no memory to turn tensor '%s' over", tensor->name);
    for (int64_t i = 0; i < from->ne[2]; i++) {
        Tensor slab = tensor_slab(from, i);

        turn(slab.data, copy + (size_t)i * (bytes / (size_t)from->ne[2]), from->ne[1], from->ne[0],
             size);
    }
    *ret_turned = *from;
    ret_turned->data = copy;
    ret_turned->ne[0] = from->ne[1];
    ret_turned->ne[1] = from->ne[0];
    return 0;
}

static bool has_shape(const Tensor *t, int64_t columns, int64_t rows)
{
    return t->ne[0] == columns && t->ne[1] == rows;
}

/* The experts of a layer in one tensor: those that n_parts in turn are cut from each slab. A square
 * one is taken as it lies. */
static int add_fused(Table *t, const SafeTensor *tensor, uint32_t layer, int first, int n_parts)
{
    const FolderShape *s = t->shape;
    int64_t columns = first == GATE ? s->d_model : s->d_expert;
    int64_t rows = first == GATE ? 2 * (int64_t)s->d_expert : s->d_model;
    Tensor whole = tensor->tensor;
    int r = 0;

    if (whole.n_dims != 3 || whole.ne[2] != s->n_experts ||
        (!has_shape(&whole, columns, rows) && !has_shape(&whole, rows, columns)))
        return folder_fail(t->error, -EBADMSG,
                           "tensor '%s' does not have the shape of the %u experts in config.json",
                           tensor->name, s->n_experts);
    if (!has_shape(&whole, columns, rows))
        r = stack_turn(t, tensor, &whole);
    for (uint32_t i = 0; i < s->n_experts && r == 0; i++)
        for (int part = 0; part < n_parts && r == 0; part++) {
            Tensor slab = tensor_slab(&whole, i);
            Tensor matrix = tensor_rows(&slab, part * (rows / n_parts), rows / n_parts);

            r = expert_add(t, tensor->name, layer, first + part, i, &matrix);
        }
    return r;
}

static int add_of_layer(Table *t, const SafeTensor *tensor, uint32_t layer, const char *rest)
{
    char name[64];

    if (strcmp(rest, "self_attn.rotary_emb.inv_freq") == 0)
        return 0; /* follows from the keys */
    int r = check_readable(t, tensor);
    if (r < 0)
        return r;
    if (strcmp(rest, "mlp.experts.gate_up_proj") == 0)
        return add_fused(t, tensor, layer, GATE, 2);
    if (strcmp(rest, "mlp.experts.down_proj") == 0)
        return add_fused(t, tensor, layer, DOWN, 1);
    if (take_word(&rest, "mlp.experts."))
        return add_single(t, tensor, layer, rest);
    for (size_t i = 0; i < sizeof layer_names / sizeof *layer_names; i++)
        if (strcmp(rest, layer_names[i].theirs) == 0) {
            snprintf(name, sizeof name, "blk.%u.%s", layer, layer_names[i].ours);
            return entry_add(t, name, &tensor->tensor);
        }
    return folder_fail(t->error, -EBADMSG, "tensor '%s' is not of this family", tensor->name);
}

static int add_tensor(Table *t, const SafeTensor *tensor)
{
    const char *rest = tensor->name;
    uint32_t layer;

    if (take_word(&rest, "model.layers.")) {
        if (!take_index(&rest, t->shape->n_layers - 1, &layer))
            return folder_fail(t->error, -EBADMSG, "tensor '%s' is of none of the %u layers",
                               tensor->name, t->shape->n_layers);
        return add_of_layer(t, tensor, layer, rest);
    }
    for (size_t i = 0; i < sizeof model_names / sizeof *model_names; i++)
        if (strcmp(tensor->name, model_names[i].theirs) == 0) {
            int r = check_readable(t, tensor);

            if (r < 0 || (t->shape->tied && strcmp(tensor->name, "lm_head.weight") == 0))
                return r;
            return entry_add(t, model_names[i].ours, &tensor->tensor);
        }
    return folder_fail(t->error, -EBADMSG, "tensor '%s' is not of this family", tensor->name);
}

/* Stacks go into the table when all of their experts are there. */
static int stacks_finish(Table *t)
{
    for (uint32_t i = 0; i < t->shape->n_layers * N_PARTS; i++) {
        GgufTensor *stack = &t->stacks[i];

        for (uint32_t e = 0; stack->name && e < t->shape->n_experts; e++)
            if (!stack->experts[e])
                return folder_fail(t->error, -EBADMSG,
                                   "tensor 'model.layers.%u.mlp.experts.%u.%s' is missing",
                                   i / N_PARTS, e, parts[i % N_PARTS]);
        if (!stack->name)
            continue;
        t->gguf->tensors[t->gguf->n_tensors++] = *stack;
        *stack = (GgufTensor){0};
    }
    return 0;
}

static int check_head(const Table *t)
{
    if (t->shape->tied)
        return 0;
    for (size_t i = 0; i < t->gguf->n_tensors; i++)
        if (strcmp(t->gguf->tensors[i].name, "output.weight") == 0)
            return 0;
    return folder_fail(t->error, -EBADMSG,
                       "tensor 'lm_head.weight' is missing, and tie_word_embeddings is false");
}

int folder_tensors(const SafeTensor *const *tensors, size_t n, const FolderShape *shape, Gguf *gguf,
                   const FolderError *error)
{
    size_t n_stacks = (size_t)shape->n_layers * N_PARTS;
    Table t = {.shape = shape, .gguf = gguf, .room = n + n_stacks, .error = error};
    int r = 0;

    gguf->tensors = calloc(t.room + 1, sizeof *gguf->tensors);
    t.stacks = calloc(n_stacks, sizeof *t.stacks);
    if (!gguf->tensors || !t.stacks)
        r = folder_fail(error, -ENOMEM, "no memory for %zu tensors", n);
    for (size_t i = 0; i < n && r == 0; i++)
        r = add_tensor(&t, tensors[i]);
    if (r == 0)
        r = stacks_finish(&t);
    if (r == 0)
        r = check_head(&t);
    for (size_t i = 0; t.stacks && i < n_stacks; i++) {
        free(t.stacks[i].name);
        free(t.stacks[i].experts);
    }
    free(t.stacks);
    return r;
}
