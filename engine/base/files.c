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

static int range_compare(const void *a, const void *b)
{
    const WeightsRange *x = a, *y = b;

    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* Reads [begin, end) of a mapping into the page cache, and not a page besides. The kernel takes
 * advice of a limited size, and leaves out the rest without a word. */
static void range_keep(const char *begin, const char *end)
{
    enum { ADVICE = 128 << 10 };
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), last = (uintptr_t)end;

    for (uintptr_t at = (uintptr_t)begin / page * page; begin < end && at < last; at += ADVICE)
        (void)madvise((void *)at, last - at < ADVICE ? last - at : ADVICE, MADV_WILLNEED);
}

/* Empties the page cache of a file and fills it again with what is not absent. Without the advice
 * a fault would have megabytes around it read, absent ones too. */
static void file_bound(const WeightsFile *f, int fd, const WeightsRange *absent, size_t n)
{
    const char *at = f->data, *end = at + f->size;

    (void)madvise((void *)f->data, f->size, MADV_RANDOM);
    (void)madvise((void *)f->data, f->size, MADV_DONTNEED);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    for (size_t i = 0; i < n; i++)
        if (absent[i].begin >= at && absent[i].begin < end) {
            range_keep(at, absent[i].begin);
            at = absent[i].end;
        }
    range_keep(at, end);
}

void files_bound(const Files *f, const WeightsFile *parts, WeightsRange *absent, size_t n)
{
    qsort(absent, n, sizeof *absent, range_compare);
    for (size_t i = 0; i < f->n; i++)
        if (parts[i].used)
            file_bound(&parts[i], f->fds[i], absent, n);
}
