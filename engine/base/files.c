#include "engine/base/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "engine/base/folder.h"

__attribute__((format(printf, 3, 4))) static int open_failed(char *ret_error, int error,
                                                             const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(ret_error, WEIGHTS_ERROR_MAX, format, args);
    va_end(args);
    return error;
}

/* What is opened never blocks, whatever it turns out to be. */
#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

/* Takes fd, and maps it as one more file of the list. */
static int file_add(Files *f, int fd, const char *name, char *ret_error)
{
    _cleanup_close_ int owned = fd;
    _cleanup_free_ char *copy = strdup(name);
    const char *what = *name ? name : "the weight file";
    struct stat st;
    void *map;

    if (!copy)
        return open_failed(ret_error, -ENOMEM, "no memory for a file");
    if (fstat(fd, &st) < 0)
        return open_failed(ret_error, -errno, "cannot open %s: %s", what, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return open_failed(ret_error, -EBADMSG, "%s is not a regular file", what);
    if (st.st_size == 0)
        return open_failed(ret_error, -EBADMSG, "%s is empty", what);
    if ((uint64_t)st.st_size > PTRDIFF_MAX)
        return open_failed(ret_error, -EFBIG, "%s is too large for this machine", what);
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return open_failed(ret_error, -errno, "cannot map %s: %s", what, strerror(errno));
    f->fds[f->n] = steal_fd(&owned);
    f->list[f->n++] = (WeightsFile){steal_ptr(&copy), map, (size_t)st.st_size, false};
    return 0;
}

static int files_reserve(Files *f, size_t n, char *ret_error)
{
    f->list = calloc(n, sizeof *f->list);
    f->fds = calloc(n, sizeof *f->fds);
    return f->list && f->fds ? 0 : open_failed(ret_error, -ENOMEM, "no memory for %zu files", n);
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);

    return n >= m && strcmp(name + n - m, end) == 0;
}

static int is_part(const struct dirent *entry)
{
    const char *name = entry->d_name;

    return strlen(name) <= NAME_MAX &&
           (ends_with(name, ".safetensors") || ends_with(name, ".safetensors.index.json") ||
            strcmp(name, "config.json") == 0 || strcmp(name, "tokenizer.json") == 0 ||
            strcmp(name, "tokenizer_config.json") == 0 ||
            strcmp(name, "generation_config.json") == 0);
}

/* In the order of the names, so that a folder has one digest. */
static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int folder_open(Files *f, int fd, char *ret_error)
{
    struct dirent **entries = NULL;
    int n = scandirat(fd, ".", &entries, is_part, compare_names), r = 0;

    if (n < 0)
        return open_failed(ret_error, -errno, "cannot read the folder: %s", strerror(errno));
    f->folder = true;
    if (n > FOLDER_FILES_MAX)
        r = open_failed(ret_error, -EFBIG, "the folder holds %d files; at most %d are read", n,
                        FOLDER_FILES_MAX);
    if (r == 0)
        r = files_reserve(f, (size_t)n + 1, ret_error);
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        int part = r == 0 ? openat(fd, name, OPEN_FLAGS) : -1;

        if (r == 0)
            r = part < 0
                    ? open_failed(ret_error, -errno, "cannot open %s: %s", name, strerror(errno))
                    : file_add(f, part, name, ret_error);
        free(entries[i]);
    }
    free(entries);
    return r;
}

int files_open(const char *path, Files *ret_files, char ret_error[WEIGHTS_ERROR_MAX])
{
    _cleanup_close_ int fd = open(path, OPEN_FLAGS);
    Files f = {0};
    struct stat st;
    int r;

    if (fd < 0 || fstat(fd, &st) < 0)
        return open_failed(ret_error, -errno, "cannot open the weight file: %s", strerror(errno));
    if (S_ISDIR(st.st_mode))
        r = folder_open(&f, fd, ret_error);
    else {
        r = files_reserve(&f, 1, ret_error);
        if (r == 0)
            r = file_add(&f, steal_fd(&fd), "", ret_error);
    }
    if (r < 0) {
        files_close(&f);
        return r;
    }
    *ret_files = f;
    return 0;
}

void files_close(Files *f)
{
    for (size_t i = 0; i < f->n; i++) {
        munmap((void *)f->list[i].data, f->list[i].size);
        close(f->fds[i]);
        free((void *)f->list[i].name);
    }
    free(f->list);
    free(f->fds);
    *f = (Files){0};
}

bool files_locate(const Files *f, const void *data, int *ret_fd, uint64_t *ret_offset)
{
    for (size_t i = 0; i < f->n; i++) {
        uintptr_t offset = (uintptr_t)data - (uintptr_t)f->list[i].data;

        if (offset < f->list[i].size) {
            *ret_fd = f->fds[i];
            *ret_offset = offset;
            return true;
        }
    }
    return false;
}
