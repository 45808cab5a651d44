#pragma once

/*
 * Where models are looked for: perceptd/models in the user's data folder, on the session bus only,
 * then in the system's. A model is a GGUF file, or a folder as model authors publish it, which
 * config.json tells.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_FOLDERS_MAX 8

typedef struct ModelFolders {
    const char *list[MODEL_FOLDERS_MAX + 1]; /* NULL-terminated */
    unsigned n;
} ModelFolders;

int model_folders_init(ModelFolders *f, bool user);
void model_folders_deinit(ModelFolders *f);

/* What tells the files of a model from others that have been in their place. */
typedef struct ModelFiles {
    uint64_t device, inode, bytes;
    int64_t changed_nsec; /* the last of them */
    bool folder;
} ModelFiles;

/* Whether this is a model's: a name in the folder that a descriptor is open on, or a path, which
 * may have any ending. */
bool model_files(int folder, const char *name, ModelFiles *ret_files);
bool model_files_same(const ModelFiles *a, const ModelFiles *b);

/* The name of a model, given that or a path: what stands behind the last slash, without the
 * ending. False: it is empty or too long, and cut then. */
bool model_name(const char *path, char *ret_name, size_t size);
/* A name is looked for in the folders, in order, as a file before a folder; a path stands for
 * itself. -ENOENT, or why it cannot be read. */
int model_find(const char *model, const char *const *folders, char *ret_path, size_t size);
