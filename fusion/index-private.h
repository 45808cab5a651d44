#pragma once

/* What the two halves of the index share: the database, and the matrix that search walks. */

#include <sqlite3.h>

#include "fusion/index.h"

/* One collection's int8 vectors, in order of their row ids; made anew when the generation of the
 * collection is another. */
typedef struct Matrix {
    int64_t collection, generation; /* collection 0: nothing is kept */
    int64_t *rows;                  /* [n] */
    float *scales;                  /* [n] */
    uint8_t *modalities;            /* [n] */
    int8_t *vectors;                /* [n, INDEX_VECTOR] */
    size_t n;
} Matrix;

struct Index {
    sqlite3 *db;
    Matrix matrix;
};

typedef struct Collection {
    int64_t id, generation;
    size_t n_items;
} Collection;

typedef sqlite3_stmt *Statement;

static inline void statement_finishp(Statement *s)
{
    sqlite3_finalize(*s);
}
#define _cleanup_statement_ _cleanup_(statement_finishp)

/* Errors of SQLite as those of this folder. */
int index_error(Index *x, int code);
int index_prepare(Index *x, const char *sql, Statement *ret_statement);
/* 1: a row; 0: done. */
int index_step(Index *x, Statement s);
bool index_word_valid(const char *word);
/* digest NULL: of any model. */
int index_find(Index *x, const char *name, const uint8_t *digest, Collection *ret_collection);
int8_t index_round(float value, float scale);
/* The scale that brings the largest value to 127. -EINVAL: nothing but zeros, or not finite. */
int index_scale(const float *vector, float *ret_scale);
void matrix_clear(Matrix *m);
