#pragma once

/* What the files of the index share: the database, and the matrices that searches walk. */

#include <sqlite3.h>

#include "engine/cpu/scan.h"
#include "fusion/index.h"

/* Row of a matrix. Rows stand in the order of their items' row ids. */
typedef struct MatrixRow {
    int64_t id;
    float scale;
    uint8_t modality, dead, zero[2];
} MatrixRow;

/* One collection's int8 vectors in mapped files; the layout stands in index-matrix.c. */
typedef struct Matrix {
    int64_t collection, generation; /* collection 0: none */
    size_t n, n_dead;
    uint64_t sum, used;
    bool checked;
    bool in_memory; /* it has no files */
    void *map;
    const MatrixRow *rows;  /* [n] */
    const uint8_t *vectors; /* [n, INDEX_VECTOR], moved up by 128; NULL: not mapped */
} Matrix;

#define INDEX_MATRICES 4 /* mapped at a time */

struct Index {
    sqlite3 *db;
    int folder_fd, db_fd;
    Pool *pool;
    ScanFunc scan;
    Matrix matrices[INDEX_MATRICES];
    uint64_t n_uses;
};

typedef struct Collection {
    int64_t id, generation, epoch;
    size_t n_items;
    bool has_model, rebuilding;
    int64_t to_do; /* texts at the rebuild's beginning */
    uint8_t digest[INDEX_DIGEST];
} Collection;

typedef sqlite3_stmt *Statement;

static inline void statement_finishp(Statement *s)
{
    sqlite3_finalize(*s);
}
#define _cleanup_statement_ _cleanup_(statement_finishp)

/* index.c */
/* Errors of SQLite as those of this folder. */
int index_error(Index *x, int code);
int index_prepare(Index *x, const char *sql, Statement *ret_statement);
/* 1: a row; 0: done. */
int index_step(Index *x, Statement s);
int index_run(Index *x, const char *sql);
void index_bind_text(Statement s, int at, const char *text);
/* Begins; and ends by what r says, which it returns, or the commit's failure. */
int index_begin(Index *x);
int index_end(Index *x, int r);

/* index-collections.c */
bool index_word_valid(const char *word);
int index_find(Index *x, const char *name, Collection *ret_collection);
/* -ESTALE when another model made the vectors. */
int index_find_model(Index *x, const char *name, const uint8_t digest[INDEX_DIGEST],
                     Collection *ret_collection);
/* One number that a statement about a collection gives. */
int index_number(Index *x, const char *sql, int64_t collection, int64_t *ret_number);
/* Gives the collection a new generation, in *c too. */
int index_touch(Index *x, Collection *c);

/* index-items.c */
/* A vector as the database and the matrix keep it. -EINVAL: nothing but zeros, or not finite. */
typedef struct Quantised {
    float scale;
    int8_t bytes[INDEX_VECTOR];
    uint16_t halves[INDEX_VECTOR];
} Quantised;
int index_quantise(const float *vector, Quantised *ret_vector);
/* The item of a row; adds to *total. -E2BIG beyond the wish. */
int index_read_row(Index *x, int64_t row, const Collection *c, const IndexWish *wish, size_t *total,
                   IndexRecord *ret_record);

/* index-matrix.c */
/* What a write has done to a collection: rows added, in rising order, and removed. */
typedef struct MatrixChange {
    MatrixRow *added; /* [n_added] */
    uint8_t *vectors; /* [n_added, INDEX_VECTOR] */
    size_t n_added;
    int64_t *removed; /* [n_removed] */
    size_t n_removed;
} MatrixChange;
int change_init(MatrixChange *change, size_t max_added, size_t max_removed);
void change_deinit(MatrixChange *change);
void change_add(MatrixChange *change, int64_t row, Modality modality, const Quantised *q);

/* The matrix of a collection as it is now. */
int matrix_get(Index *x, const Collection *c, const Matrix **ret_matrix);
/* After a commit that took the collection from generation `before` to c's: the matrix follows, if
 * it stood there. */
void matrix_follow(Index *x, const Collection *c, int64_t before, const MatrixChange *change);
void matrix_forget(Index *x, int64_t collection);
void matrix_close(Matrix *m);
