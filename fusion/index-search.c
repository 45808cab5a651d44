#include "fusion/index-private.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "engine/base/half.h"

/* int8 puts near neighbours in another order than f16 does: so many more are compared again. */
#define RESCORE_FACTOR 4
#define RESCORE_LEAST  64
#define BLOCK          512 /* rows scored at a time */
#define GRAIN          (16 * BLOCK)

typedef struct Candidate {
    float score;
    uint32_t at;
} Candidate;

/* The best of what one thread has seen; the worst of them stands first. */
typedef struct Heap {
    Candidate *list;
    size_t n, max;
} Heap;

/* What the threads of a search share. */
typedef struct Scan {
    const Matrix *matrix;
    ScanFunc dots;
    const uint8_t *keep; /* [n]; NULL: all */
    int8_t query[INDEX_VECTOR];
    size_t max;
    Candidate *lists; /* [threads, max] */
    Heap heaps[POOL_THREADS_MAX];
} Scan;

static bool candidate_worse(const Candidate *a, const Candidate *b)
{
    return a->score != b->score ? a->score < b->score : a->at > b->at;
}

static int candidate_compare(const void *a, const void *b)
{
    return candidate_worse(a, b) ? 1 : -1; /* no two are of one item */
}

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

static void heap_offer(Heap *h, Candidate c)
{
    if (h->n < h->max) {
        h->list[h->n] = c;
        heap_rise(h->list, h->n++);
    } else if (candidate_worse(&h->list[0], &c)) {
        h->list[0] = c;
        heap_sink(h->list, h->n);
    }
}

static void scan_run(const Scan *s, Heap *h, size_t begin, size_t end)
{
    const Matrix *m = s->matrix;
    int32_t dots[BLOCK];

    s->dots(m->vectors + begin * INDEX_VECTOR, end - begin, INDEX_VECTOR, s->query, dots);
    for (size_t i = begin; i < end; i++) {
        float score = (float)dots[i - begin] * m->rows[i].scale;

        if (h->n < h->max || score >= h->list[0].score)
            heap_offer(h, (Candidate){score, (uint32_t)i});
    }
}

/* Runs of rows that pass the filter; what does not is neither read nor scored. */
static void scan_kept(const Scan *s, Heap *h, size_t begin, size_t end)
{
    while (begin < end) {
        size_t stop;

        if (!s->keep[begin]) {
            begin++;
            continue;
        }
        for (stop = begin + 1; stop < end && s->keep[stop]; stop++)
            ;
        scan_run(s, h, begin, stop);
        begin = stop;
    }
}

static void scan_part(void *userdata, size_t begin, size_t end, unsigned worker)
{
    Scan *s = userdata;

    for (size_t at = begin; at < end; at += BLOCK) {
        size_t stop = end - at < BLOCK ? end : at + BLOCK;

        if (s->keep)
            scan_kept(s, &s->heaps[worker], at, stop);
        else
            scan_run(s, &s->heaps[worker], at, stop);
    }
}

/* The best `max` of all, in order. What they are does not depend on the threads: of equal scores
 * the earlier row counts as better. */
static int scan(Index *x, Scan *s, Candidate *best, size_t *ret_n)
{
    size_t threads = x->pool ? pool_threads(x->pool) : 1, n = 0;

    s->lists = malloc(threads * s->max * sizeof *s->lists);
    if (!s->lists)
        return -ENOMEM;
    for (size_t i = 0; i < threads; i++)
        s->heaps[i] = (Heap){s->lists + i * s->max, 0, s->max};
    if (x->pool)
        pool_for(x->pool, s->matrix->n, GRAIN, scan_part, s);
    else
        scan_part(s, 0, s->matrix->n, 0);
    for (size_t i = 0; i < threads; i++) {
        memmove(s->lists + n, s->heaps[i].list, s->heaps[i].n * sizeof *s->lists);
        n += s->heaps[i].n;
    }
    qsort(s->lists, n, sizeof *s->lists, candidate_compare);
    n = n < s->max ? n : s->max;
    memcpy(best, s->lists, n * sizeof *best);
    free(s->lists);
    *ret_n = n;
    return 0;
}

/* Rows that lack a pair are struck from keep; both run in the order of row ids. */
static int filter_pair(Index *x, const Matrix *m, const IndexPair *pair, uint8_t *keep)
{
    _cleanup_statement_ Statement s = NULL;
    size_t at = 0;
    int r =
        index_prepare(x, "SELECT item FROM pairs WHERE key = ? AND value = ? ORDER BY item", &s);

    if (r < 0)
        return r;
    index_bind_text(s, 1, pair->key);
    index_bind_text(s, 2, pair->value);
    while ((r = index_step(x, s)) > 0) {
        int64_t row = sqlite3_column_int64(s, 0);

        while (at < m->n && m->rows[at].id < row)
            keep[at++] = 0;
        if (at < m->n && m->rows[at].id == row)
            at++;
    }
    while (at < m->n)
        keep[at++] = 0;
    return r;
}

/* *ret_keep stays NULL when all rows pass. */
static int filter(Index *x, const Matrix *m, const IndexQuery *q, uint8_t **ret_keep)
{
    unsigned modalities = q->modalities ? q->modalities : ~0u;
    _cleanup_free_ uint8_t *keep = NULL;
    int r = 0;

    if (!q->modalities && q->n_pairs == 0 && m->n_dead == 0)
        return 0;
    keep = malloc(m->n + 1);
    if (!keep)
        return -ENOMEM;
    for (size_t i = 0; i < m->n; i++)
        keep[i] = !m->rows[i].dead && (modalities >> m->rows[i].modality & 1);
    for (size_t i = 0; i < q->n_pairs && r >= 0; i++)
        r = filter_pair(x, m, &q->pairs[i], keep);
    if (r < 0)
        return r;
    *ret_keep = steal_ptr(&keep);
    return 0;
}

static float length_of(const float *v)
{
    double sum = 0;

    for (size_t i = 0; i < INDEX_VECTOR; i++)
        sum += (double)v[i] * v[i];
    return (float)sqrt(sum);
}

static int rescore_row(Statement s, const float *query, float query_length, float *ret_score)
{
    const uint8_t *halves = sqlite3_column_blob(s, 0);
    float v[INDEX_VECTOR], score;
    double dot = 0;

    if (!halves || sqlite3_column_bytes(s, 0) != 2 * INDEX_VECTOR)
        return -EBADMSG;
    for (size_t k = 0; k < INDEX_VECTOR; k++) {
        v[k] = f16_load(halves + 2 * k);
        dot += (double)v[k] * query[k];
    }
    score = (float)(dot / (query_length * length_of(v)));
    if (!isfinite(score))
        return -EBADMSG;
    *ret_score = score;
    return 0;
}

static int rescore(Index *x, const Matrix *m, const float *query, Candidate *best, size_t n)
{
    _cleanup_statement_ Statement s = NULL;
    float query_length = length_of(query);
    int r = index_prepare(x, "SELECT halves FROM items WHERE id = ?", &s);

    for (size_t i = 0; i < n && r >= 0; i++) {
        sqlite3_reset(s);
        sqlite3_bind_int64(s, 1, m->rows[best[i].at].id);
        r = index_step(x, s);
        if (r == 0)
            r = -EBADMSG;
        if (r > 0)
            r = rescore_row(s, query, query_length, &best[i].score);
    }
    return r;
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
static int best_find(Index *x, const Matrix *m, const IndexQuery *q, const Quantised *query,
                     Candidate *best, size_t max, size_t *ret_n)
{
    _cleanup_free_ uint8_t *keep = NULL;
    Scan s = {.matrix = m, .dots = x->scan, .max = max};
    size_t n;
    int r = filter(x, m, q, &keep);

    if (r < 0)
        return r;
    s.keep = keep;
    memcpy(s.query, query->bytes, sizeof s.query);
    r = scan(x, &s, best, &n);
    if (r >= 0)
        r = rescore(x, m, q->vector, best, n);
    if (r < 0)
        return r;
    qsort(best, n, sizeof *best, candidate_compare);
    while (n > 0 && best[n - 1].score < q->min_score)
        n--;
    *ret_n = n;
    return 0;
}

static int read_hits(Index *x, const Collection *c, const Matrix *m, const Candidate *best,
                     size_t first, size_t n, const IndexWish *wish, IndexRecords *ret_hits)
{
    _cleanup_(index_records_free) IndexRecords hits = {.list = calloc(n + 1, sizeof *hits.list)};
    size_t total = 0;

    if (!hits.list)
        return -ENOMEM;
    for (; hits.n < n; hits.n++) {
        const Candidate *candidate = &best[first + hits.n];
        IndexRecord *hit = &hits.list[hits.n];
        int r = index_read_row(x, m->rows[candidate->at].id, c, wish, &total, hit);

        if (r < 0)
            return r;
        hit->score = candidate->score;
        hit->rank = (uint32_t)(first + hits.n + 1);
    }
    *ret_hits = hits;
    hits = (IndexRecords){0};
    return 0;
}

int index_search(Index *x, const char *name, const uint8_t digest[INDEX_DIGEST],
                 const IndexQuery *query, const IndexWish *wish, IndexRecords *ret_hits,
                 bool *ret_more)
{
    size_t max = RESCORE_FACTOR * (query->offset + query->limit) + RESCORE_LEAST, n, shown = 0;
    _cleanup_free_ Candidate *best = NULL;
    const Matrix *m;
    Quantised bytes;
    Collection c;
    int r = query_check(query);

    if (r >= 0)
        r = index_quantise(query->vector, &bytes);
    if (r >= 0)
        r = index_find_model(x, name, digest, &c);
    if (r >= 0 && c.rebuilding)
        r = -ESTALE;
    if (r >= 0)
        r = matrix_get(x, &c, &m);
    if (r < 0)
        return r;
    best = malloc(max * sizeof *best);
    if (!best)
        return -ENOMEM;
    r = best_find(x, m, query, &bytes, best, max, &n);
    if (r < 0)
        return r;
    if (n > query->offset)
        shown = n - query->offset < query->limit ? n - query->offset : query->limit;
    r = read_hits(x, &c, m, best, query->offset, shown, wish, ret_hits);
    if (r >= 0)
        *ret_more = n > query->offset + shown;
    return r;
}
