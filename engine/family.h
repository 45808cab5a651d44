#pragma once

/*
 * The table of model families. A family is a row: its traits, what its keys are called and how
 * large they may be, and which tensors it has, with shapes in terms of those keys. Private to the
 * engine; model.c reads files by it.
 */

#include "engine/model.h"

typedef enum KeyType {
    KEY_U32,
    KEY_F32,
    KEY_BOOL,
} KeyType;

typedef struct KeyRow {
    const char *suffix; /* after "<architecture>." */
    KeyType type;
    size_t offset; /* in ModelConfig */
    double min, max;
    uint32_t multiple; /* of whole numbers: what must divide it */
    bool optional;     /* a file without it has `absent`, which need not be in range */
    double absent;
} KeyRow;

/* Sizes that a shape is written with. */
typedef enum Dim {
    DIM_NONE,
    DIM_MODEL,
    DIM_HEAD,
    DIM_ROUTED, /* groups with a gate: all but the first */
    DIM_GROUPS,
    DIM_GROUP, /* query heads of a group together */
    DIM_QUERY, /* of all groups */
    DIM_KEY,
    DIM_EXPERTS,
    DIM_FF,
    DIM_DENSITY,
    DIM_VOCAB,
    DIM_ONE,
    _DIM_COUNT,
} Dim;

/* What a tensor may be in a file, and what it is bound as. */
typedef enum TensorKind {
    TENSOR_F32,
    TENSOR_Q8_0,
    TENSOR_VECTOR,  /* F32, or widened to it */
    TENSOR_MATRIX,  /* any type that products take */
    TENSOR_SHARED,  /* of unit 0: the shared expert, Q8_0 */
    TENSOR_EXPERTS, /* of all routed experts, in any layout; offset in ExpertWeights */
} TensorKind;

typedef struct TensorRow {
    const char *name;
    TensorKind kind;
    Dim ne[3];           /* innermost first */
    size_t offset;       /* in Model, in LayerWeights, or in ExpertWeights */
    const char *instead; /* the tensor that serves when there is none of this name */
} TensorRow;

typedef struct Family {
    const char *name;   /* general.architecture */
    ModelConfig traits; /* what is not read from keys */
    const KeyRow *keys;
    size_t n_keys;
    const TensorRow *tensors; /* of the model */
    size_t n_tensors;
    const TensorRow *layer_tensors; /* of each layer, after "blk.<i>." */
    size_t n_layer_tensors;
} Family;

/* By general.architecture: -EBADMSG or -ENOTSUP, and a sentence. */
int family_find(Weights *w, const Family **ret_family);
