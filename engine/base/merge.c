#include "engine/base/merge.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "engine/base/utf8.h"

#define SWALLOWED (-2) /* id of a symbol that its left neighbour took in */

void merge_work_deinit(MergeWork *w)
{
    free(w->symbols);
    free(w->heap);
}

/* Each merge removes a symbol and adds at most two candidates, so the heap never holds more than
 * three per symbol. */
static int work_reserve(MergeWork *w, size_t n)
{
    size_t size = n < 64 ? 64 : n + n / 2;

    if (n <= w->size)
        return 0;
    merge_work_deinit(w);
    *w = (MergeWork){.symbols = calloc(size, sizeof *w->symbols),
                     .heap = calloc(3 * size, sizeof *w->heap)};
    if (!w->symbols || !w->heap)
        return -ENOMEM;
    w->size = size;
    return 0;
}

static bool candidate_before(const Candidate *a, const Candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->position < b->position;
}

static void heap_push(MergeWork *w, Candidate c)
{
    size_t i = w->n_heap++;

    for (; i > 0 && candidate_before(&c, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = c;
}

static Candidate heap_pop(MergeWork *w)
{
    Candidate top = w->heap[0], last = w->heap[--w->n_heap];
    size_t i = 0;

    for (size_t child = 1; child < w->n_heap; child = 2 * i + 1) {
        if (child + 1 < w->n_heap && candidate_before(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!candidate_before(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return top;
}

/* What a symbol and the next become, and how soon; false when they do not merge. */
static bool pair_find(const Vocab *v, const char *piece, const Symbol *a, const Symbol *b,
                      Candidate *c)
{
    const Merge *m;

    c->left = a->id;
    c->right = b->id;
    if (v->merges) {
        m = vocab_merge(v, a->id, b->id);
        if (!m)
            return false;
        c->rank = m->rank;
        c->id = m->id;
        return true;
    }
    c->id = vocab_piece(v, piece + a->start, (size_t)(a->length + b->length));
    if (c->id < 0)
        return false;
    c->rank = v->ranks[c->id];
    return true;
}

static void push_pair(const Vocab *v, MergeWork *w, const char *piece, int32_t position)
{
    Candidate c = {.position = position};
    int32_t next;

    if (position < 0 || (next = w->symbols[position].next) < 0)
        return;
    if (pair_find(v, piece, &w->symbols[position], &w->symbols[next], &c))
        heap_push(w, c);
}

/* One symbol a byte, or a code point; returns how many. */
static int32_t symbols_init(const Vocab *v, MergeWork *w, const char *piece, size_t length)
{
    int32_t n = 0;

    for (size_t at = 0, step; at < length; at += step, n++) {
        Symbol *s = &w->symbols[n];

        step = v->kind == VOCAB_BYTES ? 1 : utf8_length(piece + at, length - at);
        *s = (Symbol){.prev = n - 1, .next = n + 1, .start = (int32_t)at, .length = (int32_t)step};
        s->id = v->kind == VOCAB_BYTES ? v->byte_ids[(uint8_t)piece[at]]
                                       : vocab_piece(v, piece + at, step);
    }
    w->symbols[n - 1].next = -1;
    return n;
}

static void symbols_join(MergeWork *w, Symbol *left, int32_t position, int32_t id)
{
    Symbol *right = &w->symbols[left->next];

    left->id = id;
    left->length += right->length;
    left->next = right->next;
    right->id = SWALLOWED;
    if (left->next >= 0)
        w->symbols[left->next].prev = position;
}

int merge_piece(const Vocab *v, MergeWork *w, const char *piece, size_t length)
{
    int r = work_reserve(w, length);
    int32_t n;

    if (r < 0)
        return r;
    w->n_heap = 0;
    n = symbols_init(v, w, piece, length);
    for (int32_t i = 0; i + 1 < n; i++)
        push_pair(v, w, piece, i);

    while (w->n_heap > 0) {
        Candidate c = heap_pop(w);
        Symbol *left = &w->symbols[c.position];

        if (left->id != c.left || left->next < 0 || w->symbols[left->next].id != c.right)
            continue;
        symbols_join(w, left, c.position, c.id);
        push_pair(v, w, piece, left->prev);
        push_pair(v, w, piece, c.position);
    }
    return 0;
}
