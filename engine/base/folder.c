#include "engine/base/folder.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/hash.h"

#define INDEX_NAME "model.safetensors.index.json"

/* One file of tensors, and all of them together. */
typedef struct Shard {
    const char *name;
    Safetensors content;
} Shard;

typedef struct Shards {
    Shard *list;
    size_t n;
    const SafeTensor **tensors; /* of all shards */
    uint32_t *shard_of;         /* [n_tensors] */
    size_t n_tensors;
    uint32_t *slots; /* by name: position in tensors + 1; 0 is free */
    size_t mask;
    uint64_t seed;
} Shards;

int folder_fail(const FolderError *error, int number, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error->text, error->size, format, args);
    va_end(args);
    return number;
}

static WeightsFile *file_find(WeightsFile *files, size_t n, const char *name, size_t length)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(files[i].name) == length && memcmp(files[i].name, name, length) == 0)
            return &files[i];
    return NULL;
}

/* A file of JSON; without effect when it is not there. */
static int json_open(WeightsFile *files, size_t n, const char *name, Json **ret_json,
                     const FolderError *error)
{
    WeightsFile *file = file_find(files, n, name, strlen(name));
    char sentence[160] = "";
    int r;

    if (!file)
        return 0;
    file->used = true;
    r = json_parse(file->data, file->size, ret_json, sentence, sizeof sentence);
    return r < 0 ? folder_fail(error, r, "%s: %s", name, sentence) : 0;
}

static const JsonNode *root_of(const Json *json)
{
    return json ? json_root(json) : NULL;
}

static int shard_parse(Shards *s, WeightsFile *file, const FolderError *error)
{
    Shard *shard = &s->list[s->n];
    char sentence[WEIGHTS_ERROR_MAX] = "";
    int r = safetensors_parse(file->data, file->size, &shard->content, sentence, sizeof sentence);

    if (r < 0)
        return folder_fail(error, r, "%.64s: %.180s", file->name, sentence);
    shard->name = file->name;
    file->used = true;
    s->n++;
    s->n_tensors += shard->content.n;
    if (s->n_tensors > FOLDER_TENSORS_MAX)
        return folder_fail(error, -EFBIG, "more than %d tensors", FOLDER_TENSORS_MAX);
    return 0;
}

/* The files that the index names, each once. */
static int shards_open(Shards *s, WeightsFile *files, size_t n, const JsonNode *map,
                       const FolderError *error)
{
    const WeightsFile *last = NULL;

    if (!json_is(map, JSON_OBJECT))
        return folder_fail(error, -EBADMSG, INDEX_NAME ": key 'weight_map' is not an object");
    for (const JsonNode *name = json_first(map); name < json_end(map); name = json_next(name + 1)) {
        const JsonNode *shard = name + 1;
        WeightsFile *file;
        int r;

        if (last && json_is_text(shard, last->name))
            continue;
        file = json_is(shard, JSON_STRING) ? file_find(files, n, shard->text, shard->count) : NULL;
        if (!file)
            return folder_fail(error, -ENOENT,
                               INDEX_NAME ": tensor '%.*s' lies in a file that is missing",
                               name->count < 96 ? (int)name->count : 96, name->text);
        last = file;
        if (!file->used && (r = shard_parse(s, file, error)) < 0)
            return r;
    }
    return 0;
}

static uint32_t *tensor_slot(const Shards *s, const char *name, size_t length)
{
    for (size_t i = hash_bytes(s->seed, name, length);; i++) {
        uint32_t *slot = &s->slots[i & s->mask];

        if (*slot == 0)
            return slot;
        if (strlen(s->tensors[*slot - 1]->name) == length &&
            memcmp(s->tensors[*slot - 1]->name, name, length) == 0)
            return slot;
    }
}

/* One list of all tensors, found by name. */
static int shards_join(Shards *s, const FolderError *error)
{
    size_t at = 0;

    s->seed = hash_seed();
    s->mask = hash_slots(s->n_tensors) - 1;
    s->slots = calloc(s->mask + 1, sizeof *s->slots);
    s->tensors = calloc(s->n_tensors + 1, sizeof *s->tensors);
    s->shard_of = calloc(s->n_tensors + 1, sizeof *s->shard_of);
    if (!s->slots || !s->tensors || !s->shard_of)
        return folder_fail(error, -ENOMEM, "no memory for %zu tensors", s->n_tensors);
    for (size_t i = 0; i < s->n; i++)
        for (size_t j = 0; j < s->list[i].content.n; j++) {
            const SafeTensor *t = &s->list[i].content.tensors[j];
            uint32_t *slot = tensor_slot(s, t->name, strlen(t->name));

            if (*slot)
                return folder_fail(error, -EBADMSG, "tensor '%s' lies in %.64s and in %.64s",
                                   t->name, s->list[s->shard_of[*slot - 1]].name, s->list[i].name);
            s->tensors[at] = t;
            s->shard_of[at++] = (uint32_t)i;
            *slot = (uint32_t)at;
        }
    return 0;
}

/* Index and files tell the same: every tensor lies where the index says, and none besides. */
static int index_check(const Shards *s, const JsonNode *map, const FolderError *error)
{
    for (const JsonNode *name = json_first(map); name < json_end(map); name = json_next(name + 1)) {
        uint32_t slot = *tensor_slot(s, name->text, name->count);

        if (slot == 0 || !json_is_text(name + 1, s->list[s->shard_of[slot - 1]].name))
            return folder_fail(error, -EBADMSG, INDEX_NAME ": tensor '%.*s' does not lie in '%.*s'",
                               name->count < 96 ? (int)name->count : 96, name->text,
                               name[1].count < 64 ? (int)name[1].count : 64, name[1].text);
    }
    if (map->count != s->n_tensors)
        return folder_fail(error, -EBADMSG, INDEX_NAME " names %u tensors, its files hold %zu",
                           map->count, s->n_tensors);
    return 0;
}

static int tensors_read(Shards *s, WeightsFile *files, size_t n, const FolderError *error)
{
    _cleanup_(json_freep) Json *index = NULL;
    WeightsFile *single = file_find(files, n, "model.safetensors", strlen("model.safetensors"));
    const JsonNode *map;
    int r = json_open(files, n, INDEX_NAME, &index, error);

    s->list = calloc(n + 1, sizeof *s->list);
    if (!s->list)
        return folder_fail(error, -ENOMEM, "no memory for %zu files", n);
    if (r == 0 && !index && !single)
        return folder_fail(error, -ENOENT, "model.safetensors or its index is missing");
    map = json_get(root_of(index), "weight_map");
    if (r == 0)
        r = index ? shards_open(s, files, n, map, error) : shard_parse(s, single, error);
    if (r == 0)
        r = shards_join(s, error);
    return r == 0 && index ? index_check(s, map, error) : r;
}

static void shards_deinit(Shards *s)
{
    for (size_t i = 0; i < s->n; i++)
        safetensors_deinit(&s->list[i].content);
    free(s->list);
    free(s->tensors);
    free(s->shard_of);
    free(s->slots);
}

static int tokenizer_read(WeightsFile *files, size_t n, const JsonNode *config,
                          const FolderShape *shape, Gguf *gguf, const FolderError *error)
{
    _cleanup_(json_freep) Json *tokenizer = NULL, *settings = NULL, *generation = NULL;
    int r = json_open(files, n, "tokenizer.json", &tokenizer, error);

    if (r == 0 && !tokenizer)
        return folder_fail(error, -ENOENT, "tokenizer.json is missing");
    if (r == 0)
        r = json_open(files, n, "tokenizer_config.json", &settings, error);
    if (r == 0)
        r = json_open(files, n, "generation_config.json", &generation, error);
    return r < 0 ? r
                 : folder_tokenizer(root_of(tokenizer), root_of(settings), root_of(generation),
                                    config, shape->vocab_size, gguf, error);
}

int folder_parse(WeightsFile *files, size_t n, Gguf *ret_gguf, char *error, size_t error_size)
{
    FolderError said = {error, error_size};
    _cleanup_(json_freep) Json *config = NULL;
    FolderShape shape = {0};
    Shards shards = {0};
    Gguf gguf = {0};
    int r = json_open(files, n, "config.json", &config, &said);

    if (r == 0 && !config)
        r = folder_fail(&said, -ENOENT, "config.json is missing");
    if (r == 0)
        r = folder_config(json_root(config), &gguf, &shape, &said);
    if (r == 0)
        r = tensors_read(&shards, files, n, &said);
    if (r == 0)
        r = folder_tensors(shards.tensors, shards.n_tensors, &shape, &gguf, &said);
    if (r == 0)
        r = tokenizer_read(files, n, json_root(config), &shape, &gguf, &said);
    shards_deinit(&shards);
    if (r < 0) {
        gguf_deinit(&gguf);
        return r;
    }
    *ret_gguf = gguf;
    return 0;
}
