#include "engine/base/json.h"

#include <float.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "engine/base/utf8.h"

struct Json {
    JsonNode *nodes;
    size_t n_nodes, room;
    char *decoded; /* strings that had escapes; as long as the text, which none can outgrow */
    size_t n_decoded;
};

typedef struct Reader {
    const char *start, *at, *end;
    Json *json;
    uint32_t open[JSON_DEPTH_MAX]; /* the containers around `at`, by their nodes */
    size_t depth;
    /* The names of the object that was closed last, for finding one that stands twice. */
    uint32_t *names; /* node + 1; 0 is free */
    size_t n_names;
    uint64_t seed;
    char *error;
    size_t error_size;
} Reader;

__attribute__((format(printf, 2, 3))) static void reader_say(const Reader *r, const char *format,
                                                             ...)
{
    va_list args;
    int n = snprintf(r->error, r->error_size, "byte %zu: ", (size_t)(r->at - r->start));

    if (n < 0 || (size_t)n >= r->error_size)
        return;
    va_start(args, format);
    vsnprintf(r->error + n, r->error_size - (size_t)n, format, args);
    va_end(args);
}

/* A macro, so that the compiler sees the error in it and knows the way on to be closed. */
#define reader_fail(r, error, ...) (reader_say(r, __VA_ARGS__), (error))

static void skip_blanks(Reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
        r->at++;
}

static int node_add(Reader *r, JsonNode node)
{
    Json *j = r->json;

    if (j->n_nodes == j->room) {
        size_t room = j->room ? 2 * j->room : 64;
        JsonNode *nodes;

        if (j->n_nodes == JSON_NODES_MAX)
            return reader_fail(r, -EFBIG, "more than %u values", JSON_NODES_MAX);
        nodes = realloc(j->nodes, room * sizeof *nodes);
        if (!nodes)
            return reader_fail(r, -ENOMEM, "no memory for %zu values", room);
        j->nodes = nodes;
        j->room = room;
    }
    node.span = 1;
    j->nodes[j->n_nodes++] = node;
    return 0;
}

static int hex4(Reader *r, uint32_t *ret_value)
{
    uint32_t value = 0;

    for (int i = 0; i < 4; i++, r->at++) {
        char c = r->at < r->end ? *r->at : '\0';

        if (c >= '0' && c <= '9')
            value = value << 4 | (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            value = value << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return reader_fail(r, -EBADMSG, "\\u without four hexadecimal digits");
    }
    *ret_value = value;
    return 0;
}

/* Behind "\u": a code point, of two escapes where the first is half of a pair. */
static int escape_point(Reader *r, char *out, size_t *n)
{
    uint32_t point, low;
    int e = hex4(r, &point);

    if (e < 0)
        return e;
    if (point >= 0xd800 && point <= 0xdfff) {
        if (point >= 0xdc00 || r->end - r->at < 2 || r->at[0] != '\\' || r->at[1] != 'u')
            return reader_fail(r, -EBADMSG, "half of a surrogate pair");
        r->at += 2;
        e = hex4(r, &low);
        if (e < 0)
            return e;
        if (low < 0xdc00 || low > 0xdfff)
            return reader_fail(r, -EBADMSG, "half of a surrogate pair");
        point = 0x10000 + ((point & 0x3ff) << 10 | (low & 0x3ff));
    }
    *n += utf8_put(point, out + *n);
    return 0;
}

/* Behind the backslash. */
static int escape(Reader *r, char *out, size_t *n)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char c = r->at < r->end ? *r->at : '\0';
    const char *name = c ? strchr(names, c) : NULL;

    if (name) {
        r->at++;
        out[(*n)++] = values[name - names];
        return 0;
    }
    if (c != 'u')
        return reader_fail(r, -EBADMSG, "an unknown escape");
    r->at++;
    return escape_point(r, out, n);
}

/* Over characters that stand for themselves; -EBADMSG at one that may not. */
static int plain_run(Reader *r)
{
    while (r->at < r->end && *r->at != '"' && *r->at != '\\') {
        size_t n;

        if ((uint8_t)*r->at < ' ')
            return reader_fail(r, -EBADMSG, "a control character in a string");
        n = (uint8_t)*r->at < 0x80 ? 1 : utf8_length(r->at, (size_t)(r->end - r->at));
        if (n == 0)
            return reader_fail(r, -EBADMSG, "a string that is not UTF-8");
        r->at += n;
    }
    if (r->at == r->end)
        return reader_fail(r, -EBADMSG, "the text ends inside a string");
    return 0;
}

/* The rest of a string that has escapes; what stood before the first is copied first. */
static int string_decode(Reader *r, const char *first, JsonNode *node)
{
    Json *j = r->json;
    char *out;
    size_t n = (size_t)(r->at - first);

    if (!j->decoded && !(j->decoded = malloc((size_t)(r->end - r->start))))
        return reader_fail(r, -ENOMEM, "no memory for the strings");
    out = j->decoded + j->n_decoded;
    memcpy(out, first, n);
    while (*r->at != '"') {
        const char *run;
        int e;

        r->at++;
        e = escape(r, out, &n);
        run = r->at;
        if (e == 0)
            e = plain_run(r);
        if (e < 0)
            return e;
        memcpy(out + n, run, (size_t)(r->at - run));
        n += (size_t)(r->at - run);
    }
    j->n_decoded += n;
    node->text = out;
    node->count = (uint32_t)n;
    return 0;
}

static int read_string(Reader *r)
{
    JsonNode node = {.type = JSON_STRING};
    const char *first;
    int e;

    if (r->at == r->end || *r->at != '"')
        return reader_fail(r, -EBADMSG, "a name in quotes is missing");
    first = ++r->at;
    e = plain_run(r);
    if (e < 0)
        return e;
    node.text = first;
    node.count = (uint32_t)(r->at - first);
    if (*r->at == '\\' && (e = string_decode(r, first, &node)) < 0)
        return e;
    r->at++;
    return node_add(r, node);
}

/* A number's parts. Digits past what fits 64 bits only move the point. */
typedef struct Number {
    bool negative, whole;
    uint64_t digits;
    int scale; /* power of ten */
} Number;

static bool number_digits(const char **at, const char *end, Number *n, int scale)
{
    const char *first = *at;

    for (; *at < end && **at >= '0' && **at <= '9'; (*at)++) {
        unsigned digit = (unsigned)(**at - '0');

        if (n->digits > (UINT64_MAX - digit) / 10)
            n->scale += scale + 1;
        else {
            n->digits = 10 * n->digits + digit;
            n->scale += scale;
        }
    }
    return *at > first;
}

static bool number_exponent(const char **at, const char *end, Number *n)
{
    const char *first;
    bool negative = false;
    int exponent = 0;

    if (*at < end && (**at == '+' || **at == '-'))
        negative = *(*at)++ == '-';
    for (first = *at; *at < end && **at >= '0' && **at <= '9'; (*at)++)
        exponent = exponent < 10000 ? 10 * exponent + (**at - '0') : exponent;
    n->scale += negative ? -exponent : exponent;
    return *at > first;
}

/* The grammar of RFC 8259, section 6. */
static bool number_scan(const char *at, const char *end, Number *n)
{
    const char *first;

    *n = (Number){.whole = true};
    if (at < end && *at == '-') {
        n->negative = true;
        at++;
    }
    first = at;
    if (!number_digits(&at, end, n, 0) || (*first == '0' && at - first > 1))
        return false;
    n->whole = n->scale == 0;
    if (at < end && *at == '.') {
        at++;
        n->whole = false;
        if (!number_digits(&at, end, n, -1))
            return false;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        n->whole = false;
        if (!number_exponent(&at, end, n))
            return false;
    }
    return at == end;
}

/* Powers of ten up to 27 are exact in a long double, so the numbers that people write into
 * configurations are rounded once. */
static double number_value(const Number *n)
{
    long double value = n->digits, power = 10;
    unsigned scale = (unsigned)(n->scale < 0 ? -n->scale : n->scale);

    if (n->digits == 0 || n->scale < -400)
        return 0;
    if (n->scale > 400)
        return DBL_MAX * 2.0;
    for (long double ten = 1; scale > 0; scale /= 2, power *= power) {
        if (scale % 2)
            ten *= power;
        if (scale == 1)
            value = n->scale < 0 ? value / ten : value * ten;
    }
    return (double)(n->negative ? -value : value);
}

static int read_number(Reader *r)
{
    const char *first = r->at;
    JsonNode node = {.type = JSON_INTEGER};
    Number n;

    while (r->at < r->end && *r->at && strchr("+-.eE0123456789", *r->at))
        r->at++;
    if (r->at - first > JSON_DIGITS_MAX)
        return reader_fail(r, -EFBIG, "a number of more than %d characters", JSON_DIGITS_MAX);
    if (!number_scan(first, r->at, &n))
        return reader_fail(r, -EBADMSG, "not a value");
    if (n.whole && n.digits <= INT64_MAX)
        node.integer = n.negative ? -(int64_t)n.digits : (int64_t)n.digits;
    else {
        node.type = JSON_REAL;
        node.real = number_value(&n);
        if (!(node.real >= -DBL_MAX && node.real <= DBL_MAX))
            return reader_fail(r, -EBADMSG, "a number that is too large");
    }
    return node_add(r, node);
}

static bool take_word(Reader *r, const char *word)
{
    size_t length = strlen(word);

    if ((size_t)(r->end - r->at) < length || memcmp(r->at, word, length) != 0)
        return false;
    r->at += length;
    return true;
}

static int container_open(Reader *r, JsonType type)
{
    if (r->depth == JSON_DEPTH_MAX)
        return reader_fail(r, -EFBIG, "nested more than %d deep", JSON_DEPTH_MAX);
    r->open[r->depth++] = (uint32_t)r->json->n_nodes;
    r->at++;
    return node_add(r, (JsonNode){.type = type});
}

static int read_value(Reader *r)
{
    switch (r->at < r->end ? *r->at : '\0') {
    case '{':
        return container_open(r, JSON_OBJECT);
    case '[':
        return container_open(r, JSON_ARRAY);
    case '"':
        return read_string(r);
    case 'n':
        if (take_word(r, "null"))
            return node_add(r, (JsonNode){.type = JSON_NULL});
        break;
    case 't':
        if (take_word(r, "true"))
            return node_add(r, (JsonNode){.type = JSON_TRUE});
        break;
    case 'f':
        if (take_word(r, "false"))
            return node_add(r, (JsonNode){.type = JSON_FALSE});
        break;
    default:
        return read_number(r);
    }
    return reader_fail(r, -EBADMSG, "not a value");
}

static bool same_text(const JsonNode *a, const JsonNode *b)
{
    return a->count == b->count && memcmp(a->text, b->text, a->count) == 0;
}

static int names_check(Reader *r, const JsonNode *object)
{
    size_t slots = hash_slots(object->count);

    if (object->count < 2)
        return 0;
    if (slots > r->n_names) {
        free(r->names);
        r->names = malloc(slots * sizeof *r->names);
        r->n_names = r->names ? slots : 0;
        if (!r->names)
            return reader_fail(r, -ENOMEM, "no memory for the names of an object");
    }
    memset(r->names, 0, slots * sizeof *r->names);
    for (const JsonNode *n = json_first(object); n < json_end(object); n = json_next(n + 1)) {
        size_t i = hash_bytes(r->seed, n->text, n->count);

        for (; r->names[i & (slots - 1)]; i++)
            if (same_text(&object[r->names[i & (slots - 1)]], n))
                return reader_fail(r, -EBADMSG, "an object with the name '%.*s' twice",
                                   n->count < 64 ? (int)n->count : 64, n->text);
        r->names[i & (slots - 1)] = (uint32_t)(n - object);
    }
    return 0;
}

static int container_close(Reader *r)
{
    uint32_t index = r->open[--r->depth];
    JsonNode *node = &r->json->nodes[index];

    r->at++;
    node->span = (uint32_t)(r->json->n_nodes - index);
    return node->type == JSON_OBJECT ? names_check(r, node) : 0;
}

/* One step inside the innermost container: its end, or a comma where one belongs and an element. */
static int read_element(Reader *r)
{
    JsonNode *node = &r->json->nodes[r->open[r->depth - 1]];
    char closing = node->type == JSON_OBJECT ? '}' : ']';
    int e;

    skip_blanks(r);
    if (r->at < r->end && *r->at == closing)
        return container_close(r);
    if (node->count > 0) {
        if (r->at == r->end || *r->at != ',')
            return reader_fail(r, -EBADMSG, "a comma or '%c' is missing", closing);
        r->at++;
        skip_blanks(r);
    }
    node->count++;
    if (node->type == JSON_OBJECT) {
        e = read_string(r);
        if (e < 0)
            return e;
        skip_blanks(r);
        if (r->at == r->end || *r->at != ':')
            return reader_fail(r, -EBADMSG, "a colon is missing");
        r->at++;
        skip_blanks(r);
    }
    return read_value(r);
}

static int read_text(Reader *r)
{
    int e;

    skip_blanks(r);
    e = read_value(r);
    while (e == 0 && r->depth > 0)
        e = read_element(r);
    if (e < 0)
        return e;
    skip_blanks(r);
    if (r->at < r->end)
        return reader_fail(r, -EBADMSG, "something follows the value");
    return 0;
}

int json_parse(const char *text, size_t length, Json **ret_json, char *error, size_t error_size)
{
    _cleanup_(json_freep) Json *j = calloc(1, sizeof *j);
    Reader r = {text,
                text,
                text + length,
                j,
                .seed = hash_seed(),
                .error = error,
                .error_size = error_size};
    int e;

    if (!j)
        return reader_fail(&r, -ENOMEM, "no memory for a reader");
    if (length > JSON_SIZE_MAX)
        return reader_fail(&r, -EFBIG, "%zu bytes; at most %u are read", length, JSON_SIZE_MAX);
    e = read_text(&r);
    free(r.names);
    if (e < 0)
        return e;
    *ret_json = steal_ptr(&j);
    return 0;
}

Json *json_free(Json *j)
{
    if (j) {
        free(j->nodes);
        free(j->decoded);
    }
    free(j);
    return NULL;
}

const JsonNode *json_root(const Json *j)
{
    return j->nodes;
}

const JsonNode *json_get(const JsonNode *node, const char *name)
{
    if (!json_is(node, JSON_OBJECT))
        return NULL;
    for (const JsonNode *n = json_first(node); n < json_end(node); n = json_next(n + 1))
        if (json_is_text(n, name))
            return n + 1;
    return NULL;
}

const JsonNode *json_get2(const JsonNode *node, const char *outer, const char *inner)
{
    return json_get(json_get(node, outer), inner);
}

bool json_is(const JsonNode *node, JsonType type)
{
    return node && node->type == type;
}

bool json_is_text(const JsonNode *node, const char *text)
{
    return json_is(node, JSON_STRING) && node->count == strlen(text) &&
           memcmp(node->text, text, node->count) == 0;
}

int json_unsigned(const JsonNode *node, uint64_t max, uint64_t *ret_value)
{
    if (!json_is(node, JSON_INTEGER) || node->integer < 0 || (uint64_t)node->integer > max)
        return -EBADMSG;
    *ret_value = (uint64_t)node->integer;
    return 0;
}

int json_double(const JsonNode *node, double *ret_value)
{
    if (!json_is(node, JSON_INTEGER) && !json_is(node, JSON_REAL))
        return -EBADMSG;
    *ret_value = node->type == JSON_INTEGER ? (double)node->integer : node->real;
    return 0;
}

int json_bool(const JsonNode *node, bool *ret_value)
{
    if (!json_is(node, JSON_TRUE) && !json_is(node, JSON_FALSE))
        return -EBADMSG;
    *ret_value = node->type == JSON_TRUE;
    return 0;
}
