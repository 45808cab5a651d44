#include "daemon/models.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"

#define ENDING ".gguf"

/* Adds base/rest, with base's part up to `length`. Folders past the ceiling are left out. */
static int add(ModelFolders *f, const char *base, int length, const char *rest)
{
    char *folder;

    if (length == 0 || f->n == MODEL_FOLDERS_MAX)
        return 0;
    if (asprintf(&folder, "%.*s%s", length, base, rest) < 0)
        return -ENOMEM;
    f->list[f->n++] = folder;
    return 0;
}

static int add_user(ModelFolders *f)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");

    if (data && *data == '/')
        return add(f, data, (int)strlen(data), "/perceptd/models");
    return home ? add(f, home, (int)strlen(home), "/.local/share/perceptd/models") : 0;
}

static int add_system(ModelFolders *f)
{
    const char *dirs = getenv("XDG_DATA_DIRS");
    int r = add(f, PKGDATADIR, (int)strlen(PKGDATADIR), "/models");

    if (!dirs || !*dirs)
        dirs = "/usr/local/share:/usr/share";
    while (r >= 0 && *dirs) {
        size_t n = strcspn(dirs, ":");
        if (*dirs == '/')
            r = add(f, dirs, (int)n, "/perceptd/models");
        dirs += n + (dirs[n] == ':');
    }
    return r;
}

static bool has_ending(const char *file, size_t length)
{
    return length > strlen(ENDING) && strcmp(file + length - strlen(ENDING), ENDING) == 0;
}

bool model_is_file(const char *file)
{
    return *file != '.' && has_ending(file, strlen(file));
}

bool model_name(const char *path, char *ret_name, size_t size)
{
    const char *base = strrchr(path, '/');
    size_t n;

    base = base ? base + 1 : path;
    n = strlen(base);
    if (has_ending(base, n))
        n -= strlen(ENDING);
    snprintf(ret_name, size, "%.*s", (int)n, base);
    return n > 0 && n < size;
}

int model_folders_init(ModelFolders *f, bool user)
{
    int r;

    *f = (ModelFolders){0};
    r = user ? add_user(f) : 0;
    if (r >= 0)
        r = add_system(f);
    if (r < 0)
        model_folders_deinit(f);
    return r;
}

void model_folders_deinit(ModelFolders *f)
{
    for (unsigned i = 0; i < f->n; i++)
        free((void *)f->list[i]);
    *f = (ModelFolders){0};
}
