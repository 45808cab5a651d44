/* Messages off the bus, as far as the arguments that a handler is given; and the content of
 * EmbedBulk. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/args.h"
#include "ipc/bulk.h"
#include "ipc/text.h"
#include "tests/fuzz/fuzz.h"

static const struct {
    const char *signature;
    WorkKind kind;
} kinds[] = {
    {"asa{sv}", WORK_EMBED_TEXT}, {"a(hs)a{sv}", WORK_EMBED_MEDIA}, {"ha{sv}", WORK_EMBED_BULK},
    {"hsasa{sv}", WORK_CLASSIFY}, {"sa(hs)a{sv}", WORK_ASK},
};

static void string_check(String s)
{
    if (s.length > LIMIT_TEXT_BYTES || s.data[s.length] != '\0' || !utf8_is_sound(s.data, s.length))
        abort();
}

/* What a handler may rely on. */
static void args_check(const WorkArgs *args)
{
    const CallOptions *o = &args->options;

    if (args->n_media > LIMIT_MEDIA_ITEMS || args->n_texts > LIMIT_BULK_TEXTS ||
        o->max_tokens > LIMIT_ANSWER_TOKENS || o->deadline_ms > LIMIT_DEADLINE_MSEC)
        abort();
    for (size_t i = 0; i < args->n_texts; i++)
        string_check(args->texts[i]);
    if (args->question.data)
        string_check(args->question);
    if (o->system.data)
        string_check(o->system);
}

static void failure_check(int r, const Failure *failure)
{
    if (r == -ENOMEM)
        return;
    if (r != -EBADMSG || failure->code == ERROR_NONE || !failure->message[0] ||
        !error_name(failure->code))
        abort();
}

static void message_read(DBusMessage *call)
{
    static const char *const modalities[] = {"text", "image", "audio", NULL};
    static const ServerFacts facts = {
        .version = "1", .modalities = modalities, .space_length = 256};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        WorkArgs args = {0};
        Failure failure = {0};
        int r;

        if (!dbus_message_has_signature(call, kinds[i].signature))
            continue;
        r = args_read(call, kinds[i].kind, &facts, &args, &failure);
        if (r < 0)
            failure_check(r, &failure);
        else
            args_check(&args);
        args_deinit(&args);
    }
}

static void bulk_read_bytes(const uint8_t *data, size_t size)
{
    WorkArgs args = {.bulk = malloc(size + 1), .bulk_size = size};
    Failure failure = {0};
    int r;

    if (!args.bulk)
        abort();
    memcpy(args.bulk, data, size);
    args.bulk[size] = '\0';
    r = bulk_parse(size, &args, &failure);
    if (r < 0)
        failure_check(r, &failure);
    else
        args_check(&args);
    args_deinit(&args);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    DBusMessage *call;

    if (size > LIMIT_BULK_BYTES)
        return 0;
    if (size > 0 && data[0] == BULK_MAGIC[0]) {
        bulk_read_bytes(data, size);
        return 0;
    }
    call = dbus_message_demarshal((const char *)data, (int)size, NULL);
    if (call) {
        message_read(call);
        dbus_message_unref(call);
    }
    return 0;
}
