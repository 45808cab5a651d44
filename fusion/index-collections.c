#include "fusion/index-private.h"

#include <errno.h>
#include <string.h>

bool index_word_valid(const char *word)
{
    size_t n = word ? strnlen(word, INDEX_NAME_MAX + 1) : 0;

    return n > 0 && n <= INDEX_NAME_MAX;
}

/* The columns that collection_read() takes, in order. */
#define COLUMNS "id, generation, epoch, items, rebuilding, to_do, model, name"

static int collection_read(Statement s, Collection *c)
{
    int size = sqlite3_column_bytes(s, 6);
    int64_t n = sqlite3_column_int64(s, 3);

    if ((size != 0 && size != INDEX_DIGEST) || n < 0 || n > INDEX_ITEMS_MAX)
        return -EBADMSG;
    *c = (Collection){
        .id = sqlite3_column_int64(s, 0),
        .generation = sqlite3_column_int64(s, 1),
        .epoch = sqlite3_column_int64(s, 2),
        .n_items = (size_t)n,
        .rebuilding = sqlite3_column_int(s, 4) != 0,
        .to_do = sqlite3_column_int64(s, 5),
        .has_model = size > 0,
    };
    if (size > 0)
        memcpy(c->digest, sqlite3_column_blob(s, 6), INDEX_DIGEST);
    return 0;
}

int index_find(Index *x, const char *name, Collection *ret_collection)
{
    _cleanup_statement_ Statement s = NULL;
    int r;

    if (!index_word_valid(name))
        return -EINVAL;
    r = index_prepare(x, "SELECT " COLUMNS " FROM collections WHERE name = ?", &s);
    if (r < 0)
        return r;
    index_bind_text(s, 1, name);
    r = index_step(x, s);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    return collection_read(s, ret_collection);
}

int index_find_model(Index *x, const char *name, const uint8_t digest[INDEX_DIGEST],
                     Collection *ret_collection)
{
    Collection c;
    int r = index_find(x, name, &c);

    if (r < 0)
        return r;
    if (c.n_items > 0 && memcmp(c.digest, digest, INDEX_DIGEST) != 0)
        return -ESTALE;
    *ret_collection = c;
    return 0;
}

/* Not a counter: after a failure of the machine the database may go on from an older state, and
 * must not come to a generation that a matrix has seen with other content. */
int index_touch(Index *x, Collection *c)
{
    _cleanup_statement_ Statement s = NULL;
    int r = index_prepare(x, "UPDATE collections SET generation = ?, items = ? WHERE id = ?", &s);

    if (r < 0)
        return r;
    sqlite3_randomness(sizeof c->generation, &c->generation);
    sqlite3_bind_int64(s, 1, c->generation);
    sqlite3_bind_int64(s, 2, (int64_t)c->n_items);
    sqlite3_bind_int64(s, 3, c->id);
    return index_step(x, s);
}

int index_collection(Index *x, const char *name)
{
    _cleanup_statement_ Statement s = NULL;
    Collection c;
    int64_t n;
    int r = index_find(x, name, &c);

    if (r != -ENOENT)
        return r;
    r = index_number(x, "SELECT count(*) FROM collections", 0, &n);
    if (r < 0)
        return r;
    if (n >= INDEX_COLLECTIONS_MAX)
        return -EDQUOT;
    r = index_prepare(x, "INSERT INTO collections (name, generation) VALUES (?, random())", &s);
    if (r < 0)
        return r;
    index_bind_text(s, 1, name);
    return index_step(x, s);
}

int index_delete(Index *x, const char *name)
{
    _cleanup_statement_ Statement s = NULL;
    Collection c;
    int r = index_find(x, name, &c);

    if (r >= 0)
        r = index_prepare(x, "DELETE FROM collections WHERE id = ?", &s);
    if (r < 0)
        return r;
    sqlite3_bind_int64(s, 1, c.id);
    r = index_step(x, s);
    if (r >= 0)
        matrix_forget(x, c.id);
    return r;
}

static int count_stale(Index *x, const Collection *c, int64_t *ret_stale)
{
    int64_t n_fresh = 0;
    int r = index_number(x,
                         "SELECT count(*) FROM items i JOIN collections c ON c.id = i.collection"
                         " AND c.epoch = i.epoch WHERE c.id = ?",
                         c->id, &n_fresh);

    *ret_stale = (int64_t)c->n_items - n_fresh;
    return r;
}

static int count_to_do(Index *x, const Collection *c, int64_t *ret_texts)
{
    return index_number(x,
                        "SELECT count(*) FROM items i JOIN collections c ON c.id = i.collection"
                        " AND i.epoch < c.epoch WHERE c.id = ? AND i.again = 1",
                        c->id, ret_texts);
}

static int describe(Index *x, const Collection *c, const char *name, IndexCollection *ret)
{
    int64_t n_stale = 0, left = 0;
    int r = 0;

    /* Before the first change of model all items are fresh, and need no counting. */
    if (c->epoch > 1)
        r = count_stale(x, c, &n_stale);
    if (r >= 0 && c->rebuilding)
        r = count_to_do(x, c, &left);
    if (r < 0 || n_stale < 0 || strlen(name) > INDEX_NAME_MAX)
        return r < 0 ? r : -EBADMSG;
    *ret = (IndexCollection){
        .has_model = c->has_model,
        .n_items = c->n_items,
        .n_stale = (size_t)n_stale,
        .rebuilding = c->rebuilding,
        .progress = c->to_do > 0 && left < c->to_do ? 1 - (double)left / (double)c->to_do : 0,
    };
    memcpy(ret->digest, c->digest, INDEX_DIGEST);
    strcpy(ret->name, name);
    return 0;
}

int index_info(Index *x, const char *name, IndexCollection *ret_collection)
{
    Collection c;
    int r = index_find(x, name, &c);

    return r < 0 ? r : describe(x, &c, name, ret_collection);
}

int index_list(Index *x, IndexCollection **ret_collections, size_t *ret_n)
{
    _cleanup_free_ IndexCollection *list = calloc(INDEX_COLLECTIONS_MAX, sizeof *list);
    _cleanup_statement_ Statement s = NULL;
    size_t n = 0;
    int r =
        list ? index_prepare(x, "SELECT " COLUMNS " FROM collections ORDER BY name", &s) : -ENOMEM;

    while (r >= 0 && (r = index_step(x, s)) > 0) {
        const char *name = (const char *)sqlite3_column_text(s, 7);
        Collection c;

        if (!name || n == INDEX_COLLECTIONS_MAX)
            return -EBADMSG;
        r = collection_read(s, &c);
        if (r >= 0)
            r = describe(x, &c, name, &list[n++]);
    }
    if (r < 0)
        return r;
    *ret_collections = steal_ptr(&list);
    *ret_n = n;
    return 0;
}
