#include "fusion/index-private.h"

#include <errno.h>
#include <string.h>

#include "engine/base/half.h"

static void record_deinit(IndexRecord *r)
{
    for (size_t i = 0; i < r->n_pairs; i++) {
        free((char *)r->pairs[i].key);
        free((char *)r->pairs[i].value);
    }
    free(r->pairs);
    free(r->id);
    free(r->text);
    *r = (IndexRecord){0};
}

void index_records_free(IndexRecords *r)
{
    for (size_t i = 0; i < r->n; i++)
        record_deinit(&r->list[i]);
    free(r->list);
    *r = (IndexRecords){0};
}

/* A copy of a column's first bytes, whole characters only. */
static int copy_text(Statement s, int at, size_t max, size_t *left, char **ret_text)
{
    const char *text = (const char *)sqlite3_column_text(s, at);
    size_t n = text ? (size_t)sqlite3_column_bytes(s, at) : 0;
    char *copy;

    if (!text)
        return -EBADMSG;
    if (n > max)
        for (n = max; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80; n--)
            ;
    if (n > *left)
        return -E2BIG;
    copy = strndup(text, n);
    if (!copy)
        return -ENOMEM;
    *left -= n;
    *ret_text = copy;
    return 0;
}

static int read_pairs(Index *x, int64_t row, size_t *left, IndexRecord *record)
{
    _cleanup_statement_ Statement s = NULL;
    int r = index_prepare(x, "SELECT key, value FROM pairs WHERE item = ? ORDER BY key", &s);

    if (r < 0)
        return r;
    sqlite3_bind_int64(s, 1, row);
    while ((r = index_step(x, s)) > 0) {
        IndexPair *pair;

        if (record->n_pairs == INDEX_PAIRS_MAX)
            return -EBADMSG;
        if (!record->pairs)
            record->pairs = calloc(INDEX_PAIRS_MAX, sizeof *record->pairs);
        if (!record->pairs)
            return -ENOMEM;
        pair = &record->pairs[record->n_pairs++];
        r = copy_text(s, 0, SIZE_MAX, left, (char **)&pair->key);
        if (r >= 0)
            r = copy_text(s, 1, SIZE_MAX, left, (char **)&pair->value);
        if (r < 0)
            return r;
    }
    return r;
}

static int read_item(Statement s, const Collection *c, size_t text_bytes, size_t *left,
                     IndexRecord *record)
{
    int modality = sqlite3_column_int(s, 1), r;
    const uint8_t *halves = sqlite3_column_blob(s, 3);

    if (modality < 0 || modality >= _MODALITY_COUNT || !halves ||
        sqlite3_column_bytes(s, 3) != INDEX_VECTOR * sizeof(uint16_t))
        return -EBADMSG;
    record->modality = (Modality)modality;
    record->stale = sqlite3_column_int64(s, 2) != c->epoch;
    for (size_t i = 0; i < INDEX_VECTOR; i++)
        record->vector[i] = f16_load(halves + 2 * i);
    r = copy_text(s, 0, SIZE_MAX, left, &record->id);
    if (r >= 0 && text_bytes > 0)
        r = copy_text(s, 4, text_bytes, left, &record->text);
    return r;
}

int index_read_row(Index *x, int64_t row, const Collection *c, const IndexWish *wish, size_t *total,
                   IndexRecord *ret_record)
{
    _cleanup_statement_ Statement s = NULL;
    IndexRecord record = {0};
    size_t left = wish->max_bytes - *total;
    int r =
        index_prepare(x, "SELECT name, modality, epoch, halves, body FROM items WHERE id = ?", &s);

    if (r < 0)
        return r;
    sqlite3_bind_int64(s, 1, row);
    r = index_step(x, s);
    if (r <= 0)
        return r < 0 ? r : -EBADMSG;
    r = read_item(s, c, wish->text_bytes, &left, &record);
    if (r >= 0)
        r = read_pairs(x, row, &left, &record);
    if (r < 0) {
        record_deinit(&record);
        return r;
    }
    *total = wish->max_bytes - left;
    *ret_record = record;
    return 0;
}

/* 0: there is no such item. */
static int find_row(Index *x, Statement s, const Collection *c, const char *id, int64_t *ret_row)
{
    int r;

    sqlite3_reset(s);
    sqlite3_bind_int64(s, 1, c->id);
    index_bind_text(s, 2, id);
    r = index_step(x, s);
    if (r > 0)
        *ret_row = sqlite3_column_int64(s, 0);
    return r;
}

int index_get(Index *x, const char *name, const char *const *ids, size_t n, const IndexWish *wish,
              IndexRecords *ret_records)
{
    _cleanup_(index_records_free) IndexRecords found = {0};
    _cleanup_statement_ Statement s = NULL;
    size_t total = 0;
    Collection c;
    int r = index_find(x, name, &c);

    if (r >= 0)
        r = index_prepare(x, "SELECT id FROM items WHERE collection = ? AND name = ?", &s);
    if (r < 0)
        return r;
    found.list = calloc(n + 1, sizeof *found.list);
    if (!found.list)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        int64_t row;

        r = find_row(x, s, &c, ids[i], &row);
        if (r > 0)
            r = index_read_row(x, row, &c, wish, &total, &found.list[found.n]);
        else if (r == 0)
            continue;
        if (r < 0)
            return r;
        found.n++;
    }
    if (found.n == 0)
        return -ENOENT;
    *ret_records = found;
    found = (IndexRecords){0};
    return 0;
}

int index_names(Index *x, const char *name, const char *after, size_t max,
                IndexRecords *ret_records)
{
    _cleanup_(index_records_free) IndexRecords found = {0};
    _cleanup_statement_ Statement s = NULL;
    Collection c;
    int r = index_find(x, name, &c);

    if (r >= 0)
        r = index_prepare(x,
                          "SELECT name FROM items WHERE collection = ? AND name > ?"
                          " ORDER BY name LIMIT ?",
                          &s);
    if (r < 0)
        return r;
    found.list = calloc(max + 1, sizeof *found.list);
    if (!found.list)
        return -ENOMEM;
    sqlite3_bind_int64(s, 1, c.id);
    sqlite3_bind_text(s, 2, after, -1, SQLITE_STATIC);
    sqlite3_bind_int64(s, 3, (sqlite3_int64)max);
    while (found.n < max && (r = index_step(x, s)) > 0) {
        size_t left = INDEX_NAME_MAX;

        r = copy_text(s, 0, INDEX_NAME_MAX, &left, &found.list[found.n].id);
        if (r < 0)
            return r;
        found.n++;
    }
    if (r < 0)
        return r;
    *ret_records = found;
    found = (IndexRecords){0};
    return 0;
}
