#include "fusion/index-private.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/half.h"

#define PAGE_BYTES 4096

/* In WAL mode with synchronous=NORMAL a commit survives the end of the process at once, and the
 * end of the machine as soon as a checkpoint has flushed it: index_sync() makes one. */
#define OPEN_SQL                                                                                   \
    "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"             \
    "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"          \
    "CREATE TABLE IF NOT EXISTS collections (id INTEGER PRIMARY KEY AUTOINCREMENT,"                \
    " name TEXT NOT NULL UNIQUE, model BLOB NOT NULL, generation INTEGER NOT NULL);"               \
    "CREATE TABLE IF NOT EXISTS items (id INTEGER PRIMARY KEY AUTOINCREMENT,"                      \
    " collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,"                       \
    " name TEXT NOT NULL, modality INTEGER NOT NULL, body TEXT NOT NULL,"                          \
    " scale REAL NOT NULL, bytes BLOB NOT NULL, halves BLOB NOT NULL,"                             \
    " UNIQUE (collection, name));"                                                                 \
    "CREATE TABLE IF NOT EXISTS pairs (item INTEGER NOT NULL REFERENCES items"                     \
    " ON DELETE CASCADE, key TEXT NOT NULL, value TEXT NOT NULL,"                                  \
    " PRIMARY KEY (item, key)) WITHOUT ROWID;"

int index_error(Index *x, int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
        return 0;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -EBADMSG;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return -EACCES;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_TOOBIG:
        return -E2BIG;
    case SQLITE_FULL: { /* of the disk, or of the page limit */
        int e = sqlite3_system_errno(x->db);
        return e == ENOSPC ? -ENOSPC : -EDQUOT;
    }
    case SQLITE_ERROR: /* a table that is not as we made it */
        return -EBADMSG;
    default:
        return -EIO;
    }
}

int index_prepare(Index *x, const char *sql, Statement *ret_statement)
{
    return index_error(x, sqlite3_prepare_v2(x->db, sql, -1, ret_statement, NULL));
}

int index_step(Index *x, Statement s)
{
    int r = sqlite3_step(s);

    return r == SQLITE_ROW ? 1 : r == SQLITE_DONE ? 0 : index_error(x, r);
}

static int index_run(Index *x, const char *sql)
{
    return index_error(x, sqlite3_exec(x->db, sql, NULL, NULL, NULL));
}

static void bind_text(Statement s, int at, const char *text)
{
    sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

int index_open(const char *path, Index **ret_index)
{
    _cleanup_(index_closep) Index *x = calloc(1, sizeof *x);
    _cleanup_close_ int fd = -1;
    char limit[64];
    int r;

    if (!x)
        return -ENOMEM;
    /* SQLite would take the umask; this is private to one user. */
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    r = sqlite3_open_v2(
        path, &x->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
    if (r != SQLITE_OK)
        return index_error(x, r);
    sqlite3_extended_result_codes(x->db, 1);
    snprintf(limit, sizeof limit, "PRAGMA max_page_count = %lld",
             (long long)(INDEX_BYTES_MAX / PAGE_BYTES));
    r = index_run(x, OPEN_SQL);
    if (r >= 0)
        r = index_run(x, limit);
    if (r < 0)
        return r;
    *ret_index = steal_ptr(&x);
    return 0;
}

Index *index_close(Index *x)
{
    if (!x)
        return NULL;
    matrix_clear(&x->matrix);
    sqlite3_close(x->db);
    free(x);
    return NULL;
}

bool index_word_valid(const char *word)
{
    size_t n = word ? strnlen(word, INDEX_NAME_MAX + 1) : 0;

    return n > 0 && n <= INDEX_NAME_MAX;
}

int index_find(Index *x, const char *name, const uint8_t *digest, Collection *ret_collection)
{
    _cleanup_statement_ Statement s = NULL;
    int r;

    if (!index_word_valid(name))
        return -EINVAL;
    r = index_prepare(x,
                      "SELECT id, generation, model, (SELECT count(*) FROM items"
                      " WHERE collection = c.id) FROM collections c WHERE name = ?",
                      &s);
    if (r < 0)
        return r;
    bind_text(s, 1, name);
    r = index_step(x, s);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    if (sqlite3_column_bytes(s, 2) != INDEX_DIGEST)
        return -EBADMSG;
    if (digest && memcmp(sqlite3_column_blob(s, 2), digest, INDEX_DIGEST) != 0)
        return -ESTALE;
    ret_collection->id = sqlite3_column_int64(s, 0);
    ret_collection->generation = sqlite3_column_int64(s, 1);
    ret_collection->n_items = (size_t)sqlite3_column_int64(s, 3);
    return 0;
}

/* One number of the database. */
static int index_number(Index *x, const char *sql, int64_t *ret_number)
{
    _cleanup_statement_ Statement s = NULL;
    int r = index_prepare(x, sql, &s);

    if (r >= 0)
        r = index_step(x, s);
    if (r <= 0)
        return r < 0 ? r : -EBADMSG;
    *ret_number = sqlite3_column_int64(s, 0);
    return 0;
}

int index_collection(Index *x, const char *name, const uint8_t digest[INDEX_DIGEST])
{
    _cleanup_statement_ Statement s = NULL;
    Collection c;
    int64_t n;
    int r = index_find(x, name, digest, &c);

    if (r != -ENOENT)
        return r;
    r = index_number(x, "SELECT count(*) FROM collections", &n);
    if (r < 0)
        return r;
    if (n >= INDEX_COLLECTIONS_MAX)
        return -EDQUOT;
    r = index_prepare(x, "INSERT INTO collections (name, model, generation) VALUES (?, ?, 0)", &s);
    if (r < 0)
        return r;
    bind_text(s, 1, name);
    sqlite3_bind_blob(s, 2, digest, INDEX_DIGEST, SQLITE_STATIC);
    return index_step(x, s);
}

int index_delete(Index *x, const char *name)
{
    _cleanup_statement_ Statement s = NULL;
    Collection c;
    int r = index_find(x, name, NULL, &c);

    if (r >= 0)
        r = index_prepare(x, "DELETE FROM collections WHERE id = ?", &s);
    if (r < 0)
        return r;
    sqlite3_bind_int64(s, 1, c.id);
    return index_step(x, s);
}

int8_t index_round(float value, float scale)
{
    return (int8_t)lrintf(value / scale);
}

int index_scale(const float *vector, float *ret_scale)
{
    float largest = 0;

    for (size_t i = 0; i < INDEX_VECTOR; i++) {
        if (!isfinite(vector[i]) || fabsf(vector[i]) > 2)
            return -EINVAL;
        largest = fmaxf(largest, fabsf(vector[i]));
    }
    if (largest < 0x1p-14f) /* below what f16 holds well */
        return -EINVAL;
    *ret_scale = largest / 127;
    return 0;
}

static int item_check(const IndexItem *item)
{
    if (!index_word_valid(item->id) || !item->text || item->modality >= _MODALITY_COUNT)
        return -EINVAL;
    if (strnlen(item->text, INDEX_TEXT_MAX + 1) > INDEX_TEXT_MAX || item->n_pairs > INDEX_PAIRS_MAX)
        return -E2BIG;
    for (size_t i = 0; i < item->n_pairs; i++)
        if (!index_word_valid(item->pairs[i].key) || !item->pairs[i].value)
            return -EINVAL;
        else if (strnlen(item->pairs[i].value, INDEX_TEXT_MAX + 1) > INDEX_TEXT_MAX)
            return -E2BIG;
    return 0;
}

typedef struct Put {
    Statement remove, item, pair;
} Put;

static void put_deinit(Put *p)
{
    sqlite3_finalize(p->remove);
    sqlite3_finalize(p->item);
    sqlite3_finalize(p->pair);
}

static int put_prepare(Index *x, Put *p)
{
    int r = index_prepare(x, "DELETE FROM items WHERE collection = ? AND name = ?", &p->remove);

    if (r >= 0)
        r = index_prepare(x,
                          "INSERT INTO items (collection, name, modality, body, scale, bytes,"
                          " halves) VALUES (?, ?, ?, ?, ?, ?, ?)",
                          &p->item);
    if (r >= 0)
        r = index_prepare(x, "INSERT OR REPLACE INTO pairs (item, key, value) VALUES (?, ?, ?)",
                          &p->pair);
    return r;
}

static int put_remove(Index *x, Statement remove, int64_t collection, const char *id)
{
    sqlite3_reset(remove);
    sqlite3_bind_int64(remove, 1, collection);
    bind_text(remove, 2, id);
    return index_step(x, remove);
}

static int put_item(Index *x, Put *p, int64_t collection, const IndexItem *item)
{
    int8_t bytes[INDEX_VECTOR];
    uint16_t halves[INDEX_VECTOR];
    float scale;
    int64_t row;
    int r = item_check(item);

    if (r >= 0)
        r = index_scale(item->vector, &scale);
    if (r >= 0)
        r = put_remove(x, p->remove, collection, item->id);
    if (r < 0)
        return r;
    for (size_t i = 0; i < INDEX_VECTOR; i++) {
        bytes[i] = index_round(item->vector[i], scale);
        halves[i] = f32_to_f16(item->vector[i]);
    }
    sqlite3_reset(p->item);
    sqlite3_bind_int64(p->item, 1, collection);
    bind_text(p->item, 2, item->id);
    sqlite3_bind_int(p->item, 3, (int)item->modality);
    bind_text(p->item, 4, item->text);
    sqlite3_bind_double(p->item, 5, scale);
    sqlite3_bind_blob(p->item, 6, bytes, sizeof bytes, SQLITE_STATIC);
    sqlite3_bind_blob(p->item, 7, halves, sizeof halves, SQLITE_STATIC);
    r = index_step(x, p->item);
    row = sqlite3_last_insert_rowid(x->db);
    sqlite3_clear_bindings(p->item);
    for (size_t i = 0; i < item->n_pairs && r >= 0; i++) {
        sqlite3_reset(p->pair);
        sqlite3_bind_int64(p->pair, 1, row);
        bind_text(p->pair, 2, item->pairs[i].key);
        bind_text(p->pair, 3, item->pairs[i].value);
        r = index_step(x, p->pair);
    }
    return r;
}

static int index_touch(Index *x, int64_t collection)
{
    _cleanup_statement_ Statement s = NULL;
    int r = index_prepare(x, "UPDATE collections SET generation = generation + 1 WHERE id = ?", &s);

    if (r < 0)
        return r;
    sqlite3_bind_int64(s, 1, collection);
    return index_step(x, s);
}

/* Ends what BEGIN began: all of it or, after an error, nothing. */
static int index_end(Index *x, int r)
{
    if (r >= 0)
        r = index_run(x, "COMMIT");
    if (r < 0 && !sqlite3_get_autocommit(x->db))
        index_run(x, "ROLLBACK");
    return r;
}

int index_put(Index *x, const char *name, const uint8_t digest[INDEX_DIGEST],
              const IndexItem *items, size_t n)
{
    _cleanup_(put_deinit) Put p = {0};
    Collection c;
    int64_t total;
    int r = index_find(x, name, digest, &c);

    if (r >= 0)
        r = put_prepare(x, &p);
    if (r >= 0)
        r = index_run(x, "BEGIN IMMEDIATE");
    if (r < 0)
        return r;
    for (size_t i = 0; i < n && r >= 0; i++)
        r = put_item(x, &p, c.id, &items[i]);
    if (r >= 0)
        r = index_number(x, "SELECT count(*) FROM items", &total);
    if (r >= 0 && total > INDEX_ITEMS_MAX)
        r = -EDQUOT;
    if (r >= 0)
        r = index_touch(x, c.id);
    return index_end(x, r);
}

int index_remove(Index *x, const char *name, const char *const *ids, size_t n, size_t *ret_removed)
{
    _cleanup_statement_ Statement s = NULL;
    Collection c;
    size_t removed = 0;
    int r = index_find(x, name, NULL, &c);

    if (r >= 0)
        r = index_prepare(x, "DELETE FROM items WHERE collection = ? AND name = ?", &s);
    if (r >= 0)
        r = index_run(x, "BEGIN IMMEDIATE");
    if (r < 0)
        return r;
    for (size_t i = 0; i < n && r >= 0; i++) {
        r = put_remove(x, s, c.id, ids[i]);
        removed += r >= 0 && sqlite3_changes(x->db) > 0;
    }
    if (r >= 0)
        r = index_touch(x, c.id);
    r = index_end(x, r);
    if (r >= 0)
        *ret_removed = removed;
    return r;
}

int index_text(Index *x, const char *name, const char *id, Modality *ret_modality, char **ret_text)
{
    _cleanup_statement_ Statement s = NULL;
    Collection c;
    const char *text;
    char *copy;
    int r = index_find(x, name, NULL, &c);

    if (r >= 0)
        r = index_prepare(x, "SELECT modality, body FROM items WHERE collection = ? AND name = ?",
                          &s);
    if (r < 0)
        return r;
    sqlite3_bind_int64(s, 1, c.id);
    bind_text(s, 2, id);
    r = index_step(x, s);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    text = (const char *)sqlite3_column_text(s, 1);
    if (!text || sqlite3_column_int(s, 0) < 0 || sqlite3_column_int(s, 0) >= _MODALITY_COUNT)
        return -EBADMSG;
    copy = strdup(text);
    if (!copy)
        return -ENOMEM;
    *ret_modality = (Modality)sqlite3_column_int(s, 0);
    *ret_text = copy;
    return 0;
}

int index_count(Index *x, const char *name, size_t *ret_items)
{
    Collection c;
    int r = index_find(x, name, NULL, &c);

    if (r >= 0)
        *ret_items = c.n_items;
    return r;
}

int index_sync(Index *x)
{
    return index_error(x,
                       sqlite3_wal_checkpoint_v2(x->db, NULL, SQLITE_CHECKPOINT_FULL, NULL, NULL));
}
