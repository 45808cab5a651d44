#include "fusion/index-private.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "engine/base/half.h"

int index_quantise(const float *vector, Quantised *ret_vector)
{
    float largest = 0, scale;

    for (size_t i = 0; i < INDEX_VECTOR; i++) {
        if (!isfinite(vector[i]) || fabsf(vector[i]) > 2)
            return -EINVAL;
        largest = fmaxf(largest, fabsf(vector[i]));
    }
    if (largest < 0x1p-14f) /* below what f16 holds well */
        return -EINVAL;
    scale = largest / 127;
    ret_vector->scale = scale;
    for (size_t i = 0; i < INDEX_VECTOR; i++) {
        ret_vector->bytes[i] = (int8_t)lrintf(vector[i] / scale);
        ret_vector->halves[i] = f32_to_f16(vector[i]);
    }
    return 0;
}

int index_check(const IndexItem *item)
{
    if (!index_word_valid(item->id) || !item->text || item->modality >= _MODALITY_COUNT)
        return -EINVAL;
    if (strnlen(item->text, INDEX_TEXT_MAX + 1) > INDEX_TEXT_MAX || item->n_pairs > INDEX_PAIRS_MAX)
        return -E2BIG;
    for (size_t i = 0; i < item->n_pairs; i++)
        if (!index_word_valid(item->pairs[i].key) || !item->pairs[i].value)
            return -EINVAL;
        else if (strnlen(item->pairs[i].value, INDEX_VALUE_MAX + 1) > INDEX_VALUE_MAX)
            return -E2BIG;
    return 0;
}

/* What one call changes, its statements, and what the matrix is told afterwards. */
typedef struct Put {
    Statement find, remove, item, pair;
    Collection c;
    MatrixChange change;
} Put;

static void put_deinit(Put *p)
{
    sqlite3_finalize(p->find);
    sqlite3_finalize(p->remove);
    sqlite3_finalize(p->item);
    sqlite3_finalize(p->pair);
    change_deinit(&p->change);
}

static int prepare_remove(Index *x, Put *p)
{
    int r = index_prepare(x, "SELECT id FROM items WHERE collection = ? AND name = ?", &p->find);

    return r < 0 ? r : index_prepare(x, "DELETE FROM items WHERE id = ?", &p->remove);
}

static int prepare_put(Index *x, Put *p)
{
    int r = prepare_remove(x, p);

    if (r >= 0)
        r = index_prepare(x,
                          "INSERT INTO items (collection, name, modality, epoch, again, tail,"
                          " scale, bytes, halves, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                          &p->item);
    if (r >= 0)
        r = index_prepare(x, "INSERT OR REPLACE INTO pairs (item, key, value) VALUES (?, ?, ?)",
                          &p->pair);
    return r;
}

/* 1: it was there. */
static int remove_item(Index *x, Put *p, const char *id)
{
    int64_t row;
    int r;

    sqlite3_reset(p->find);
    sqlite3_bind_int64(p->find, 1, p->c.id);
    index_bind_text(p->find, 2, id);
    r = index_step(x, p->find);
    if (r <= 0)
        return r;
    row = sqlite3_column_int64(p->find, 0);
    sqlite3_reset(p->find);
    sqlite3_reset(p->remove);
    sqlite3_bind_int64(p->remove, 1, row);
    r = index_step(x, p->remove);
    if (r < 0)
        return r;
    if (p->c.n_items == 0)
        return -EBADMSG;
    p->c.n_items--;
    p->change.removed[p->change.n_removed++] = row;
    return 1;
}

static int insert_item(Index *x, Put *p, const IndexItem *item, const Quantised *q)
{
    int r;

    sqlite3_reset(p->item);
    sqlite3_bind_int64(p->item, 1, p->c.id);
    index_bind_text(p->item, 2, item->id);
    sqlite3_bind_int(p->item, 3, (int)item->modality);
    sqlite3_bind_int64(p->item, 4, p->c.epoch);
    sqlite3_bind_int(p->item, 5, item->modality == MODALITY_TEXT && *item->text);
    sqlite3_bind_int(p->item, 6, item->tail);
    sqlite3_bind_double(p->item, 7, q->scale);
    sqlite3_bind_blob(p->item, 8, q->bytes, sizeof q->bytes, SQLITE_STATIC);
    sqlite3_bind_blob(p->item, 9, q->halves, sizeof q->halves, SQLITE_STATIC);
    index_bind_text(p->item, 10, item->text);
    r = index_step(x, p->item);
    sqlite3_clear_bindings(p->item);
    return r;
}

static int insert_pairs(Index *x, Put *p, const IndexItem *item, int64_t row)
{
    int r = 0;

    for (size_t i = 0; i < item->n_pairs && r >= 0; i++) {
        sqlite3_reset(p->pair);
        sqlite3_bind_int64(p->pair, 1, row);
        index_bind_text(p->pair, 2, item->pairs[i].key);
        index_bind_text(p->pair, 3, item->pairs[i].value);
        r = index_step(x, p->pair);
    }
    return r;
}

static int put_item(Index *x, Put *p, const IndexItem *item)
{
    Quantised q;
    int64_t row;
    int r = index_check(item);

    if (r >= 0)
        r = index_quantise(item->vector, &q);
    if (r >= 0)
        r = remove_item(x, p, item->id);
    if (r >= 0)
        r = insert_item(x, p, item, &q);
    if (r < 0)
        return r;
    p->c.n_items++;
    row = sqlite3_last_insert_rowid(x->db);
    change_add(&p->change, row, item->modality, &q);
    return insert_pairs(x, p, item, row);
}

/* Items without a model of their own: those that a collection gets first decide. */
static int adopt_model(Index *x, Put *p, const uint8_t digest[INDEX_DIGEST])
{
    _cleanup_statement_ Statement s = NULL;
    int r;

    if (p->c.has_model && memcmp(p->c.digest, digest, INDEX_DIGEST) == 0)
        return 0;
    r = index_prepare(x, "UPDATE collections SET model = ?, rebuilding = 0 WHERE id = ?", &s);
    if (r < 0)
        return r;
    sqlite3_bind_blob(s, 1, digest, INDEX_DIGEST, SQLITE_STATIC);
    sqlite3_bind_int64(s, 2, p->c.id);
    return index_step(x, s);
}

static int check_quota(Index *x, const Put *p)
{
    int64_t others;
    int r = index_number(x, "SELECT coalesce(sum(items), 0) FROM collections WHERE id <> ?",
                         p->c.id, &others);

    if (r < 0)
        return r;
    return others + (int64_t)p->c.n_items > INDEX_ITEMS_MAX ? -EDQUOT : 0;
}

int index_put(Index *x, const char *name, const uint8_t digest[INDEX_DIGEST],
              const IndexItem *items, size_t n)
{
    _cleanup_(put_deinit) Put p = {0};
    int64_t before;
    int r = index_find_model(x, name, digest, &p.c);

    before = p.c.generation;
    if (r >= 0)
        r = prepare_put(x, &p);
    if (r >= 0)
        r = change_init(&p.change, n, n);
    if (r >= 0)
        r = index_begin(x);
    if (r < 0)
        return r;
    r = adopt_model(x, &p, digest);
    for (size_t i = 0; i < n && r >= 0; i++)
        r = put_item(x, &p, &items[i]);
    if (r >= 0)
        r = check_quota(x, &p);
    if (r >= 0)
        r = index_touch(x, &p.c);
    r = index_end(x, r);
    if (r >= 0)
        matrix_follow(x, &p.c, before, &p.change);
    return r;
}

int index_remove(Index *x, const char *name, const char *const *ids, size_t n, size_t *ret_removed)
{
    _cleanup_(put_deinit) Put p = {0};
    int64_t before;
    int r = index_find(x, name, &p.c);

    before = p.c.generation;
    if (r >= 0)
        r = prepare_remove(x, &p);
    if (r >= 0)
        r = change_init(&p.change, 0, n);
    if (r >= 0)
        r = index_begin(x);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n && r >= 0; i++)
        r = remove_item(x, &p, ids[i]);
    if (r >= 0)
        r = index_touch(x, &p.c);
    r = index_end(x, r);
    if (r < 0)
        return r;
    matrix_follow(x, &p.c, before, &p.change);
    *ret_removed = p.change.n_removed;
    return 0;
}
