#include "daemon/models.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base/cleanup.h"

#define ENDING  ".gguf"
#define TENSORS ".safetensors"

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

static bool is_weights(const char *file)
{
    static const char *const parts[] = {"config.json", "tokenizer.json", "tokenizer_config.json",
                                        "generation_config.json"};
    size_t n = strlen(file), m = strlen(TENSORS);

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strcmp(file, parts[i]) == 0)
            return true;
    return n > m && strcmp(file + n - m, TENSORS) == 0;
}

static void files_add(ModelFiles *f, const struct stat *st)
{
    int64_t changed = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;

    f->bytes += (uint64_t)st->st_size;
    f->changed_nsec = changed > f->changed_nsec ? changed : f->changed_nsec;
}

/* Takes fd, of a folder. */
static bool folder_files(int fd, ModelFiles *f)
{
    DIR *folder = fdopendir(fd);
    bool configured = false;
    struct dirent *d;
    struct stat st;

    if (!folder) {
        close(fd);
        return false;
    }
    while ((d = readdir(folder)))
        if (is_weights(d->d_name) && fstatat(dirfd(folder), d->d_name, &st, 0) == 0 &&
            S_ISREG(st.st_mode)) {
            configured = configured || strcmp(d->d_name, "config.json") == 0;
            files_add(f, &st);
        }
    closedir(folder);
    return configured;
}

bool model_files(int folder, const char *name, ModelFiles *ret_files)
{
    const char *slash = strrchr(name, '/');
    ModelFiles f = {0};
    struct stat st;
    int fd;

    if (*(slash ? slash + 1 : name) == '.' || fstatat(folder, name, &st, 0) < 0)
        return false;
    f.device = st.st_dev;
    f.inode = st.st_ino;
    f.folder = S_ISDIR(st.st_mode);
    if (f.folder) {
        fd = has_ending(name, strlen(name))
                 ? -1
                 : openat(folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || !folder_files(fd, &f))
            return false;
    } else if (S_ISREG(st.st_mode) && (slash || has_ending(name, strlen(name))))
        files_add(&f, &st);
    else
        return false;
    *ret_files = f;
    return true;
}

bool model_files_same(const ModelFiles *a, const ModelFiles *b)
{
    return a->device == b->device && a->inode == b->inode && a->bytes == b->bytes &&
           a->changed_nsec == b->changed_nsec;
}

bool model_name(const char *path, char *ret_name, size_t size)
{
    size_t end = strlen(path), begin;

    while (end > 0 && path[end - 1] == '/')
        end--;
    for (begin = end; begin > 0 && path[begin - 1] != '/';)
        begin--;
    if (has_ending(path + begin, end - begin))
        end -= strlen(ENDING);
    snprintf(ret_name, size, "%.*s", (int)(end - begin), path + begin);
    return end > begin && end - begin < size;
}

/* base/model with an ending, if that can be read. */
static bool found(const char *base, const char *model, const char *ending, char *path, size_t size)
{
    int n = snprintf(path, size, "%s/%s%s", base, model, ending);

    return n >= 0 && (size_t)n < size && access(path, R_OK) == 0;
}

int model_find(const char *model, const char *const *folders, char *ret_path, size_t size)
{
    if (strchr(model, '/')) {
        int n = snprintf(ret_path, size, "%s", model);
        return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : access(ret_path, R_OK) < 0 ? -errno : 0;
    }
    if (*model == '.')
        return -ENOENT; /* of no model, model_files() */
    for (; *folders; folders++) {
        if (found(*folders, model, ENDING, ret_path, size))
            return 0;
        if (found(*folders, model, "/config.json", ret_path, size)) {
            *strrchr(ret_path, '/') = '\0';
            return 0;
        }
    }
    return -ENOENT;
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
