#include "fusion/index-private.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "engine/base/half.h"

/* int8 puts near neighbours in another order than f16 does: so many more are compared again. */
#define RESCORE_FACTOR 4
#define RESCORE_LEAST  64

void matrix_clear(Matrix *m)
{
    free(m->rows);
    free(m->scales);
    free(m->modalities);
    free(m->vectors);
    *m = (Matrix){0};
}

static int matrix_reserve(Matrix *m, size_t n)
{
    m->rows = malloc((n + 1) * sizeof *m->rows);
    m->scales = malloc((n + 1) * sizeof *m->scales);
    m->modalities = malloc(n + 1);
    m->vectors = malloc((n + 1) * INDEX_VECTOR);
    return m->rows && m->scales && m->modalities && m->vectors ? 0 : -ENOMEM;
}

static int matrix_fill(Index *x, Statement s, size_t n)
{
    Matrix *m = &x->matrix;
    int r;

    while ((r = index_step(x, s)) > 0) {
        if (m->n == n || sqlite3_column_bytes(s, 3) != INDEX_VECTOR)
            return -EBADMSG;
        m->rows[m->n] = sqlite3_column_int64(s, 0);
        m->modalities[m->n] = (uint8_t)sqlite3_column_int(s, 1);
        m->scales[m->n] = (float)sqlite3_column_double(s, 2);
        if (m->modalities[m->n] >= _MODALITY_COUNT || !isfinite(m->scales[m->n]))
            return -EBADMSG;
        memcpy(m->vectors + m->n++ * INDEX_VECTOR, sqlite3_column_blob(s, 3), INDEX_VECTOR);
    }
    return r;
}

static int matrix_update(Index *x, const Collection *c)
{
    _cleanup_statement_ Statement s = NULL;
    int r;

    if (x->matrix.collection == c->id && x->matrix.generation == c->generation)
        return 0;
    matrix_clear(&x->matrix);
    if (c->n_items > INDEX_ITEMS_MAX)
        return -EBADMSG;
    r = index_prepare(x,
                      "SELECT id, modality, scale, bytes FROM items WHERE collection = ?"
                      " ORDER BY id",
                      &s);
    if (r >= 0)
        r = matrix_reserve(&x->matrix, c->n_items);
    if (r >= 0) {
        sqlite3_bind_int64(s, 1, c->id);
        r = matrix_fill(x, s, c->n_items);
    }
    if (r < 0) {
        matrix_clear(&x->matrix);
        return r;
    }
    x->matrix.collection = c->id;
    x->matrix.generation = c->generation;
    return 0;
}

/* Rows that lack a pair are struck from keep; both run in the order of row ids. */
static int filter_pair(Index *x, const IndexPair *pair, uint8_t *keep)
{
    _cleanup_statement_ Statement s = NULL;
    const Matrix *m = &x->matrix;
    size_t at = 0;
    int r = index_prepare(x,
                          "SELECT p.item FROM pairs p JOIN items i ON i.id = p.item"
                          " WHERE i.collection = ? AND p.key = ? AND p.value = ? ORDER BY p.item",
                          &s);

    if (r < 0)
        return r;
    sqlite3_bind_int64(s, 1, m->collection);
    sqlite3_bind_text(s, 2, pair->key, -1, SQLITE_STATIC);
    sqlite3_bind_text(s, 3, pair->value, -1, SQLITE_STATIC);
    while ((r = index_step(x, s)) > 0) {
        int64_t row = sqlite3_column_int64(s, 0);
        while (at < m->n && m->rows[at] < row)
            keep[at++] = 0;
        if (at < m->n && m->rows[at] == row)
            at++;
    }
    while (at < m->n)
        keep[at++] = 0;
    return r;
}

static int filter(Index *x, const IndexQuery *q, uint8_t *keep)
{
    int r = 0;

    for (size_t i = 0; i < x->matrix.n; i++)
        keep[i] = !q->modalities || (q->modalities >> x->matrix.modalities[i] & 1);
    for (size_t i = 0; i < q->n_pairs && r >= 0; i++)
        r = filter_pair(x, &q->pairs[i], keep);
    return r;
}

/* Written so that the compiler makes SIMD of it: a sum of products of 16 bits. */
static int32_t dot_i8(const int8_t *a, const int16_t *b)
{
    int32_t sum = 0;

    for (size_t i = 0; i < INDEX_VECTOR; i++)
        sum += a[i] * b[i];
    return sum;
}

typedef struct Candidate {
    float score;
    size_t at;
} Candidate;

static bool candidate_worse(const Candidate *a, const Candidate *b)
{
    return a->score != b->score ? a->score < b->score : a->at > b->at;
}

static int candidate_compare(const void *a, const void *b)
{
    return candidate_worse(a, b) ? 1 : -1; /* no two are of one item */
}

/* heap: the worst of the best n stands first. */
static void heap_sink(Candidate *heap, size_t n)
{
    size_t at = 0, child;

    while ((child = 2 * at + 1) < n) {
        Candidate c = heap[at];

        if (child + 1 < n && candidate_worse(&heap[child + 1], &heap[child]))
            child++;
        if (!candidate_worse(&heap[child], &c))
            return;
        heap[at] = heap[child];
        heap[child] = c;
        at = child;
    }
}

static void heap_rise(Candidate *heap, size_t at)
{
    while (at > 0 && candidate_worse(&heap[at], &heap[(at - 1) / 2])) {
        Candidate c = heap[at];

        heap[at] = heap[(at - 1) / 2];
        heap[(at - 1) / 2] = c;
        at = (at - 1) / 2;
    }
}

static size_t scan(const Matrix *m, const int16_t *query, const uint8_t *keep, Candidate *heap,
                   size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < m->n; i++) {
        Candidate c = {.at = i};

        if (!keep[i])
            continue;
        c.score = (float)dot_i8(m->vectors + i * INDEX_VECTOR, query) * m->scales[i];
        if (n < max) {
            heap[n] = c;
            heap_rise(heap, n++);
        } else if (candidate_worse(&heap[0], &c)) {
            heap[0] = c;
            heap_sink(heap, n);
        }
    }
    return n;
}

static float length_of(const float *v)
{
    double sum = 0;

    for (size_t i = 0; i < INDEX_VECTOR; i++)
        sum += (double)v[i] * v[i];
    return (float)sqrt(sum);
}

static int rescore(Index *x, const float *query, Candidate *best, size_t n)
{
    _cleanup_statement_ Statement s = NULL;
    float query_length = length_of(query);
    int r = index_prepare(x, "SELECT halves FROM items WHERE id = ?", &s);

    for (size_t i = 0; i < n && r >= 0; i++) {
        const uint8_t *halves;
        float v[INDEX_VECTOR];
        double dot = 0;

        sqlite3_reset(s);
        sqlite3_bind_int64(s, 1, x->matrix.rows[best[i].at]);
        r = index_step(x, s);
        if (r < 0)
            return r;
        if (r == 0 || sqlite3_column_bytes(s, 0) != 2 * INDEX_VECTOR)
            return -EBADMSG;
        halves = sqlite3_column_blob(s, 0);
        for (size_t k = 0; k < INDEX_VECTOR; k++) {
            v[k] = f16_load(halves + 2 * k);
            dot += (double)v[k] * query[k];
        }
        best[i].score = (float)(dot / (query_length * length_of(v)));
        if (!isfinite(best[i].score))
            return -EBADMSG;
    }
    return r < 0 ? r : 0;
}

static int hits_name(Index *x, const Candidate *best, size_t first, size_t n, IndexHit *hits)
{
    _cleanup_statement_ Statement s = NULL;
    int r = index_prepare(x, "SELECT name FROM items WHERE id = ?", &s);

    for (size_t i = 0; i < n && r >= 0; i++) {
        const char *name;

        sqlite3_reset(s);
        sqlite3_bind_int64(s, 1, x->matrix.rows[best[first + i].at]);
        r = index_step(x, s);
        if (r < 0)
            return r;
        name = r > 0 ? (const char *)sqlite3_column_text(s, 0) : NULL;
        if (!name)
            return -EBADMSG;
        hits[i] = (IndexHit){strdup(name), best[first + i].score, (uint32_t)(first + i + 1)};
        if (!hits[i].id)
            return -ENOMEM;
    }
    return r < 0 ? r : 0;
}

void index_hits_free(IndexHit *hits, size_t n)
{
    for (size_t i = 0; hits && i < n; i++)
        free(hits[i].id);
    free(hits);
}

static int query_check(const IndexQuery *q)
{
    if (q->limit == 0 || q->limit > INDEX_HITS_MAX || q->offset > INDEX_HITS_MAX - q->limit ||
        q->n_pairs > INDEX_PAIRS_MAX || isnan(q->min_score))
        return -EINVAL;
    for (size_t i = 0; i < q->n_pairs; i++)
        if (!index_word_valid(q->pairs[i].key) || !q->pairs[i].value)
            return -EINVAL;
    return 0;
}

/* The best of the matrix in order, of which n are above the least score. */
static int best_find(Index *x, const IndexQuery *q, float scale, Candidate *best, size_t max,
                     size_t *ret_n)
{
    _cleanup_free_ uint8_t *keep = malloc(x->matrix.n + 1);
    int16_t query[INDEX_VECTOR];
    size_t n;
    int r;

    if (!keep)
        return -ENOMEM;
    for (size_t i = 0; i < INDEX_VECTOR; i++)
        query[i] = index_round(q->vector[i], scale);
    r = filter(x, q, keep);
    if (r < 0)
        return r;
    n = scan(&x->matrix, query, keep, best, max);
    r = rescore(x, q->vector, best, n);
    if (r < 0)
        return r;
    qsort(best, n, sizeof *best, candidate_compare);
    while (n > 0 && best[n - 1].score < q->min_score)
        n--;
    *ret_n = n;
    return 0;
}

int index_search(Index *x, const char *name, const uint8_t digest[INDEX_DIGEST],
                 const IndexQuery *query, IndexHit **ret_hits, size_t *ret_n, bool *ret_more)
{
    _cleanup_free_ Candidate *best = NULL;
    size_t max = RESCORE_FACTOR * (query->offset + query->limit) + RESCORE_LEAST, n, shown = 0;
    IndexHit *hits;
    Collection c;
    float scale;
    int r = query_check(query);

    if (r >= 0)
        r = index_scale(query->vector, &scale);
    if (r >= 0)
        r = index_find(x, name, digest, &c);
    if (r >= 0)
        r = matrix_update(x, &c);
    if (r < 0)
        return r;
    best = malloc(max * sizeof *best);
    if (!best)
        return -ENOMEM;
    r = best_find(x, query, scale, best, max, &n);
    if (r < 0)
        return r;
    if (n > query->offset)
        shown = n - query->offset < query->limit ? n - query->offset : query->limit;
    hits = calloc(shown + 1, sizeof *hits);
    if (!hits)
        return -ENOMEM;
    r = hits_name(x, best, query->offset, shown, hits);
    if (r < 0) {
        index_hits_free(hits, shown);
        return r;
    }
    *ret_hits = hits;
    *ret_n = shown;
    *ret_more = n > query->offset + shown;
    return 0;
}
