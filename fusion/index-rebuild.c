#include "fusion/index-private.h"

#include <errno.h>
#include <string.h>

int index_rebuild_begin(Index *x, const char *name, const uint8_t digest[INDEX_DIGEST])
{
    _cleanup_statement_ Statement s = NULL;
    Collection c;
    int r = index_find(x, name, &c);

    if (r < 0)
        return r;
    if (c.has_model && memcmp(c.digest, digest, INDEX_DIGEST) == 0)
        return 0;
    r = index_prepare(x,
                      "UPDATE collections SET model = ?1, epoch = epoch + 1, rebuilding = 1,"
                      " generation = random(), to_do = (SELECT count(*) FROM items"
                      " WHERE collection = ?2 AND again = 1) WHERE id = ?2",
                      &s);
    if (r < 0)
        return r;
    sqlite3_bind_blob(s, 1, digest, INDEX_DIGEST, SQLITE_STATIC);
    sqlite3_bind_int64(s, 2, c.id);
    return index_step(x, s);
}

static int rebuild_end(Index *x, const Collection *c)
{
    _cleanup_statement_ Statement s = NULL;
    int r = index_prepare(x, "UPDATE collections SET rebuilding = 0 WHERE id = ?", &s);

    if (r < 0)
        return r;
    sqlite3_bind_int64(s, 1, c->id);
    return index_step(x, s);
}

void index_texts_free(IndexText *texts, size_t n)
{
    for (size_t i = 0; texts && i < n; i++)
        free(texts[i].text);
    free(texts);
}

static int read_texts(Index *x, const Collection *c, size_t max, size_t max_bytes, IndexText *texts,
                      size_t *n)
{
    _cleanup_statement_ Statement s = NULL;
    size_t total = 0;
    int r = index_prepare(x,
                          "SELECT id, tail, body FROM items WHERE collection = ? AND epoch < ?"
                          " AND again = 1 LIMIT ?",
                          &s);

    if (r < 0)
        return r;
    sqlite3_bind_int64(s, 1, c->id);
    sqlite3_bind_int64(s, 2, c->epoch);
    sqlite3_bind_int64(s, 3, (int64_t)max);
    while ((r = index_step(x, s)) > 0 && *n < max) {
        const char *text = (const char *)sqlite3_column_text(s, 2);

        if (!text)
            return -EBADMSG;
        total += (size_t)sqlite3_column_bytes(s, 2);
        if (*n > 0 && total > max_bytes)
            return 0;
        texts[*n] = (IndexText){sqlite3_column_int64(s, 0), strdup(text),
                                sqlite3_column_int(s, 1) != 0, NULL};
        if (!texts[*n].text)
            return -ENOMEM;
        ++*n;
    }
    return r < 0 ? r : 0;
}

int index_rebuild_next(Index *x, const char *name, size_t max, size_t max_bytes,
                       IndexText **ret_texts, size_t *ret_n)
{
    IndexText *texts = calloc(max, sizeof *texts);
    size_t n = 0;
    Collection c;
    int r = texts ? index_find(x, name, &c) : -ENOMEM;

    if (r >= 0)
        r = read_texts(x, &c, max, max_bytes, texts, &n);
    if (r >= 0 && n == 0 && c.rebuilding)
        r = rebuild_end(x, &c);
    if (r < 0) {
        index_texts_free(texts, n);
        return r;
    }
    *ret_texts = texts;
    *ret_n = n;
    return 0;
}

/* A text without a vector can be made no more, under any model, until it is put again. */
static int give_up(Index *x, const Collection *c, const IndexText *t)
{
    _cleanup_statement_ Statement s = NULL;
    int r = index_prepare(x, "UPDATE items SET again = 0 WHERE id = ? AND collection = ?", &s);

    if (r < 0)
        return r;
    sqlite3_bind_int64(s, 1, t->row);
    sqlite3_bind_int64(s, 2, c->id);
    return index_step(x, s);
}

static int put_vector(Index *x, Statement s, const Collection *c, const IndexText *t)
{
    Quantised q;
    int r;

    if (!t->vector || index_quantise(t->vector, &q) < 0)
        return give_up(x, c, t);
    sqlite3_reset(s);
    sqlite3_bind_int64(s, 1, c->epoch);
    sqlite3_bind_double(s, 2, q.scale);
    sqlite3_bind_blob(s, 3, q.bytes, sizeof q.bytes, SQLITE_STATIC);
    sqlite3_bind_blob(s, 4, q.halves, sizeof q.halves, SQLITE_STATIC);
    sqlite3_bind_int64(s, 5, t->row);
    sqlite3_bind_int64(s, 6, c->id);
    r = index_step(x, s);
    sqlite3_clear_bindings(s);
    return r;
}

int index_rebuild_put(Index *x, const char *name, const uint8_t digest[INDEX_DIGEST],
                      const IndexText *texts, size_t n)
{
    _cleanup_statement_ Statement s = NULL;
    Collection c;
    int r = index_find_model(x, name, digest, &c);

    /* A row's id is never given twice, so it stands for the text that was read. */
    if (r >= 0)
        r = index_prepare(x,
                          "UPDATE items SET epoch = ?, scale = ?, bytes = ?, halves = ?"
                          " WHERE id = ? AND collection = ?",
                          &s);
    if (r >= 0)
        r = index_begin(x);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n && r >= 0; i++)
        r = put_vector(x, s, &c, &texts[i]);
    /* The matrix knows rows only that were added at its end: it is made anew afterwards. */
    if (r >= 0)
        r = index_touch(x, &c);
    return index_end(x, r);
}
