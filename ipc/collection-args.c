#include "ipc/collection-args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/bulk.h"
#include "ipc/options.h"
#include "ipc/vectors.h"

bool collection_args_kind(WorkKind kind)
{
    return kind >= WORK_OPEN_COLLECTION;
}

int args_check_name(const char *name, const char *what, Failure *failure)
{
    size_t n = strnlen(name, LIMIT_NAME + 1);

    if (n == 0)
        return failure_set(failure, ERROR_INVALID_ARGS, "%s is empty.", what);
    if (n > LIMIT_NAME)
        return failure_set(failure, ERROR_TOO_LARGE, "%s has more than %d bytes.", what,
                           LIMIT_NAME);
    return 0;
}

static int read_pair(DBusMessageIter *entry, const char *what, WordPair *pair, Failure *failure)
{
    int r;

    dbus_message_iter_get_basic(entry, &pair->key);
    dbus_message_iter_next(entry);
    dbus_message_iter_get_basic(entry, &pair->value);
    r = args_check_name(pair->key, "A word of metadata", failure);
    if (r >= 0 && strnlen(pair->value, LIMIT_VALUE + 1) > LIMIT_VALUE)
        r = failure_set(failure, ERROR_TOO_LARGE, "A value of %s has more than %d bytes.", what,
                        LIMIT_VALUE);
    return r;
}

int args_read_pairs(DBusMessageIter *iter, const char *what, WordPair **pairs, size_t *n,
                    Failure *failure)
{
    int count = dbus_message_iter_get_element_count(iter);
    DBusMessageIter element, entry;

    if (count > LIMIT_PAIRS)
        return failure_set(failure, ERROR_TOO_LARGE, "%s has more than %d words.", what,
                           LIMIT_PAIRS);
    *pairs = calloc((size_t)count + 1, sizeof **pairs);
    if (!*pairs)
        return -ENOMEM;
    dbus_message_iter_recurse(iter, &element);
    for (; *n < (size_t)count; ++*n, dbus_message_iter_next(&element)) {
        dbus_message_iter_recurse(&element, &entry);
        int r = read_pair(&entry, what, &(*pairs)[*n], failure);
        if (r < 0)
            return r;
    }
    return 0;
}

static int reserve_items(DBusMessageIter *iter, size_t max, WorkArgs *args, Failure *failure)
{
    int n = dbus_message_iter_get_element_count(iter);

    if (n == 0)
        return failure_set(failure, ERROR_INVALID_ARGS, "Items: give at least one.");
    if ((size_t)n > max)
        return failure_set(failure, ERROR_TOO_LARGE, "Items: at most %zu in one call.", max);
    args->collection.items = calloc((size_t)n, sizeof *args->collection.items);
    args->texts = calloc((size_t)n, sizeof *args->texts);
    return args->collection.items && args->texts ? 0 : -ENOMEM;
}

static int read_id(DBusMessageIter *iter, String *ret_id, Failure *failure)
{
    dbus_message_iter_get_basic(iter, &ret_id->data);
    ret_id->length = strlen(ret_id->data);
    dbus_message_iter_next(iter);
    return args_check_name(ret_id->data, "An identifier", failure);
}

/* Its a{sv}, read as the options of a call that is about nothing else. */
static int read_item_options(DBusMessageIter *iter, WorkKind kind, const ServerFacts *facts,
                             size_t *foreign_left, ItemInput *item, Failure *failure)
{
    WorkArgs scratch = {.kind = kind};
    int r = options_read_more(iter, facts, &scratch, foreign_left, failure);

    if (r >= 0 && kind == WORK_ADD_MEDIA && scratch.options.truncate == TRUNCATE_TAIL)
        r = failure_set(failure, ERROR_NOT_SUPPORTED, "Of media only the head can be kept.");
    item->pairs = scratch.collection.pairs;
    item->n_pairs = scratch.collection.n_pairs;
    item->truncate = scratch.options.truncate;
    item->high_detail = scratch.options.high_detail;
    memcpy(item->region, scratch.options.region, sizeof item->region);
    return r;
}

/* What is wrong with one text spoils that item only. */
static void read_text(DBusMessageIter *iter, WorkArgs *args, ItemInput *item)
{
    String *text = &args->texts[args->n_texts++];
    Failure unused = {0};

    dbus_message_iter_get_basic(iter, &text->data);
    text->length = strlen(text->data);
    dbus_message_iter_next(iter);
    (void)args_check_text(*text, 0, &unused);
    item->status = unused.code;
}

static size_t item_bytes(const WorkArgs *args, const ItemInput *item)
{
    size_t n = item->id.length;

    if (args->kind == WORK_ADD_TEXT && item->status == ERROR_NONE)
        n += args->texts[args->n_texts - 1].length;
    for (size_t i = 0; i < item->n_pairs; i++)
        n += strlen(item->pairs[i].key) + strlen(item->pairs[i].value);
    return n;
}

static int read_item(DBusMessageIter *part, const ServerFacts *facts, size_t *foreign_left,
                     WorkArgs *args, ItemInput *item, Failure *failure)
{
    int r = read_id(part, &item->id, failure);

    if (r < 0)
        return r;
    if (args->kind == WORK_ADD_TEXT)
        read_text(part, args, item);
    else {
        r = args_read_medium(part, args, failure);
        if (r < 0)
            return r;
        dbus_message_iter_next(part);
    }
    return read_item_options(part, args->kind, facts, foreign_left, item, failure);
}

static int read_items(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                      Failure *failure)
{
    size_t max = args->kind == WORK_ADD_TEXT ? LIMIT_ITEMS_PER_CALL : LIMIT_MEDIA_ITEMS;
    size_t total = 0, foreign_left = LIMIT_FOREIGN_BYTES;
    CollectionArgs *c = &args->collection;
    DBusMessageIter element, part;
    int r = reserve_items(iter, max, args, failure);

    if (r < 0)
        return r;
    dbus_message_iter_recurse(iter, &element);
    for (; dbus_message_iter_get_arg_type(&element) != DBUS_TYPE_INVALID;
         dbus_message_iter_next(&element)) {
        dbus_message_iter_recurse(&element, &part);
        r = read_item(&part, facts, &foreign_left, args, &c->items[c->n_items++], failure);
        if (r < 0)
            return r;
        total += item_bytes(args, &c->items[c->n_items - 1]);
        if (total > LIMIT_TEXT_BYTES_ALL)
            return failure_set(failure, ERROR_TOO_LARGE,
                               "The items have more than %u bytes in all: split the call.",
                               LIMIT_TEXT_BYTES_ALL);
    }
    return 0;
}

static int read_ids(DBusMessageIter *iter, WorkArgs *args, Failure *failure)
{
    int r = args_read_texts(iter, "Identifiers", LIMIT_ITEMS_PER_CALL, args, failure);

    for (size_t i = 0; i < args->n_texts && r >= 0; i++)
        r = args_check_name(args->texts[i].data, "An identifier", failure);
    return r;
}

static int read_name(DBusMessageIter *iter, WorkArgs *args, Failure *failure)
{
    const char *name;
    int r;

    dbus_message_iter_get_basic(iter, &name);
    r = args_check_name(name, "The name", failure);
    if (r >= 0)
        strcpy(args->collection.name, name);
    return r;
}

static void read_vector(DBusMessageIter *iter, WorkArgs *args)
{
    DBusMessageIter bytes;
    int n;

    dbus_message_iter_recurse(iter, &bytes);
    dbus_message_iter_get_fixed_array(&bytes, &args->collection.vectors, &n);
    args->bulk_size = (size_t)n;
}

static int check_vector(const ServerFacts *facts, const WorkArgs *args, Failure *failure)
{
    size_t size = facts->space_length * (args->options.dtype == VECTOR_F16 ? 2u : 4u);

    if (args->bulk_size == size)
        return 0;
    return failure_set(failure, ERROR_INVALID_ARGS, "The vector must have %zu bytes, it has %zu.",
                       size, args->bulk_size);
}

/* Where the list begins, and how long it is at most. */
static int read_position(DBusMessageIter *iter, WorkArgs *args, Failure *failure)
{
    dbus_uint32_t limit;

    dbus_message_iter_get_basic(iter, &args->question.data);
    args->question.length = strnlen(args->question.data, LIMIT_NAME + 1);
    if (args->question.length > LIMIT_NAME)
        return failure_set(failure, ERROR_TOO_LARGE, "An identifier has more than %d bytes.",
                           LIMIT_NAME);
    dbus_message_iter_next(iter);
    dbus_message_iter_get_basic(iter, &limit);
    if (limit < 1 || limit > LIMIT_ITEMS_PER_CALL)
        return failure_set(failure, ERROR_INVALID_ARGS, "The limit must be 1 to %d.",
                           LIMIT_ITEMS_PER_CALL);
    args->collection.limit = limit;
    return 0;
}

/* The arguments in front of the options. */
static int read_front(DBusMessageIter *iter, WorkKind kind, const ServerFacts *facts,
                      WorkArgs *args, Failure *failure)
{
    switch (kind) {
    case WORK_OPEN_COLLECTION:
    case WORK_DELETE_COLLECTION:
        return read_name(iter, args, failure);
    case WORK_ADD_TEXT:
    case WORK_ADD_MEDIA:
        return read_items(iter, facts, args, failure);
    case WORK_ADD_VECTORS:
        return args_read_memfd(iter, args, failure);
    case WORK_REMOVE:
    case WORK_GET:
        return read_ids(iter, args, failure);
    case WORK_LIST:
        return read_position(iter, args, failure);
    case WORK_SEARCH:
        return args_read_text(iter, "The text", args, failure);
    case WORK_SEARCH_MEDIA:
        return args_read_medium(iter, args, failure);
    case WORK_SEARCH_VECTOR:
        read_vector(iter, args);
        return 0;
    default:
        return 0;
    }
}

static bool has_options(WorkKind kind)
{
    return kind == WORK_OPEN_COLLECTION || kind == WORK_ADD_VECTORS || kind == WORK_SEARCH ||
           kind == WORK_SEARCH_MEDIA || kind == WORK_SEARCH_VECTOR;
}

int collection_args_read(DBusMessageIter *iter, WorkKind kind, const ServerFacts *facts,
                         WorkArgs *args, Failure *failure)
{
    int r;

    options_default(facts, args);
    r = read_front(iter, kind, facts, args, failure);
    if (r < 0 || !has_options(kind))
        return r;
    dbus_message_iter_next(iter);
    r = options_read(iter, facts, args, failure);
    if (r < 0)
        return r;
    if (args->collection.offset > LIMIT_HITS - args->collection.limit)
        return failure_set(failure, ERROR_INVALID_ARGS,
                           "offset and limit must be %d together at most.", LIMIT_HITS);
    if (kind == WORK_SEARCH_VECTOR)
        return check_vector(facts, args, failure);
    return kind == WORK_ADD_VECTORS ? vectors_parse(facts->space_length, args, failure) : 0;
}
