#include "ipc/options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "ipc/collection-args.h"

#define MASK(kind) (1u << (kind))
#define TEXT       MASK(WORK_EMBED_TEXT)
#define MEDIA      MASK(WORK_EMBED_MEDIA)
#define BULK       MASK(WORK_EMBED_BULK)
#define CLASSIFY   MASK(WORK_CLASSIFY)
#define ASK        MASK(WORK_ASK)
#define LOAD       MASK(WORK_LOAD)
#define SESSION    MASK(WORK_SESSION)
#define ALL        (TEXT | MEDIA | BULK | CLASSIFY | ASK)

/* Of these two the options stand with each item. */
#define ADD_TEXT  MASK(WORK_ADD_TEXT)
#define ADD_MEDIA MASK(WORK_ADD_MEDIA)

#define ADD_VECTORS   MASK(WORK_ADD_VECTORS)
#define SEARCH        MASK(WORK_SEARCH)
#define SEARCH_MEDIA  MASK(WORK_SEARCH_MEDIA)
#define SEARCH_VECTOR MASK(WORK_SEARCH_VECTOR)
#define SEARCHES      (SEARCH | SEARCH_MEDIA | SEARCH_VECTOR)
#define CUTTABLE      ((ALL & ~ASK) | ADD_TEXT | ADD_MEDIA | SEARCH | SEARCH_MEDIA)
#define ASK_IN        MASK(31) /* WORK_ASK on a collection */

#define HITS_AT_FIRST    10
#define SOURCES_AT_FIRST 4

/* iter stands on the value, whose type has been checked. */
typedef int (*ReadFunc)(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                        Failure *failure);

static const char *get_string(DBusMessageIter *iter)
{
    const char *s;

    dbus_message_iter_get_basic(iter, &s);
    return s;
}

static int get_number(DBusMessageIter *iter, const char *key, double low, double high,
                      double *ret_value, Failure *failure)
{
    double value;

    dbus_message_iter_get_basic(iter, &value);
    if (!(value >= low && value <= high))
        return failure_set(failure, ERROR_INVALID_ARGS, "%s must lie between %g and %g.", key, low,
                           high);
    *ret_value = value;
    return 0;
}

static int get_count(DBusMessageIter *iter, const char *key, uint32_t high, uint32_t *ret_value,
                     Failure *failure)
{
    dbus_uint32_t value;

    dbus_message_iter_get_basic(iter, &value);
    if (value < 1 || value > high)
        return failure_set(failure, ERROR_INVALID_ARGS, "%s must lie between 1 and %u.", key, high);
    *ret_value = value;
    return 0;
}

static int read_beside(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                       Failure *failure)
{
    dbus_bool_t beside;

    (void)facts, (void)failure;
    dbus_message_iter_get_basic(iter, &beside);
    args->options.beside = beside;
    return 0;
}

static int read_deadline(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                         Failure *failure)
{
    (void)facts;
    return get_count(iter, "deadline_ms", LIMIT_DEADLINE_MSEC, &args->options.deadline_ms, failure);
}

static int read_detail(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                       Failure *failure)
{
    const char *s = get_string(iter);

    (void)facts;
    args->options.high_detail = strcmp(s, "high") == 0;
    if (args->options.high_detail || strcmp(s, "low") == 0)
        return 0;
    return failure_set(failure, ERROR_INVALID_ARGS, "detail must be 'low' or 'high'.");
}

static int read_dimension(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                          Failure *failure)
{
    uint32_t whole = facts->space_length;
    dbus_uint32_t value;

    dbus_message_iter_get_basic(iter, &value);
    if (value != whole && value != whole / 2 && value != whole / 4)
        return failure_set(failure, ERROR_INVALID_ARGS, "dimension must be %u, %u or %u.", whole,
                           whole / 2, whole / 4);
    args->options.dimension = value;
    return 0;
}

static int read_dtype(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                      Failure *failure)
{
    const char *s = get_string(iter);

    (void)facts;
    args->options.dtype = strcmp(s, "f16") == 0 ? VECTOR_F16 : VECTOR_F32;
    if (args->options.dtype == VECTOR_F16 || strcmp(s, "f32") == 0)
        return 0;
    return failure_set(failure, ERROR_INVALID_ARGS, "dtype must be 'f32' or 'f16'.");
}

static int read_effort(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                       Failure *failure)
{
    (void)facts;
    return get_number(iter, "effort", -1, 1, &args->options.effort, failure);
}

static int read_handle_token(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                             Failure *failure)
{
    const char *s = get_string(iter);
    size_t n = strlen(s);

    (void)facts;
    if (n == 0 || n > LIMIT_HANDLE_TOKEN)
        return failure_set(failure, ERROR_INVALID_ARGS,
                           "handle_token must have 1 to %d characters.", LIMIT_HANDLE_TOKEN);
    for (size_t i = 0; i < n; i++)
        if (!isascii((unsigned char)s[i]) || (!isalnum((unsigned char)s[i]) && s[i] != '_'))
            return failure_set(failure, ERROR_INVALID_ARGS,
                               "handle_token must consist of A-Z, a-z, 0-9 and _.");
    memcpy(args->options.handle_token, s, n + 1);
    return 0;
}

static int read_inline(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                       Failure *failure)
{
    (void)facts;
    return args_read_inline(iter, args, failure);
}

static int read_max_tokens(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                           Failure *failure)
{
    (void)facts;
    return get_count(iter, "max_tokens", LIMIT_ANSWER_TOKENS, &args->options.max_tokens, failure);
}

static int read_region(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                       Failure *failure)
{
    DBusMessageIter part;

    (void)facts;
    dbus_message_iter_recurse(iter, &part);
    for (size_t i = 0; i < 4; i++) {
        dbus_message_iter_get_basic(&part, &args->options.region[i]);
        dbus_message_iter_next(&part);
    }
    if (args->options.region[2] == 0 || args->options.region[3] == 0)
        return failure_set(failure, ERROR_INVALID_ARGS, "region must have a width and a height.");
    return 0;
}

static int read_seed(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                     Failure *failure)
{
    (void)facts, (void)failure;
    dbus_message_iter_get_basic(iter, &args->options.seed);
    return 0;
}

static int read_session(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                        Failure *failure)
{
    (void)facts, (void)failure;
    args->options.session = get_string(iter);
    return 0;
}

static int read_signals(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                        Failure *failure)
{
    dbus_bool_t signals;

    (void)facts, (void)failure;
    dbus_message_iter_get_basic(iter, &signals);
    args->options.signals = signals;
    return 0;
}

static int read_system(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                       Failure *failure)
{
    (void)facts;
    return args_read_string(iter, "The system text", &args->options.system, failure);
}

static int read_temperature(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                            Failure *failure)
{
    (void)facts;
    return get_number(iter, "temperature", 0, 100, &args->options.temperature, failure);
}

static int read_think(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                      Failure *failure)
{
    dbus_bool_t think;

    (void)facts, (void)failure;
    dbus_message_iter_get_basic(iter, &think);
    args->options.think = think;
    return 0;
}

static int read_top_p(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                      Failure *failure)
{
    (void)facts;
    return get_number(iter, "top_p", 0.01, 1, &args->options.top_p, failure);
}

static int read_filter(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                       Failure *failure)
{
    CollectionArgs *c = &args->collection;

    (void)facts;
    return args_read_pairs(iter, "filter", &c->pairs, &c->n_pairs, failure);
}

static int read_metadata(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                         Failure *failure)
{
    CollectionArgs *c = &args->collection;

    (void)facts;
    return args_read_pairs(iter, "metadata", &c->pairs, &c->n_pairs, failure);
}

static int read_limit(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                      Failure *failure)
{
    uint32_t most = args->kind == WORK_ASK ? LIMIT_SOURCES : LIMIT_HITS;

    (void)facts;
    return get_count(iter, "limit", most, &args->collection.limit, failure);
}

static int read_offset(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                       Failure *failure)
{
    (void)facts, (void)failure;
    dbus_message_iter_get_basic(iter, &args->collection.offset);
    return 0;
}

static int read_text_bytes(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                           Failure *failure)
{
    (void)facts;
    return get_count(iter, "text_bytes", LIMIT_TEXT_BYTES, &args->collection.text_bytes, failure);
}

static int read_min_score(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                          Failure *failure)
{
    (void)facts;
    return get_number(iter, "min_score", -1, 1, &args->collection.min_score, failure);
}

static int add_modality(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                        Failure *failure)
{
    const char *s = get_string(iter);

    for (unsigned i = 0; facts->modalities[i]; i++)
        if (strcmp(s, facts->modalities[i]) == 0) {
            args->collection.modalities |= 1u << i;
            return 0;
        }
    return failure_set(failure, ERROR_INVALID_ARGS,
                       "A modality is one of those that the property Modalities names.");
}

static int read_modality(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                         Failure *failure)
{
    return add_modality(iter, facts, args, failure);
}

static int read_modalities(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                           Failure *failure)
{
    DBusMessageIter element;
    int r = 0;

    dbus_message_iter_recurse(iter, &element);
    for (; dbus_message_iter_get_arg_type(&element) != DBUS_TYPE_INVALID && r >= 0;
         dbus_message_iter_next(&element))
        r = add_modality(&element, facts, args, failure);
    return r;
}

static int read_model(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                      Failure *failure)
{
    const char *s = get_string(iter);

    (void)facts;
    if (!*s || strlen(s) > LIMIT_MODEL_NAME || strchr(s, '/'))
        return failure_set(failure, ERROR_INVALID_ARGS,
                           "model must be the name of an installed model.");
    args->options.model = s;
    return 0;
}

static int read_digest(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                       Failure *failure)
{
    const char *s = get_string(iter);

    (void)facts;
    if (strlen(s) != 64 || strspn(s, "0123456789abcdef") != 64)
        return failure_set(failure, ERROR_INVALID_ARGS,
                           "model must be the digest that info tells, 64 digits.");
    args->collection.model = s;
    return 0;
}

static int read_truncate(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                         Failure *failure)
{
    const char *s = get_string(iter);

    (void)facts;
    if (strcmp(s, "error") == 0)
        args->options.truncate = TRUNCATE_ERROR;
    else if (strcmp(s, "head") == 0)
        args->options.truncate = TRUNCATE_HEAD;
    else if (strcmp(s, "tail") == 0)
        args->options.truncate = TRUNCATE_TAIL;
    else
        return failure_set(failure, ERROR_INVALID_ARGS,
                           "truncate must be 'error', 'head' or 'tail'.");
    return 0;
}

/* clang-format off */
static const struct {
    const char *key, *signature;
    unsigned kinds;
    ReadFunc read;
} known[] = {
    { "beside",       "b",      LOAD,                   read_beside },
    { "deadline_ms",  "u",      ALL | LOAD | SEARCHES | ADD_VECTORS, read_deadline },
    { "detail",       "s",      MEDIA | CLASSIFY | ASK | ADD_MEDIA | SEARCH_MEDIA, read_detail },
    { "dimension",    "u",      TEXT | MEDIA | BULK,    read_dimension },
    { "dtype",        "s",      TEXT | MEDIA | BULK | ADD_VECTORS | SEARCH_VECTOR, read_dtype },
    { "effort",       "d",      ASK,                    read_effort },
    { "filter",       "a{ss}",  SEARCHES | ASK_IN,      read_filter },
    { "handle_token", "s",      ASK,                    read_handle_token },
    { "inline",       "a(ays)", MEDIA | ASK,            read_inline },
    { "limit",        "u",      SEARCHES | ASK_IN,      read_limit },
    { "max_tokens",   "u",      ASK,                    read_max_tokens },
    { "metadata",     "a{ss}",  ADD_TEXT | ADD_MEDIA | ADD_VECTORS, read_metadata },
    { "min_score",    "d",      SEARCHES | ASK_IN,      read_min_score },
    { "modality",     "as",     SEARCHES | ASK_IN,      read_modalities },
    { "modality",     "s",      ADD_VECTORS,            read_modality },
    { "model",        "s",      ALL | SESSION,          read_model },
    { "model",        "s",      ADD_VECTORS,            read_digest },
    { "offset",       "u",      SEARCHES,               read_offset },
    { "region",       "(uuuu)", MEDIA | CLASSIFY | ASK | ADD_MEDIA | SEARCH_MEDIA, read_region },
    { "seed",         "t",      ASK,                    read_seed },
    { "session",      "o",      ASK,                    read_session },
    { "signals",      "b",      ASK,                    read_signals },
    { "system",       "s",      ASK,                    read_system },
    { "temperature",  "d",      ASK,                    read_temperature },
    { "text_bytes",   "u",      SEARCHES,               read_text_bytes },
    { "think",        "b",      ASK,                    read_think },
    { "top_p",        "d",      ASK,                    read_top_p },
    { "truncate",     "s",      CUTTABLE,               read_truncate },
};
/* clang-format on */
#define N_KNOWN (sizeof known / sizeof *known)
_Static_assert(N_KNOWN <= 32, "each has a bit of what was seen");

/* Bytes of a value, or at least `most` if there are more. */
static size_t value_size(DBusMessageIter *iter, size_t most)
{
    size_t size = 0;

    for (; dbus_message_iter_get_arg_type(iter) != DBUS_TYPE_INVALID && size < most;
         dbus_message_iter_next(iter)) {
        int type = dbus_message_iter_get_arg_type(iter);
        if (dbus_type_is_container(type)) {
            DBusMessageIter inner;
            dbus_message_iter_recurse(iter, &inner);
            size += 8 + value_size(&inner, most - size);
        } else if (dbus_type_is_fixed(type))
            size += 8;
        else
            size += 8 + strlen(get_string(iter));
    }
    return size;
}

/* What other programs put there is theirs, but the message stays in memory as long as the call. */
static int foreign_check(DBusMessageIter *entry, size_t *left, Failure *failure)
{
    size_t size = value_size(entry, *left);

    if (size >= *left)
        return failure_set(failure, ERROR_TOO_LARGE, "The x- options have more than %d bytes.",
                           LIMIT_FOREIGN_BYTES);
    *left -= size;
    return 0;
}

static unsigned kinds_of(const WorkArgs *args)
{
    return MASK(args->kind) | (args->kind == WORK_ASK && *args->collection.name ? ASK_IN : 0);
}

static int option_read(DBusMessageIter *entry, const ServerFacts *facts, WorkArgs *args,
                       unsigned *seen, size_t *foreign_left, Failure *failure)
{
    DBusMessageIter value;
    const char *key = get_string(entry);
    size_t i;
    int r;

    if (strncmp(key, "x-", 2) == 0)
        return foreign_check(entry, foreign_left, failure);
    for (i = 0; i < N_KNOWN; i++)
        if ((known[i].kinds & kinds_of(args)) && strcmp(known[i].key, key) == 0)
            break;
    if (i == N_KNOWN)
        return failure_set(failure, ERROR_INVALID_ARGS,
                           "Unknown option: leave it out, or call it x- something.");
    if (*seen & 1u << i)
        return failure_set(failure, ERROR_INVALID_ARGS, "%s is given twice.", key);
    *seen |= 1u << i;

    dbus_message_iter_next(entry);
    dbus_message_iter_recurse(entry, &value);
    char *signature = dbus_message_iter_get_signature(&value);
    if (!signature)
        return -ENOMEM;
    r = strcmp(signature, known[i].signature) == 0
            ? known[i].read(&value, facts, args, failure)
            : failure_set(failure, ERROR_INVALID_ARGS, "%s must be of type '%s'.", key,
                          known[i].signature);
    dbus_free(signature);
    return r;
}

void options_default(const ServerFacts *facts, WorkArgs *args)
{
    args->options = (CallOptions){.dimension = facts->space_length, .top_p = 1};
    args->collection.limit = args->kind == WORK_ASK ? SOURCES_AT_FIRST : HITS_AT_FIRST;
    args->collection.min_score = -1;
}

int options_read(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args, Failure *failure)
{
    size_t foreign_left = LIMIT_FOREIGN_BYTES;

    return options_read_more(iter, facts, args, &foreign_left, failure);
}

int options_read_more(DBusMessageIter *iter, const ServerFacts *facts, WorkArgs *args,
                      size_t *foreign_left, Failure *failure)
{
    DBusMessageIter entries, entry;
    unsigned seen = 0, n = 0;

    options_default(facts, args);
    dbus_message_iter_recurse(iter, &entries);
    for (; dbus_message_iter_get_arg_type(&entries) != DBUS_TYPE_INVALID;
         dbus_message_iter_next(&entries)) {
        if (++n > LIMIT_OPTIONS)
            return failure_set(failure, ERROR_INVALID_ARGS, "More than %d options.", LIMIT_OPTIONS);
        dbus_message_iter_recurse(&entries, &entry);
        int r = option_read(&entry, facts, args, &seen, foreign_left, failure);
        if (r < 0)
            return r;
    }
    return 0;
}

int options_read_none(DBusMessage *call, Failure *failure)
{
    DBusMessageIter iter, entries, entry;
    size_t foreign_left = LIMIT_FOREIGN_BYTES;
    unsigned n = 0;

    dbus_message_iter_init(call, &iter);
    dbus_message_iter_recurse(&iter, &entries);
    for (; dbus_message_iter_get_arg_type(&entries) != DBUS_TYPE_INVALID;
         dbus_message_iter_next(&entries)) {
        dbus_message_iter_recurse(&entries, &entry);
        if (++n > LIMIT_OPTIONS || strncmp(get_string(&entry), "x-", 2) != 0)
            return failure_set(failure, ERROR_INVALID_ARGS,
                               "Unknown option: leave it out, or call it x- something.");
        if (foreign_check(&entry, &foreign_left, failure) < 0)
            return -EBADMSG;
    }
    return 0;
}
