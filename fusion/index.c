#include "fusion/index-private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PAGE_BYTES   4096
#define PAGES_MAX    (INDEX_BYTES_MAX / PAGE_BYTES)
#define FILE_NAME    "index.db"
#define VERSION      1
#define STRING(x)    STRING_OF(x)
#define STRING_OF(x) #x

/* In WAL mode with synchronous=NORMAL a commit survives the end of the process at once, and the
 * end of the machine as soon as a checkpoint has flushed it: index_sync() makes one. */
static const char open_sql[] =
    "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
    "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;";

/* An item is fresh when its epoch is its collection's; `again` marks those whose vector can be made
 * anew from their text. Vectors stand before texts, which may go on over many pages. */
static const char make_sql[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE collections (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
    " model BLOB, generation INTEGER NOT NULL, items INTEGER NOT NULL DEFAULT 0,"
    " epoch INTEGER NOT NULL DEFAULT 1, rebuilding INTEGER NOT NULL DEFAULT 0,"
    " to_do INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE items (id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,"
    " name TEXT NOT NULL, modality INTEGER NOT NULL, epoch INTEGER NOT NULL,"
    " again INTEGER NOT NULL, tail INTEGER NOT NULL, scale REAL NOT NULL,"
    " bytes BLOB NOT NULL, halves BLOB NOT NULL, body TEXT NOT NULL,"
    " UNIQUE (collection, name));"
    "CREATE INDEX items_by_epoch ON items (collection, epoch);"
    "CREATE INDEX items_again ON items (collection, epoch) WHERE again = 1;"
    "CREATE TABLE pairs (item INTEGER NOT NULL REFERENCES items ON DELETE CASCADE,"
    " key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (item, key)) WITHOUT ROWID;"
    "CREATE INDEX pairs_by_value ON pairs (key, value, item);"
    "PRAGMA user_version = " STRING(VERSION) ";"
                                             "COMMIT;";

/* SQLite does not keep the errno of a write that found no room. */
static int64_t pages_used(Index *x)
{
    _cleanup_statement_ Statement s = NULL;

    if (sqlite3_prepare_v2(x->db, "PRAGMA page_count", -1, &s, NULL) != SQLITE_OK ||
        sqlite3_step(s) != SQLITE_ROW)
        return 0;
    return sqlite3_column_int64(s, 0);
}

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
    case SQLITE_FULL: /* the disk, or all the pages that it may have */
        return pages_used(x) < PAGES_MAX ? -ENOSPC : -EDQUOT;
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

int index_run(Index *x, const char *sql)
{
    return index_error(x, sqlite3_exec(x->db, sql, NULL, NULL, NULL));
}

void index_bind_text(Statement s, int at, const char *text)
{
    sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

int index_begin(Index *x)
{
    return index_run(x, "BEGIN IMMEDIATE");
}

int index_end(Index *x, int r)
{
    if (r >= 0)
        r = index_run(x, "COMMIT");
    if (r < 0)
        index_run(x, "ROLLBACK");
    return r;
}

int index_number(Index *x, const char *sql, int64_t collection, int64_t *ret_number)
{
    _cleanup_statement_ Statement s = NULL;
    int r = index_prepare(x, sql, &s);

    if (r < 0)
        return r;
    if (sqlite3_bind_parameter_count(s) > 0)
        sqlite3_bind_int64(s, 1, collection);
    r = index_step(x, s);
    if (r <= 0)
        return r < 0 ? r : -EBADMSG;
    *ret_number = sqlite3_column_int64(s, 0);
    return 0;
}

static int tables_make(Index *x)
{
    int64_t version;
    int r = index_number(x, "PRAGMA user_version", 0, &version);

    if (r < 0 || version == VERSION)
        return r;
    return version == 0 ? index_run(x, make_sql) : -EBADMSG;
}

/* SQLite would take the umask, but this is private to one user: folder and file are made first. */
static int files_open(Index *x, const char *folder)
{
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return -errno;
    x->folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (x->folder_fd < 0)
        return -errno;
    x->db_fd = openat(x->folder_fd, FILE_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return x->db_fd < 0 ? -errno : 0;
}

void index_use_pool(Index *x, Pool *pool)
{
    x->pool = pool;
}

int index_open(const char *folder, Pool *pool, unsigned cpu_mask, Index **ret_index)
{
    _cleanup_(index_closep) Index *x = calloc(1, sizeof *x);
    _cleanup_free_ char *path = NULL;
    char limit[64];
    int r;

    if (!x)
        return -ENOMEM;
    *x = (Index){.folder_fd = -1, .db_fd = -1, .pool = pool, .scan = scan_kernel(cpu_mask)};
    if (asprintf(&path, "%s/" FILE_NAME, folder) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    r = files_open(x, folder);
    if (r < 0)
        return r;
    r = sqlite3_open_v2(
        path, &x->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
    if (r != SQLITE_OK)
        return index_error(x, r);
    sqlite3_extended_result_codes(x->db, 1);
    snprintf(limit, sizeof limit, "PRAGMA max_page_count = %lld", (long long)PAGES_MAX);
    r = index_run(x, open_sql);
    if (r >= 0)
        r = tables_make(x);
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
    for (size_t i = 0; i < INDEX_MATRICES; i++)
        matrix_close(&x->matrices[i]);
    sqlite3_close(x->db);
    /* Closing any descriptor of a file lets go of all its locks, so this one stays until now. */
    if (x->db_fd >= 0)
        close(x->db_fd);
    if (x->folder_fd >= 0)
        close(x->folder_fd);
    free(x);
    return NULL;
}

bool index_is_current(const Index *x)
{
    struct stat mine;

    return fstat(x->db_fd, &mine) == 0 && mine.st_nlink > 0;
}

int index_purge(const char *folder)
{
    DIR *d = opendir(folder);
    struct dirent *entry;
    int r = d ? 0 : -errno;

    if (!d)
        return r;
    while ((entry = readdir(d)))
        if (*entry->d_name != '.' && unlinkat(dirfd(d), entry->d_name, 0) < 0)
            r = -errno;
    closedir(d);
    return r < 0 ? r : rmdir(folder) < 0 ? -errno : 0;
}

int index_sync(Index *x)
{
    return index_error(x,
                       sqlite3_wal_checkpoint_v2(x->db, NULL, SQLITE_CHECKPOINT_FULL, NULL, NULL));
}
