#pragma once

/*
 * A strict reader of JSON (RFC 8259) for files that strangers wrote: a whole text in, a checked
 * tree out. It never recurses, and what it refuses it names with the byte where it stands: bad
 * UTF-8, lone surrogates, control characters, a name twice in one object, numbers past a double's
 * range, anything after the value.
 *
 * The tree is one array of nodes in the order of the text. A container is followed by its
 * content, so siblings are found by skipping `span` nodes; an object holds names and values in
 * turn.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/cleanup.h"

/* Ceilings: twice what the largest published tokenizer needs. */
#define JSON_SIZE_MAX   (64u << 20)
#define JSON_NODES_MAX  (1u << 22)
#define JSON_DEPTH_MAX  32
#define JSON_DIGITS_MAX 64 /* characters of a number */

typedef enum JsonType {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_INTEGER, /* written without fraction and exponent, and within 64 signed bits */
    JSON_REAL,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
} JsonType;

typedef struct JsonNode {
    JsonType type;
    uint32_t span;  /* nodes of this value, itself included */
    uint32_t count; /* bytes of a string, elements of an array, names of an object */
    union {
        const char *text; /* decoded, not terminated; lives as long as text and tree */
        int64_t integer;
        double real;
    };
} JsonNode;

typedef struct Json Json;

/* Borrows text until json_free(). -EBADMSG: not JSON; -EFBIG: past a ceiling; -ENOMEM. The sentence
 * goes to error. */
int json_parse(const char *text, size_t length, Json **ret_json, char *error, size_t error_size);
Json *json_free(Json *j);
DEFINE_CLEANUP(Json *, json_free);
const JsonNode *json_root(const Json *j);

/* The content of an array or object: from first to before end, each followed by json_next(). */
static inline const JsonNode *json_first(const JsonNode *node)
{
    return node + 1;
}

static inline const JsonNode *json_end(const JsonNode *node)
{
    return node + node->span;
}

static inline const JsonNode *json_next(const JsonNode *node)
{
    return node + node->span;
}

/* The value of a name: NULL when node is no object, or has no such name. Takes time in the size of
 * the object. */
const JsonNode *json_get(const JsonNode *node, const char *name);
/* The same for an object in an object. */
const JsonNode *json_get2(const JsonNode *node, const char *outer, const char *inner);

/* All take NULL, which is of no type. */
bool json_is(const JsonNode *node, JsonType type);
bool json_is_text(const JsonNode *node, const char *text);
/* -EBADMSG unless it is an integer from 0 to max. */
int json_unsigned(const JsonNode *node, uint64_t max, uint64_t *ret_value);
/* -EBADMSG unless it is a number. */
int json_double(const JsonNode *node, double *ret_value);
int json_bool(const JsonNode *node, bool *ret_value);
