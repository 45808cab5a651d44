#include "engine/base/json.h"

#include <float.h>

#include "tests/test.h"

/* Parses a copy that ends where its heap block ends, so that a sanitizer sees a step too far. */
typedef struct Text {
    char *copy;
    Json *json;
    char error[160];
} Text;

static int parse(Text *t, const char *text, size_t length)
{
    *t = (Text){.copy = malloc(length ? length : 1)};
    ASSERT(t->copy);
    memcpy(t->copy, text, length);
    return json_parse(t->copy, length, &t->json, t->error, sizeof t->error);
}

static void text_free(Text *t)
{
    json_free(t->json);
    free(t->copy);
}

static const JsonNode *sound(Text *t, const char *text)
{
    if (parse(t, text, strlen(text)) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", text, t->error);
    return json_root(t->json);
}

typedef struct Bad {
    const char *text;
    int error;
    const char *says;
} Bad;

/* clang-format off */
static const Bad bads[] = {
    {"", EBADMSG, "byte 0: not a value"},
    {"  ", EBADMSG, "byte 2: not a value"},
    {"\xef\xbb\xbf{}", EBADMSG, "byte 0"},
    {"nul", EBADMSG, "not a value"},
    {"nulll", EBADMSG, "byte 4: something follows"},
    {"True", EBADMSG, "not a value"},
    {"NaN", EBADMSG, "not a value"},
    {"-Infinity", EBADMSG, "not a value"},
    {"'a'", EBADMSG, "not a value"},
    {"{", EBADMSG, "byte 1: a name in quotes"},
    {"{]", EBADMSG, "a name in quotes"},
    {"{\"a\"", EBADMSG, "a colon is missing"},
    {"{\"a\" 1}", EBADMSG, "a colon is missing"},
    {"{\"a\":}", EBADMSG, "byte 5: not a value"},
    {"{\"a\":1,}", EBADMSG, "byte 7: a name in quotes"},
    {"{\"a\":1 \"b\":2}", EBADMSG, "a comma or '}'"},
    {"{a:1}", EBADMSG, "a name in quotes"},
    {"{1:1}", EBADMSG, "a name in quotes"},
    {"[", EBADMSG, "byte 1: not a value"},
    {"[1", EBADMSG, "a comma or ']'"},
    {"[1,]", EBADMSG, "byte 3: not a value"},
    {"[,1]", EBADMSG, "byte 1: not a value"},
    {"[1}", EBADMSG, "a comma or ']'"},
    {"[1] 2", EBADMSG, "byte 4: something follows"},
    {"[1]]", EBADMSG, "byte 3: something follows"},
    {"// a\n1", EBADMSG, "not a value"},
    {"01", EBADMSG, "not a value"},
    {"-", EBADMSG, "not a value"},
    {"+1", EBADMSG, "not a value"},
    {".5", EBADMSG, "not a value"},
    {"1.", EBADMSG, "not a value"},
    {"1e", EBADMSG, "not a value"},
    {"1e+", EBADMSG, "not a value"},
    {"1.5.5", EBADMSG, "not a value"},
    {"0x10", EBADMSG, "something follows"},
    {"1e309", EBADMSG, "too large"},
    {"-1e999999999", EBADMSG, "too large"},
    {"11111111111111111111111111111111111111111111111111111111111111111", EFBIG, "64 characters"},
    {"\"a", EBADMSG, "byte 2: the text ends inside a string"},
    {"\"\\", EBADMSG, "unknown escape"},
    {"\"\\x41\"", EBADMSG, "byte 2: an unknown escape"},
    {"\"\\u12\"", EBADMSG, "four hexadecimal digits"},
    {"\"\\u12g4\"", EBADMSG, "four hexadecimal digits"},
    {"\"\\ud800\"", EBADMSG, "surrogate"},
    {"\"\\udc00\"", EBADMSG, "surrogate"},
    {"\"\\ud800x\"", EBADMSG, "surrogate"},
    {"\"\\ud800\\n\"", EBADMSG, "surrogate"},
    {"\"\\ud800\\ud800\"", EBADMSG, "surrogate"},
    {"\"a\tb\"", EBADMSG, "byte 2: a control character"},
    {"\"a\nb\"", EBADMSG, "a control character"},
    {"\"\x80\"", EBADMSG, "byte 1: a string that is not UTF-8"},
    {"\"\xc0\xaf\"", EBADMSG, "not UTF-8"},
    {"\"\xe0\x80\xaf\"", EBADMSG, "not UTF-8"},
    {"\"\xed\xa0\x80\"", EBADMSG, "not UTF-8"},
    {"\"\xf4\x90\x80\x80\"", EBADMSG, "not UTF-8"},
    {"\"\xf5\x80\x80\x80\"", EBADMSG, "not UTF-8"},
    {"\"\xe2\x82\"", EBADMSG, "not UTF-8"},
    {"\"\xc3", EBADMSG, "not UTF-8"},
    {"{\"a\":1,\"b\":2,\"a\":3}", EBADMSG, "the name 'a' twice"},
    {"{\"a\":1,\"\\u0061\":3}", EBADMSG, "the name 'a' twice"},
    {"[{\"\":1,\"\":3}]", EBADMSG, "the name '' twice"},
};
/* clang-format on */

static void test_refused(void)
{
    for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) {
        Text t;
        int r = parse(&t, bads[i].text, strlen(bads[i].text));

        if (r != -bads[i].error || t.json || !strstr(t.error, bads[i].says))
            test_fail(__FILE__, __LINE__, "%s: %d, '%s'", bads[i].text, r, t.error);
        text_free(&t);
    }
}

static void test_numbers(void)
{
    static const struct {
        const char *text;
        double value;
    } reals[] = {
        {"0.0", 0},
        {"-0.0", 0},
        {"1e-06", 1e-06},
        {"1e-5", 1e-5},
        {"10000.0", 10000},
        {"1E7", 1e7},
        {"0.02", 0.02},
        {"-2.5e+3", -2500},
        {"3.14159265358979", 3.14159265358979},
        {"1e308", 1e308},
        {"1e-307", 1e-307},
        {"1e-999999", 0},
        {"9223372036854775808", 9223372036854775808.0},
        {"12345678901234567890123", 12345678901234567890123.0},
        {"0.00000000000000000000000000000000000001", 1e-38},
    };
    static const struct {
        const char *text;
        int64_t value;
    } integers[] = {
        {"0", 0},
        {"-1", -1},
        {"151936", 151936},
        {"9223372036854775807", INT64_MAX},
    };
    Text t;

    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        const JsonNode *n = sound(&t, reals[i].text);
        double value = -1;

        ASSERT_EQ(n->type, JSON_REAL);
        ASSERT_OK(json_double(n, &value));
        if (!test_near(value, reals[i].value, 0, DBL_EPSILON))
            test_fail(__FILE__, __LINE__, "%s is read as %.17g", reals[i].text, value);
        text_free(&t);
    }
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        const JsonNode *n = sound(&t, integers[i].text);

        ASSERT_EQ(n->type, JSON_INTEGER);
        ASSERT_EQ(n->integer, integers[i].value);
        text_free(&t);
    }
}

static void test_strings(void)
{
    static const char text[] =
        "[\"\", \"plain\", \"\\\"\\\\\\/\\b\\f\\n\\r\\t\", \"\\u0000\\u00e9\\u20AC\\ud83d\\ude00\","
        " \"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\", \"a\\u0041b\"]";
    static const struct {
        const char *text;
        size_t length;
    } expected[] = {
        {"", 0},
        {"plain", 5},
        {"\"\\/\b\f\n\r\t", 8},
        {"\0\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9},
        {"aAb", 3},
    };
    Text t;
    const JsonNode *root = sound(&t, text), *n = json_first(root);

    ASSERT_EQ(root->count, 6);
    for (size_t i = 0; i < 6; i++, n = json_next(n)) {
        ASSERT(json_is(n, JSON_STRING));
        ASSERT_EQ(n->count, expected[i].length);
        ASSERT_MEMEQ(n->text, expected[i].text, expected[i].length);
    }
    ASSERT(n == json_end(root));
    ASSERT(json_is_text(json_end(root) - 1, "aAb"));
    text_free(&t);
}

static void test_tree(void)
{
    Text t;
    const JsonNode *root = sound(
        &t, " {\"a\" : [1, [], {\"x\": null}] ,\r\n\t\"b\":{\"c\":{\"d\":true}}, \"e\":false} ");
    const JsonNode *a = json_get(root, "a");
    uint64_t u = 7;
    double d;
    bool b = false;

    ASSERT_EQ(root->count, 3);
    ASSERT_EQ(a->count, 3);
    ASSERT_EQ(json_first(a)->integer, 1);
    ASSERT_EQ(json_next(json_first(a))->count, 0);
    ASSERT(json_is(json_get(json_next(json_next(json_first(a))), "x"), JSON_NULL));
    ASSERT(json_next(json_next(json_next(json_first(a)))) == json_end(a));
    ASSERT_OK(json_bool(json_get(json_get2(root, "b", "c"), "d"), &b));
    ASSERT(b);
    ASSERT_OK(json_bool(json_get(root, "e"), &b));
    ASSERT(!b);

    ASSERT(!json_get(root, "none"));
    ASSERT(!json_get(a, "x"));
    ASSERT(!json_get2(root, "none", "c"));
    ASSERT(!json_is(NULL, JSON_NULL));
    ASSERT_ERROR(json_unsigned(NULL, 9, &u), EBADMSG);
    ASSERT_ERROR(json_unsigned(a, 9, &u), EBADMSG);
    ASSERT_ERROR(json_unsigned(json_first(a), 0, &u), EBADMSG);
    ASSERT_EQ(u, 7);
    ASSERT_OK(json_unsigned(json_first(a), 1, &u));
    ASSERT_EQ(u, 1);
    ASSERT_ERROR(json_double(a, &d), EBADMSG);
    ASSERT_OK(json_double(json_first(a), &d));
    ASSERT_ERROR(json_bool(a, &b), EBADMSG);
    text_free(&t);
}

/* "[[[…" deeper than allowed, and one less with as many ends. */
static void test_depth(void)
{
    char text[2 * JSON_DEPTH_MAX + 2];
    Text t;

    memset(text, '[', JSON_DEPTH_MAX + 1);
    ASSERT_ERROR(parse(&t, text, JSON_DEPTH_MAX + 1), EFBIG);
    ASSERT(strstr(t.error, "byte 32: nested more than 32 deep"));
    text_free(&t);

    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    ASSERT_OK(parse(&t, text, 2 * JSON_DEPTH_MAX));
    ASSERT_EQ(json_root(t.json)->span, JSON_DEPTH_MAX);
    text_free(&t);
}

/* A container of n equal pieces; the last comma is overwritten by the end. */
static char *repeat(char open, const char *piece, size_t n, char close, size_t *ret_length)
{
    size_t length = strlen(piece);
    char *text = malloc(n * length + 2);

    ASSERT(text);
    text[0] = open;
    for (size_t i = 0; i < n; i++)
        memcpy(text + 1 + i * length, piece, length);
    text[n * length] = close;
    *ret_length = n * length + 1;
    return text;
}

static void test_ceilings(void)
{
    size_t length;
    char *text = repeat('[', "0,", JSON_NODES_MAX, ']', &length), error[160];
    Json *j = NULL;

    ASSERT_ERROR(json_parse(text, length, &j, error, sizeof error), EFBIG);
    ASSERT(strstr(error, "more than 4194304 values"));
    free(text);
    text = repeat('[', "0,", JSON_NODES_MAX - 1, ']', &length);
    ASSERT_OK(json_parse(text, length, &j, error, sizeof error));
    ASSERT_EQ(json_root(j)->count, JSON_NODES_MAX - 1);
    json_free(j);
    free(text);

    text = calloc(1, JSON_SIZE_MAX + 1);
    ASSERT(text);
    ASSERT_ERROR(json_parse(text, JSON_SIZE_MAX + 1, &j, error, sizeof error), EFBIG);
    free(text);
}

/* An object of many names, all different but perhaps the last. */
static void test_many_names(void)
{
    enum { N = 20000 };
    char *text = malloc(16 * N), *at = text, error[160];
    Json *j = NULL;

    ASSERT(text);
    *at++ = '{';
    for (int i = 0; i < N; i++)
        at += sprintf(at, "\"n%d\":%d,", i, i);
    at[-1] = '}';
    ASSERT_OK(json_parse(text, (size_t)(at - text), &j, error, sizeof error));
    ASSERT_EQ(json_get(json_root(j), "n19999")->integer, 19999);
    json_free(j);
    at[-1] = ',';
    at += sprintf(at, "\"n77\":0}");
    ASSERT_ERROR(json_parse(text, (size_t)(at - text), &j, error, sizeof error), EBADMSG);
    ASSERT(strstr(error, "'n77' twice"));
    free(text);
}

/* Every prefix of a sound object is refused. */
static void test_prefixes(void)
{
    static const char text[] =
        "{\"a\\u20ac\": [1.5e3, -2, true, false, null, {\"b\": \"\xf0\x9f\x98\x80\"}], \"c\": {}}";

    for (size_t n = 0; n < sizeof text - 1; n++) {
        Text t;

        ASSERT_ERROR(parse(&t, text, n), EBADMSG);
        ASSERT(strncmp(t.error, "byte ", 5) == 0);
        text_free(&t);
    }
}

int main(void)
{
    RUN(test_refused);
    RUN(test_numbers);
    RUN(test_strings);
    RUN(test_tree);
    RUN(test_depth);
    RUN(test_ceilings);
    RUN(test_many_names);
    RUN(test_prefixes);
    return 0;
}
