#pragma once

/*
 * Where models are looked for: perceptd/models in the user's data folder, on the session bus only,
 * then in the system's.
 */

#include <stdbool.h>
#include <stddef.h>

#define MODEL_FOLDERS_MAX 8

typedef struct ModelFolders {
    const char *list[MODEL_FOLDERS_MAX + 1]; /* NULL-terminated */
    unsigned n;
} ModelFolders;

int model_folders_init(ModelFolders *f, bool user);
void model_folders_deinit(ModelFolders *f);

/* Whether a file of this name may be a model. */
bool model_is_file(const char *file);
/* The name of a model, given that or a path: what stands behind the last slash, without the
 * ending. False: it is empty or too long, and cut then. */
bool model_name(const char *path, char *ret_name, size_t size);
