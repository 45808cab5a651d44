/*
 * The vector index on damaged files: whatever stands in them, a call ends with an error or with
 * what its contract says. The index itself makes sound files once, closed ones and such as a killed
 * process leaves; an input chooses between them with its first byte and then damages them:
 *   u8 which file, u16 where, u8 how many bytes, the bytes    0 bytes: the file ends there
 */

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fusion/index.h"
#include "tests/fuzz/fuzz.h"

#define LIMIT     5
#define FILES_MAX 8
#define NAME_SIZE 64

typedef struct File {
    char name[NAME_SIZE];
    uint8_t *data;
    size_t size;
} File;

typedef struct Files {
    File files[FILES_MAX];
    size_t n;
} Files;

static Files closed, killed;
static int folder_fd = -1;
static char folder[NAME_SIZE];
static float vector[INDEX_VECTOR];
static const IndexWish wish = {.text_bytes = 100, .max_bytes = 1 << 20};
static const uint8_t digest[INDEX_DIGEST] = "0123456789abcdef0123456789abcde";
static const uint8_t other[INDEX_DIGEST] = "another";

#define CHECK(expression)                                                                          \
    do {                                                                                           \
        if (!(expression))                                                                         \
            abort();                                                                               \
    } while (0)

static void file_read(const char *name, File *ret_file)
{
    int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC);
    struct stat st;

    CHECK(fd >= 0 && fstat(fd, &st) == 0 && strlen(name) < NAME_SIZE);
    strcpy(ret_file->name, name);
    ret_file->size = (size_t)st.st_size;
    ret_file->data = malloc(ret_file->size + 1);
    CHECK(ret_file->data && read(fd, ret_file->data, ret_file->size) == st.st_size);
    close(fd);
}

static void file_write(const File *f, const uint8_t *data, size_t size)
{
    int fd = openat(folder_fd, f->name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
}

/* Calls back for each file of the folder, in the order of their names. */
static void folder_walk(void (*visit)(const char *name, Files *files), Files *files)
{
    struct dirent **names;
    int n = scandir(folder, &names, NULL, alphasort);

    CHECK(n >= 0);
    for (int i = 0; i < n; i++) {
        if (names[i]->d_name[0] != '.')
            visit(names[i]->d_name, files);
        free(names[i]);
    }
    free(names);
}

/* Not the shared memory, which does not outlive a process. */
static void file_keep(const char *name, Files *files)
{
    if (strstr(name, "-shm"))
        return;
    CHECK(files->n < FILES_MAX);
    file_read(name, &files->files[files->n++]);
}

static void file_remove(const char *name, Files *files)
{
    (void)files;
    unlinkat(folder_fd, name, 0);
}

static void folder_remove(void)
{
    folder_walk(file_remove, NULL);
    rmdir(folder);
    for (size_t i = 0; i < FILES_MAX; i++) {
        free(closed.files[i].data);
        free(killed.files[i].data);
    }
}

static void put(Index *x, const char *const *ids, size_t n)
{
    const IndexPair pair = {"kind", "odd"};

    for (size_t i = 0; i < n; i++) {
        IndexItem item = {
            .id = ids[i], .text = ids[i], .pairs = &pair, .n_pairs = i % 2, .vector = vector};

        vector[i] = -vector[i]; /* so that no two are alike */
        CHECK(index_put(x, "c", digest, &item, 1) == 0);
    }
}

static void search(Index *x, const IndexPair *pair, size_t offset)
{
    const IndexQuery q = {.vector = vector,
                          .modalities = pair ? 1u << MODALITY_TEXT : 0,
                          .pairs = pair,
                          .n_pairs = pair != NULL,
                          .offset = offset,
                          .limit = LIMIT,
                          .min_score = -1};
    IndexRecords hits;
    bool more;

    if (index_search(x, "c", digest, &q, &wish, &hits, &more) < 0)
        return;
    CHECK(hits.n <= LIMIT);
    for (size_t i = 0; i < hits.n; i++) {
        const IndexRecord *hit = &hits.list[i];

        CHECK(hit->id && hit->modality < _MODALITY_COUNT && hit->rank == offset + i + 1 &&
              isfinite(hit->score) && (i == 0 || hit->score <= hit[-1].score));
    }
    index_records_free(&hits);
}

static void make_sound_files(void)
{
    static const char *const first[] = {"i1", "i2", "i3", "i4", "i5", "i6"};
    static const char *const then[] = {"i7", "i2"};
    /* In memory where there is such a folder: SQLite waits for the disk. */
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    Index *x;

    snprintf(folder, sizeof folder, "%s/fuzz-index.XXXXXX", base);
    CHECK(mkdtemp(folder));
    folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    CHECK(folder_fd >= 0 && atexit(folder_remove) == 0);
    for (size_t i = 0; i < INDEX_VECTOR; i++)
        vector[i] = i % 3 ? 0.0625f : -0.0625f;
    CHECK(index_open(folder, NULL, 0, &x) == 0 && index_collection(x, "c") == 0);
    put(x, first, 6);
    search(x, NULL, 0);
    index_close(x);
    folder_walk(file_keep, &closed);
    CHECK(index_open(folder, NULL, 0, &x) == 0);
    put(x, then, 2);
    search(x, NULL, 0);
    folder_walk(file_keep, &killed);
    index_close(x);
}

static void damage(const Files *sound, const uint8_t *data, size_t size)
{
    File files[FILES_MAX];

    folder_walk(file_remove, NULL);
    memcpy(files, sound->files, sizeof files);
    for (size_t i = 0; i < sound->n; i++) {
        files[i].data = malloc(files[i].size + 1);
        CHECK(files[i].data);
        memcpy(files[i].data, sound->files[i].data, files[i].size);
    }
    while (size >= 4) {
        File *f = &files[data[0] % sound->n];
        size_t at = f->size ? (data[1] | (size_t)data[2] << 8) % f->size : 0, n = data[3];

        data += 4;
        size -= 4;
        if (n == 0)
            f->size = at;
        n = n < size ? n : size;
        memcpy(f->data + at, data, n < f->size - at ? n : f->size - at);
        data += n;
        size -= n;
    }
    for (size_t i = 0; i < sound->n; i++) {
        file_write(&files[i], files[i].data, files[i].size);
        free(files[i].data);
    }
}

static void read_all(Index *x)
{
    const IndexPair pair = {"kind", "odd"};
    const char *const id = "i1";
    IndexCollection *list;
    IndexRecords found;
    size_t n;

    if (index_list(x, &list, &n) >= 0)
        free(list);
    search(x, NULL, 0);
    search(x, &pair, 1);
    if (index_get(x, "c", &id, 1, &wish, &found) >= 0)
        index_records_free(&found);
}

static void write_all(Index *x)
{
    const IndexItem item = {.id = "i1", .text = "one", .vector = vector};
    const char *const ids[] = {"i2", "none"};
    IndexText *texts;
    size_t n;

    (void)index_collection(x, "d");
    (void)index_put(x, "c", digest, &item, 1);
    (void)index_remove(x, "c", ids, 2, &n);
    search(x, NULL, 0);
    if (index_rebuild_begin(x, "c", other) >= 0 &&
        index_rebuild_next(x, "c", 2, 100, &texts, &n) >= 0) {
        for (size_t i = 0; i < n; i++)
            texts[i].vector = vector;
        (void)index_rebuild_put(x, "c", other, texts, n);
        index_texts_free(texts, n);
    }
    (void)index_sync(x);
    (void)index_delete(x, "c");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Index *x;

    if (folder_fd < 0)
        make_sound_files();
    if (size == 0)
        return 0;
    damage(data[0] % 2 ? &killed : &closed, data + 1, size - 1);
    if (index_open(folder, NULL, 0, &x) >= 0) {
        read_all(x);
        write_all(x);
        index_close(x);
    }
    return 0;
}
