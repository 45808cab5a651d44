#include "engine/base/tokenizer.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/vocab.h"

struct Tokenizer {
    Vocab vocab;
};

/* Symbols of a piece: a list over its bytes, shortened by each merge. */
typedef struct Symbol {
    int32_t id;         /* -1: swallowed by its left neighbour */
    int32_t prev, next; /* -1: none */
} Symbol;

/* A pair that could merge. Stale once one of its two symbols has changed. */
typedef struct Candidate {
    int32_t rank, position;
    int32_t left, right, id;
} Candidate;

typedef struct Work {
    Symbol *symbols;
    Candidate *heap; /* smallest rank first, then leftmost */
    size_t n_heap;
} Work;

static bool candidate_before(const Candidate *a, const Candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->position < b->position;
}

static void heap_push(Work *w, Candidate c)
{
    size_t i = w->n_heap++;

    for (; i > 0 && candidate_before(&c, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = c;
}

static Candidate heap_pop(Work *w)
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

static void push_pair(const Vocab *v, Work *w, int32_t position)
{
    const Merge *m;
    int32_t next;

    if (position < 0 || (next = w->symbols[position].next) < 0)
        return;
    m = vocab_merge(v, w->symbols[position].id, w->symbols[next].id);
    if (m)
        heap_push(
            w, (Candidate){m->rank, position, w->symbols[position].id, w->symbols[next].id, m->id});
}

/* Merges one piece as far as it goes. Each merge removes a symbol and adds at most two
 * candidates, so the heap never holds more than three per byte. */
static void piece_merge(const Vocab *v, Work *w, const char *piece, int32_t length)
{
    w->n_heap = 0;
    for (int32_t i = 0; i < length; i++)
        w->symbols[i] =
            (Symbol){v->byte_ids[(uint8_t)piece[i]], i - 1, i + 1 < length ? i + 1 : -1};
    for (int32_t i = 0; i + 1 < length; i++)
        push_pair(v, w, i);

    while (w->n_heap > 0) {
        Candidate c = heap_pop(w);
        Symbol *left = &w->symbols[c.position], *right;

        if (left->id != c.left || left->next < 0)
            continue;
        right = &w->symbols[left->next];
        if (right->id != c.right)
            continue;
        left->id = c.id;
        left->next = right->next;
        right->id = -1;
        if (left->next >= 0)
            w->symbols[left->next].prev = c.position;
        push_pair(v, w, left->prev);
        push_pair(v, w, c.position);
    }
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_other(char c)
{
    return !is_space(c) && !is_letter(c) && !is_digit(c);
}

/* Length of the piece at the start of text, length >= 1: the four alternatives in their order. */
static size_t piece_length(const char *text, size_t length)
{
    size_t i = text[0] == ' ' && length > 1 && !is_space(text[1]) ? 1 : 0;
    bool (*in_class)(char c) = is_letter(text[i])  ? is_letter
                               : is_space(text[i]) ? is_space
                                                   : is_other;

    if (is_digit(text[i]))
        return i + 1;
    for (i++; i < length && in_class(text[i]); i++)
        ;
    return i;
}

static size_t longest_piece(const char *text, size_t length)
{
    size_t longest = 0;

    for (size_t at = 0; at < length;) {
        size_t n = piece_length(text + at, length - at);

        if (n > longest)
            longest = n;
        at += n;
    }
    return longest;
}

int tokenizer_encode(const Tokenizer *t, const char *text, size_t length, int32_t *ids, size_t max,
                     size_t *ret_count)
{
    const Vocab *v = &t->vocab;
    _cleanup_free_ Symbol *symbols = NULL;
    _cleanup_free_ Candidate *heap = NULL;
    size_t longest, count = 0;

    /* A token covers `longest` bytes at most: what cannot fit is refused before any memory is
     * taken. */
    if (length / v->longest > max || length > INT32_MAX)
        return -E2BIG;
    longest = longest_piece(text, length);
    symbols = calloc(longest + 1, sizeof *symbols);
    heap = calloc(3 * longest + 1, sizeof *heap);
    if (!symbols || !heap)
        return -ENOMEM;

    for (size_t at = 0; at < length;) {
        Work work = {symbols, heap, 0};
        size_t n = piece_length(text + at, length - at);

        piece_merge(v, &work, text + at, (int32_t)n);
        for (int32_t i = 0; i >= 0; i = symbols[i].next) {
            if (count == max)
                return -E2BIG;
            ids[count++] = symbols[i].id;
        }
        at += n;
    }
    *ret_count = count;
    return 0;
}

int tokenizer_new(Weights *weights, Tokenizer **ret_tokenizer)
{
    _cleanup_(tokenizer_freep) Tokenizer *t = calloc(1, sizeof *t);
    int r;

    if (!t)
        return weights_fail(weights, -ENOMEM, "no memory for a tokenizer");
    r = vocab_load(&t->vocab, weights);
    if (r < 0)
        return r;
    *ret_tokenizer = steal_ptr(&t);
    return 0;
}

Tokenizer *tokenizer_free(Tokenizer *t)
{
    if (t)
        vocab_deinit(&t->vocab);
    free(t);
    return NULL;
}

const char *tokenizer_piece(const Tokenizer *t, int32_t id, size_t *ret_length)
{
    const Vocab *v = &t->vocab;

    if (id < 0 || (size_t)id >= v->n_tokens) {
        *ret_length = 0;
        return "";
    }
    *ret_length = v->starts[id + 1] - v->starts[id];
    return v->bytes + v->starts[id];
}

size_t tokenizer_size(const Tokenizer *t)
{
    return t->vocab.n_tokens;
}

const TokenizerSpecial *tokenizer_special(const Tokenizer *t)
{
    return &t->vocab.special;
}
