#include "ipc/args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"
#include "ipc/bulk.h"
#include "ipc/collection-args.h"
#include "ipc/input.h"
#include "ipc/options.h"

void args_deinit(WorkArgs *args)
{
    for (size_t i = 0; i < args->n_media; i++)
        if (args->media[i].fd >= 0)
            close(args->media[i].fd);
    free(args->media);
    for (size_t i = 0; i < args->collection.n_items; i++)
        free(args->collection.items[i].pairs);
    free(args->collection.items);
    free(args->collection.pairs);
    free(args->texts);
    free(args->bulk);
    *args = (WorkArgs){0};
}

int args_read_string(DBusMessageIter *iter, const char *what, String *ret_string, Failure *failure)
{
    String s;

    dbus_message_iter_get_basic(iter, &s.data);
    s.length = strlen(s.data);
    if (s.length > LIMIT_TEXT_BYTES)
        return failure_set(failure, ERROR_TOO_LARGE, "%s has more than %d bytes: shorten it.", what,
                           LIMIT_TEXT_BYTES);
    *ret_string = s;
    return 0;
}

static bool is_blank(String s)
{
    return strspn(s.data, " \t\n\v\f\r") == s.length;
}

int args_check_text(String s, size_t i, Failure *failure)
{
    if (s.length > LIMIT_TEXT_BYTES)
        return failure_set(failure, ERROR_TOO_LARGE, "Text %zu has more than %d bytes: shorten it.",
                           i, LIMIT_TEXT_BYTES);
    if (is_blank(s))
        return failure_set(failure, ERROR_INVALID_ARGS, "Text %zu is empty.", i);
    return 0;
}

int args_read_texts(DBusMessageIter *iter, const char *what, size_t max, WorkArgs *args,
                    Failure *failure)
{
    DBusMessageIter element;
    int n = dbus_message_iter_get_element_count(iter);
    size_t total = 0;

    if (n == 0)
        return failure_set(failure, ERROR_INVALID_ARGS, "%s: give at least one.", what);
    if ((size_t)n > max)
        return failure_set(failure, ERROR_TOO_LARGE, "%s: at most %zu in one call.", what, max);
    args->texts = calloc((size_t)n, sizeof *args->texts);
    if (!args->texts)
        return -ENOMEM;
    dbus_message_iter_recurse(iter, &element);
    for (; args->n_texts < (size_t)n; args->n_texts++, dbus_message_iter_next(&element)) {
        String *s = &args->texts[args->n_texts];
        int r = args_read_string(&element, "A text", s, failure);
        if (r < 0)
            return r;
        r = args_check_text(*s, args->n_texts, failure);
        if (r < 0)
            return r;
        total += s->length;
        if (total > LIMIT_TEXT_BYTES_ALL)
            return failure_set(failure, ERROR_TOO_LARGE,
                               "The texts have more than %u bytes in all.", LIMIT_TEXT_BYTES_ALL);
    }
    return 0;
}

static int hint_parse(const char *s, MediaHint *ret_hint, Failure *failure)
{
    if (strlen(s) > LIMIT_MEDIA_TYPE)
        return failure_set(failure, ERROR_TOO_LARGE, "A media type has more than %d characters.",
                           LIMIT_MEDIA_TYPE);
    if (!*s)
        *ret_hint = HINT_ANY;
    else if (strncmp(s, "image/", 6) == 0)
        *ret_hint = HINT_IMAGE;
    else if (strncmp(s, "audio/", 6) == 0)
        *ret_hint = HINT_AUDIO;
    else
        return failure_set(failure, ERROR_UNSUPPORTED_MEDIA,
                           "The media type must be image/…, audio/… or empty.");
    return 0;
}

/* Takes the descriptor. */
static int add_media(WorkArgs *args, int fd, const char *hint, Failure *failure)
{
    MediaInput *m = &args->media[args->n_media];

    if (fd < 0)
        return failure_set(failure, ERROR_BAD_DESCRIPTOR, "The message holds no such descriptor.");
    m->fd = fd;
    args->n_media++;
    return hint_parse(hint, &m->hint, failure);
}

/* Room for every item that a call may have, before the first. */
static int reserve_media(WorkArgs *args)
{
    if (!args->media)
        args->media = calloc(LIMIT_MEDIA_ITEMS, sizeof *args->media);
    return args->media ? 0 : -ENOMEM;
}

static int too_many_media(Failure *failure)
{
    return failure_set(failure, ERROR_TOO_LARGE, "At most %d media in one call.",
                       LIMIT_MEDIA_ITEMS);
}

int args_read_medium(DBusMessageIter *iter, WorkArgs *args, Failure *failure)
{
    const char *hint;
    int fd;

    if (args->n_media == LIMIT_MEDIA_ITEMS)
        return too_many_media(failure);
    dbus_message_iter_get_basic(iter, &fd);
    dbus_message_iter_next(iter);
    dbus_message_iter_get_basic(iter, &hint);
    return add_media(args, fd, hint, failure);
}

static int read_media(DBusMessageIter *iter, WorkArgs *args, Failure *failure)
{
    DBusMessageIter element, part;

    dbus_message_iter_recurse(iter, &element);
    for (; dbus_message_iter_get_arg_type(&element) != DBUS_TYPE_INVALID;
         dbus_message_iter_next(&element)) {
        dbus_message_iter_recurse(&element, &part);
        int r = args_read_medium(&part, args, failure);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Media whose bytes came in the message, for clients that cannot pass descriptors. */
int args_read_inline(DBusMessageIter *iter, WorkArgs *args, Failure *failure)
{
    DBusMessageIter element, part, bytes;
    size_t total = 0;

    dbus_message_iter_recurse(iter, &element);
    for (; dbus_message_iter_get_arg_type(&element) != DBUS_TYPE_INVALID;
         dbus_message_iter_next(&element)) {
        const void *data;
        const char *hint;
        int size, fd, r;

        if (args->n_media == LIMIT_MEDIA_ITEMS)
            return too_many_media(failure);
        dbus_message_iter_recurse(&element, &part);
        dbus_message_iter_recurse(&part, &bytes);
        dbus_message_iter_get_fixed_array(&bytes, &data, &size);
        dbus_message_iter_next(&part);
        dbus_message_iter_get_basic(&part, &hint);
        total += (size_t)size;
        if (total > LIMIT_INLINE_MEDIA_BYTES)
            return failure_set(failure, ERROR_TOO_LARGE,
                               "Inline media have more than %u bytes: pass descriptors.",
                               LIMIT_INLINE_MEDIA_BYTES);
        fd = input_from_bytes(data, (size_t)size);
        if (fd < 0)
            return fd;
        r = add_media(args, fd, hint, failure);
        if (r < 0)
            return r;
    }
    return 0;
}

int args_read_memfd(DBusMessageIter *iter, WorkArgs *args, Failure *failure)
{
    _cleanup_close_ int fd = -1;

    dbus_message_iter_get_basic(iter, &fd);
    if (fd < 0)
        return failure_set(failure, ERROR_BAD_DESCRIPTOR, "The message holds no such descriptor.");
    return bulk_read(fd, args, failure);
}

static int read_bulk(DBusMessageIter *iter, WorkArgs *args, Failure *failure)
{
    int r = args_read_memfd(iter, args, failure);

    return r < 0 ? r : bulk_parse(args->bulk_size, args, failure);
}

int args_read_text(DBusMessageIter *iter, const char *what, WorkArgs *args, Failure *failure)
{
    int r;

    args->texts = calloc(1, sizeof *args->texts);
    if (!args->texts)
        return -ENOMEM;
    args->n_texts = 1;
    r = args_read_string(iter, what, &args->texts[0], failure);
    if (r >= 0 && is_blank(args->texts[0]))
        return failure_set(failure, ERROR_INVALID_ARGS, "%s is empty.", what);
    return r;
}

static int read_question(DBusMessageIter *iter, WorkArgs *args, Failure *failure)
{
    int r = args_read_string(iter, "The question", &args->question, failure);

    if (r >= 0 && is_blank(args->question))
        return failure_set(failure, ERROR_INVALID_ARGS, "The question is empty.");
    return r;
}

static int check_reply_size(const WorkArgs *args, Failure *failure)
{
    size_t size = args->options.dimension * (args->options.dtype == VECTOR_F16 ? 2u : 4u);

    if (args->n_texts <= LIMIT_REPLY_BYTES / size)
        return 0;
    return failure_set(
        failure, ERROR_TOO_LARGE,
        "%zu vectors need %zu bytes, one reply holds %u: use EmbedBulk, or split the call.",
        args->n_texts, args->n_texts * size, LIMIT_REPLY_BYTES);
}

int args_read(DBusMessage *call, WorkKind kind, const ServerFacts *facts, WorkArgs *args,
              Failure *failure)
{
    DBusMessageIter iter;
    int r = reserve_media(args);

    if (r < 0)
        return r;
    args->kind = kind;
    dbus_message_iter_init(call, &iter);
    if (collection_args_kind(kind))
        return collection_args_read(&iter, kind, facts, args, failure);
    if (kind == WORK_EMBED_TEXT)
        r = args_read_texts(&iter, "Texts", LIMIT_TEXTS, args, failure);
    else if (kind == WORK_EMBED_MEDIA)
        r = read_media(&iter, args, failure);
    else if (kind == WORK_LOAD)
        r = args_read_string(&iter, "The name", &args->question, failure);
    else if (kind == WORK_EMBED_BULK)
        r = read_bulk(&iter, args, failure);
    else if (kind == WORK_CLASSIFY)
        r = args_read_medium(&iter, args, failure);
    else
        r = read_question(&iter, args, failure);
    if (r < 0)
        return r;

    if (kind == WORK_CLASSIFY || kind == WORK_ASK) {
        dbus_message_iter_next(&iter);
        r = kind == WORK_CLASSIFY ? args_read_texts(&iter, "Labels", LIMIT_LABELS, args, failure)
                                  : read_media(&iter, args, failure);
        if (r < 0)
            return r;
    }
    dbus_message_iter_next(&iter);
    r = options_read(&iter, facts, args, failure);
    if (r < 0)
        return r;
    if (kind == WORK_EMBED_MEDIA && args->n_media == 0)
        return failure_set(failure, ERROR_INVALID_ARGS, "Media: give at least one.");
    return kind == WORK_EMBED_TEXT ? check_reply_size(args, failure) : 0;
}
