#pragma once

/*
 * A folder as model authors publish it: config.json, tokenizer.json, tensors in one or more
 * safetensors files. It is shown as the GGUF file that it would make: the same keys, the same
 * names of tensors, so that one table of families and one tokenizer serve both. Data is borrowed,
 * not copied, but for experts whose matrices lie turned over. Below weights.h.
 *
 * What a folder says and this form cannot hold is refused by the name of its key: nothing that
 * would change a result is passed over.
 */

#include "engine/base/gguf.h"
#include "engine/base/json.h"
#include "engine/base/safetensors.h"
#include "engine/base/weights.h"

#define FOLDER_FILES_MAX   1024
#define FOLDER_TENSORS_MAX (1 << 18)
#define FOLDER_EXPERTS_MAX 1024 /* as of the families: engine/model.c */
#define FOLDER_LAYERS_MAX  256

/* The numbers of config.json that the other files are checked against. */
typedef struct FolderShape {
    const char *family; /* general.architecture, and the keys' prefix */
    uint32_t n_layers, n_experts, d_model, d_expert, vocab_size;
    bool tied; /* the output head is the token embedding */
} FolderShape;

typedef struct FolderError {
    char *text;
    size_t size;
} FolderError;

/* Keeps a sentence and returns `error`. */
int folder_fail(const FolderError *error, int number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Fills ret_gguf from the files and marks those that were used. */
int folder_parse(WeightsFile *files, size_t n, Gguf *ret_gguf, char *error, size_t error_size);

/* folder-config.c: keys of the family. */
int folder_config(const JsonNode *config, Gguf *gguf, FolderShape *ret_shape,
                  const FolderError *error);
/* folder-tokenizer.c: keys of the tokenizer. All but the first may be NULL: tokenizer_config.json,
 * generation_config.json. */
int folder_tokenizer(const JsonNode *tokenizer, const JsonNode *tokenizer_config,
                     const JsonNode *generation, const JsonNode *config, uint32_t vocab_size,
                     Gguf *gguf, const FolderError *error);
/* folder-specials.c: which tokens begin and end a text. */
typedef struct FolderSpecials {
    const JsonNode *tokenizer, *tokenizer_config, *generation, *config;
    const WeightsString *tokens;
    size_t n_tokens;
} FolderSpecials;
int folder_specials(const FolderSpecials *s, Gguf *gguf, const FolderError *error);
/* folder-tensors.c: tensors under their new names. */
int folder_tensors(const SafeTensor *const *tensors, size_t n, const FolderShape *shape, Gguf *gguf,
                   const FolderError *error);

/* gguf-make.c: keys added one by one. -ENOMEM, or -EFBIG past GGUF_MADE_KEYS_MAX. */
#define GGUF_MADE_KEYS_MAX 64
int gguf_add_u32(Gguf *g, const char *name, uint32_t value);
int gguf_add_f32(Gguf *g, const char *name, float value);
int gguf_add_bool(Gguf *g, const char *name, bool value);
int gguf_add_string(Gguf *g, const char *name, WeightsString value);
int gguf_add_i32s(Gguf *g, const char *name, const int32_t *values, size_t n);
int gguf_add_strings(Gguf *g, const char *name, const WeightsString *values, size_t n);
/* Memory for tensors, aligned to 64, that lives as long as the tables; NULL when there is none. */
void *gguf_own(Gguf *g, size_t bytes);
