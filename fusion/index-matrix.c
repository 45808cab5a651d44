/*
 * A matrix is two files: <collection's id>.rows, a Header and MatrixRow [n], and <id>.vectors,
 * uint8_t [n, INDEX_VECTOR], which are int8 moved up by 128.
 *
 * It is no more than a copy of what the database says, in the form that a search reads fastest. It
 * carries the database's generation, which every write changes, and a sum over its content. A write
 * appends to it: vectors first, then rows, and the header last, so that a process that ends
 * half-way leaves a generation that fits no more. What a failure of the machine leaves is found by
 * the sum, which is compared once after opening. A matrix that does not fit is made anew.
 *
 * It is written by calls and read by a map: a full disk is an error then, and no signal.
 */

#include "fusion/index-private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define MAGIC         0x32696d7470637270 /* "prcptmi2" */
#define ROWS_MAX      (INDEX_ITEMS_MAX + INDEX_ITEMS_MAX / 4)
#define ROWS_AT       sizeof(Header)
#define ROWS_BYTES    (ROWS_AT + ROWS_MAX * sizeof(MatrixRow))
#define VECTORS_BYTES ((size_t)ROWS_MAX * INDEX_VECTOR)
#define NAME_BYTES    40
#define FILL_ROWS     1024
#define DEAD_LEAST    1024 /* so many rows may be dead before their share counts */

typedef struct Header {
    uint64_t magic;
    int64_t collection, generation;
    uint64_t n, n_dead, sum, zero[2];
} Header;

int change_init(MatrixChange *change, size_t max_added, size_t max_removed)
{
    *change = (MatrixChange){
        .added = calloc(max_added + 1, sizeof *change->added),
        .vectors = malloc(max_added * INDEX_VECTOR + 1),
        .removed = calloc(max_removed + 1, sizeof *change->removed),
    };
    return change->added && change->vectors && change->removed ? 0 : -ENOMEM;
}

void change_deinit(MatrixChange *change)
{
    free(change->added);
    free(change->vectors);
    free(change->removed);
}

static void vector_lift(const int8_t *bytes, uint8_t *out)
{
    for (size_t i = 0; i < INDEX_VECTOR; i++)
        out[i] = (uint8_t)(bytes[i] + 128);
}

void change_add(MatrixChange *change, int64_t row, Modality modality, const Quantised *q)
{
    change->added[change->n_added] =
        (MatrixRow){.id = row, .scale = q->scale, .modality = (uint8_t)modality};
    vector_lift(q->bytes, change->vectors + change->n_added++ * INDEX_VECTOR);
}

/* What a living row adds to the sum, and a dead one besides. */
static uint64_t row_sum(const MatrixRow *row, const uint8_t *vector)
{
    uint64_t sum = (uint64_t)row->id * 0x9e3779b97f4a7c15, word;
    uint32_t scale;

    memcpy(&scale, &row->scale, sizeof scale);
    sum += scale | (uint64_t)row->modality << 32;
    for (size_t i = 0; i < INDEX_VECTOR; i += sizeof word) {
        memcpy(&word, vector + i, sizeof word);
        sum = (sum ^ word) * 0xff51afd7ed558ccd;
        sum ^= sum >> 29;
    }
    return sum;
}

static uint64_t dead_sum(const MatrixRow *row)
{
    return ((uint64_t)row->id + 1) * 0xc4ceb9fe1a85ec53;
}

void matrix_close(Matrix *m)
{
    if (m->collection == 0)
        return;
    if (m->map)
        munmap(m->map, ROWS_BYTES);
    if (m->vectors)
        munmap((void *)m->vectors, VECTORS_BYTES);
    *m = (Matrix){0};
}

/* The two files, open only while something is written: many collections need no descriptors. */
typedef struct Files {
    int rows, vectors;
} Files;

static void files_close(Files *f)
{
    if (f->rows >= 0)
        close(f->rows);
    if (f->vectors >= 0)
        close(f->vectors);
}

typedef struct Names {
    char rows[NAME_BYTES], vectors[NAME_BYTES];
} Names;

static Names names_of(int64_t collection)
{
    Names names;

    snprintf(names.rows, NAME_BYTES, "%" PRId64 ".rows", collection);
    snprintf(names.vectors, NAME_BYTES, "%" PRId64 ".vectors", collection);
    return names;
}

static void unlink_files(Index *x, int64_t collection)
{
    Names names = names_of(collection);

    unlinkat(x->folder_fd, names.rows, 0);
    unlinkat(x->folder_fd, names.vectors, 0);
}

void matrix_forget(Index *x, int64_t collection)
{
    for (size_t i = 0; i < INDEX_MATRICES; i++)
        if (x->matrices[i].collection == collection)
            matrix_close(&x->matrices[i]);
    unlink_files(x, collection);
}

static int write_all(int fd, const void *data, size_t size, uint64_t at)
{
    while (size > 0) {
        ssize_t n = pwrite(fd, data, size, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data = (const char *)data + n;
        size -= (size_t)n;
        at += (size_t)n;
    }
    return 0;
}

static int write_header(const Files *f, const Matrix *m)
{
    const Header h = {MAGIC, m->collection, m->generation, m->n, m->n_dead, m->sum, {0}};

    return write_all(f->rows, &h, sizeof h, 0);
}

static int append(const Files *f, Matrix *m, const MatrixRow *rows, const uint8_t *vectors,
                  size_t n)
{
    int r;

    if (n > ROWS_MAX - m->n)
        return -EDQUOT;
    r = write_all(f->vectors, vectors, n * INDEX_VECTOR, m->n * INDEX_VECTOR);
    if (r >= 0)
        r = write_all(f->rows, rows, n * sizeof *rows, ROWS_AT + m->n * sizeof *rows);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        m->sum += row_sum(&rows[i], vectors + i * INDEX_VECTOR);
    m->n += n;
    return 0;
}

/* Rows stand in the order of their ids. */
static const MatrixRow *find_row(const Matrix *m, int64_t id)
{
    size_t low = 0, high = m->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->rows[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < m->n && m->rows[low].id == id ? &m->rows[low] : NULL;
}

static int bury(const Files *f, Matrix *m, int64_t id)
{
    const MatrixRow *row = find_row(m, id);
    MatrixRow dead;

    if (!row || row->dead)
        return 0;
    dead = *row;
    dead.dead = 1;
    m->sum += dead_sum(row);
    m->n_dead++;
    return write_all(f->rows, &dead, sizeof dead,
                     ROWS_AT + (uint64_t)(row - m->rows) * sizeof dead);
}

static int map(const Files *f, Matrix *m)
{
    void *rows = mmap(NULL, ROWS_BYTES, PROT_READ, MAP_SHARED | MAP_NORESERVE, f->rows, 0);
    void *vectors = mmap(NULL, VECTORS_BYTES, PROT_READ, MAP_SHARED | MAP_NORESERVE, f->vectors, 0);

    m->map = rows == MAP_FAILED ? NULL : rows;
    m->vectors = vectors == MAP_FAILED ? NULL : vectors;
    if (!m->map || !m->vectors)
        return -ENOMEM;
    m->rows = (const MatrixRow *)(const void *)((const char *)m->map + ROWS_AT);
    return 0;
}

static bool size_is(int fd, uint64_t least)
{
    struct stat st;

    return fstat(fd, &st) == 0 && (uint64_t)st.st_size >= least;
}

static int open_files(Index *x, int64_t collection, int flags, Files *ret_files)
{
    Names names = names_of(collection);
    Files f = {-1, -1};

    flags |= O_RDWR | O_CLOEXEC | O_NOFOLLOW;
    f.rows = openat(x->folder_fd, names.rows, flags, 0600);
    if (f.rows >= 0)
        f.vectors = openat(x->folder_fd, names.vectors, flags, 0600);
    if (f.vectors < 0) {
        int r = -errno;
        files_close(&f);
        return r;
    }
    *ret_files = f;
    return 0;
}

/* The files as they were left; -ESTALE: they are not those of this generation. */
static int reopen(Index *x, Matrix *m, int64_t collection, int64_t generation)
{
    _cleanup_(files_close) Files f = {-1, -1};
    Header h;
    int r;

    *m = (Matrix){.collection = collection};
    r = open_files(x, collection, 0, &f);
    if (r < 0)
        return r;
    if (pread(f.rows, &h, sizeof h, 0) != sizeof h || h.magic != MAGIC ||
        h.collection != collection || h.generation != generation || h.n > ROWS_MAX ||
        h.n_dead > h.n || !size_is(f.rows, ROWS_AT + h.n * sizeof(MatrixRow)) ||
        !size_is(f.vectors, h.n * INDEX_VECTOR))
        return -ESTALE;
    r = map(&f, m);
    if (r < 0)
        return r;
    m->generation = generation;
    m->n = h.n;
    m->n_dead = h.n_dead;
    m->sum = h.sum;
    return 0;
}

/* Whether all is there that the header counts. */
static bool check(Matrix *m)
{
    uint64_t sum = 0;
    size_t n_dead = 0;
    int64_t before = 0;

    for (size_t i = 0; i < m->n; i++) {
        const MatrixRow *row = &m->rows[i];

        if (row->id <= before || row->modality >= _MODALITY_COUNT || row->dead > 1 ||
            !isfinite(row->scale))
            return false;
        before = row->id;
        sum += row_sum(row, m->vectors + i * INDEX_VECTOR);
        if (row->dead) {
            sum += dead_sum(row);
            n_dead++;
        }
    }
    m->checked = sum == m->sum && n_dead == m->n_dead;
    return m->checked;
}

static int read_row(Statement s, MatrixRow *row, uint8_t *vector)
{
    int modality = sqlite3_column_int(s, 1);

    *row = (MatrixRow){.id = sqlite3_column_int64(s, 0),
                       .scale = (float)sqlite3_column_double(s, 2),
                       .modality = (uint8_t)modality};
    if (sqlite3_column_bytes(s, 3) != INDEX_VECTOR || modality < 0 || modality >= _MODALITY_COUNT ||
        !isfinite(row->scale))
        return -EBADMSG;
    vector_lift(sqlite3_column_blob(s, 3), vector);
    return 0;
}

static int fill(Index *x, const Files *f, Matrix *m, Statement s)
{
    _cleanup_(change_deinit) MatrixChange batch = {0};
    int r = change_init(&batch, FILL_ROWS, 0);

    while (r >= 0 && (r = index_step(x, s)) > 0) {
        r = read_row(s, &batch.added[batch.n_added], batch.vectors + batch.n_added * INDEX_VECTOR);
        if (r >= 0 && ++batch.n_added == FILL_ROWS) {
            r = append(f, m, batch.added, batch.vectors, batch.n_added);
            batch.n_added = 0;
        }
    }
    return r < 0 ? r : append(f, m, batch.added, batch.vectors, batch.n_added);
}

/* Of the database, into files that are empty. */
static int make(Index *x, const Collection *c, const Files *f, Matrix *m)
{
    _cleanup_statement_ Statement s = NULL;
    int r = index_prepare(x,
                          "SELECT id, modality, scale, bytes FROM items"
                          " WHERE collection = ? AND epoch = ? ORDER BY id",
                          &s);

    if (r < 0)
        return r;
    sqlite3_bind_int64(s, 1, c->id);
    sqlite3_bind_int64(s, 2, c->epoch);
    r = fill(x, f, m, s);
    if (r < 0)
        return r;
    m->generation = c->generation;
    m->checked = true;
    r = write_header(f, m);
    return r < 0 ? r : map(f, m);
}

/* Files that cannot be written, on a full disk perhaps, are no reason not to search: memory will
 * do. */
static int remake(Index *x, const Collection *c, Matrix *m)
{
    _cleanup_(files_close) Files f = {-1, -1}, memory = {-1, -1};
    int r;

    matrix_forget(x, c->id);
    *m = (Matrix){.collection = c->id};
    r = open_files(x, c->id, O_CREAT | O_EXCL, &f);
    if (r >= 0)
        r = make(x, c, &f, m);
    if (r >= 0 || r == -EBADMSG || r == -ENOMEM)
        return r;
    matrix_forget(x, c->id);
    *m = (Matrix){.collection = c->id, .in_memory = true};
    memory.rows = memfd_create("rows", MFD_CLOEXEC);
    memory.vectors = memfd_create("vectors", MFD_CLOEXEC);
    return memory.rows < 0 || memory.vectors < 0 ? -EMFILE : make(x, c, &memory, m);
}

/* An open one, or a place for it: that used longest ago. */
static Matrix *matrix_slot(Index *x, int64_t collection)
{
    Matrix *best = &x->matrices[0];

    for (size_t i = 0; i < INDEX_MATRICES; i++)
        if (x->matrices[i].collection == collection)
            return &x->matrices[i];
        else if (x->matrices[i].used < best->used)
            best = &x->matrices[i];
    matrix_close(best);
    return best;
}

static Matrix *matrix_at(Index *x, int64_t collection, int64_t generation)
{
    Matrix *m = matrix_slot(x, collection);

    m->used = ++x->n_uses;
    if (m->collection != collection && reopen(x, m, collection, generation) < 0)
        matrix_close(m);
    return m->collection == collection && m->generation == generation ? m : NULL;
}

int matrix_get(Index *x, const Collection *c, const Matrix **ret_matrix)
{
    Matrix *m = matrix_at(x, c->id, c->generation);
    int r = 0;

    if (!m || (!m->checked && !check(m)) || (m->n_dead > DEAD_LEAST && m->n_dead > m->n / 4)) {
        m = matrix_slot(x, c->id);
        matrix_close(m);
        r = remake(x, c, m);
        m->used = ++x->n_uses;
    }
    if (r < 0) {
        matrix_close(m);
        return r;
    }
    *ret_matrix = m;
    return 0;
}

static int follow(const Files *f, Matrix *m, const MatrixChange *change)
{
    int r = append(f, m, change->added, change->vectors, change->n_added);

    for (size_t i = 0; i < change->n_removed && r >= 0; i++)
        r = bury(f, m, change->removed[i]);
    return r < 0 ? r : write_header(f, m);
}

void matrix_follow(Index *x, const Collection *c, int64_t before, const MatrixChange *change)
{
    _cleanup_(files_close) Files f = {-1, -1};
    Matrix *m = matrix_at(x, c->id, before);
    int r;

    if (!m)
        return;
    m->generation = c->generation;
    r = m->in_memory ? -EROFS : open_files(x, c->id, 0, &f);
    if (r >= 0)
        r = follow(&f, m, change);
    if (r < 0)
        matrix_forget(x, c->id);
}
