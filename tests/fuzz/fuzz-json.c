/* The reader of JSON: what it accepts is a sound tree, whose strings are UTF-8. */

#include <stdlib.h>
#include <string.h>

#include "engine/base/json.h"
#include "engine/base/utf8.h"
#include "tests/fuzz/fuzz.h"

static void require(bool true_of_every_tree)
{
    if (!true_of_every_tree)
        abort();
}

static void text_check(const JsonNode *node)
{
    for (size_t i = 0, n; i < node->count; i += n) {
        n = utf8_length(node->text + i, node->count - i);
        require(n > 0);
    }
}

/* Children fill their container exactly, and are as many as it says. */
static void container_check(const JsonNode *node)
{
    const JsonNode *child = json_first(node);
    uint32_t n = 0;

    for (; child < json_end(node); child = json_next(child), n++)
        require(child->span > 0 &&
                (node->type == JSON_ARRAY || n % 2 || child->type == JSON_STRING));
    require(child == json_end(node) && n == node->count * (node->type == JSON_OBJECT ? 2 : 1));
}

static void tree_check(const JsonNode *root)
{
    for (const JsonNode *node = root; node < json_end(root); node++) {
        double number = 0;

        if (node->type == JSON_ARRAY || node->type == JSON_OBJECT)
            container_check(node);
        else
            require(node->span == 1);
        if (node->type == JSON_STRING)
            text_check(node);
        if (json_double(node, &number) == 0)
            require(number - number == 0);
    }
    (void)json_get2(root, "a", "b");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[160] = "", *copy = malloc(size ? size : 1);
    Json *j = NULL;

    require(copy);
    memcpy(copy, data, size);
    if (json_parse(copy, size, &j, error, sizeof error) < 0)
        require(strncmp(error, "byte ", 5) == 0 && memchr(error, '\0', sizeof error));
    else
        tree_check(json_root(j));
    json_free(j);
    free(copy);
    return 0;
}
