#pragma once

/*
 * Where models are looked for: perceptd/models in the user's data folder, on the session bus only,
 * then in the system's.
 */

#include <stdbool.h>

#define MODEL_FOLDERS_MAX 8

typedef struct ModelFolders {
    const char *list[MODEL_FOLDERS_MAX + 1]; /* NULL-terminated */
    unsigned n;
} ModelFolders;

int model_folders_init(ModelFolders *f, bool user);
void model_folders_deinit(ModelFolders *f);
