/*
 * A folder of a model: config.json, tokenizer.json and the rest, in one input. A line of "=== NAME"
 * begins a file that goes on to the next; tensors.json there is the header of model.safetensors,
 * whose data follows from it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/tokenizer.h"
#include "tests/fuzz/fuzz.h"

#define PARTS_MAX 8
#define DATA_SIZE 65536

static const char *const names[] = {
    "config.json",           "tokenizer.json",
    "tokenizer_config.json", "generation_config.json",
    "tensors.json",          "model.safetensors.index.json",
};

/* A file as long as its content, so that a sanitizer sees a step too far. */
static void part_add(WeightsFile *part, const char *name, const void *data, size_t size)
{
    void *copy = NULL;

    if (posix_memalign(&copy, 64, size ? size : 1) != 0)
        abort();
    memcpy(copy, data, size);
    *part = (WeightsFile){name, copy, size, false};
}

/* Data of any length that a small header can ask for; what it does not ask for is cut off. */
static void tensors_add(WeightsFile *part, const char *header, size_t size)
{
    static char file[8 + (1 << 20) + DATA_SIZE];
    const char *at = header, *end = header + size;
    uint64_t length = size;
    unsigned long long reach = 0;

    if (size > 1 << 20)
        abort();
    memcpy(file, &length, 8);
    memcpy(file + 8, header, size);
    /* The largest number before a bracket is where the data ends. */
    for (; at < end && (at = memchr(at, ',', (size_t)(end - at))); at++) {
        char digits[24] = "";
        unsigned long long value;

        memcpy(digits, at + 1, (size_t)(end - at - 1) < 23 ? (size_t)(end - at - 1) : 23);
        value = strtoull(digits, NULL, 10);
        if (value > reach && value <= DATA_SIZE)
            reach = value;
    }
    part_add(part, "model.safetensors", file, 8 + size + (size_t)reach);
}

static const char *name_find(const char *line, size_t length)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == length && memcmp(names[i], line, length) == 0)
            return names[i];
    return NULL;
}

static size_t parts_split(const char *text, size_t size, WeightsFile parts[PARTS_MAX])
{
    const char *end = text + size;
    size_t n = 0;

    while (n < PARTS_MAX && end - text > 4 && memcmp(text, "=== ", 4) == 0) {
        const char *line = memchr(text, '\n', (size_t)(end - text)), *next, *name;

        if (!line)
            break;
        name = name_find(text + 4, (size_t)(line - text - 4));
        next = memmem(line, (size_t)(end - line), "\n=== ", 5);
        next = next ? next + 1 : end;
        if (name && strcmp(name, "tensors.json") == 0)
            tensors_add(&parts[n++], line + 1, (size_t)(next - line - 1));
        else if (name)
            part_add(&parts[n++], name, line + 1, (size_t)(next - line - 1));
        text = next;
    }
    return n;
}

/* Every byte that the store vouches for must be there. */
static void tensors_read(Weights *w)
{
    static Tensor experts[1024];
    volatile uint8_t sink;

    for (size_t i = 0; i < weights_tensor_count(w); i++) {
        Tensor t;
        const char *name = weights_tensor_at(w, i, &t);
        int64_t n = 1;

        if (t.n_dims == 3 && t.ne[2] <= 1024 && !t.data) {
            n = t.ne[2];
            if (weights_need_experts(w, name, (int64_t[]){0, 0, 0}, experts) < 0)
                abort();
        } else
            experts[0] = t;
        for (int64_t e = 0; e < n; e++) {
            const uint8_t *data = experts[e].data;

            sink = data[0];
            sink = data[tensor_bytes(&experts[e]) - 1];
        }
    }
    (void)sink;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    WeightsFile parts[PARTS_MAX];
    char error[WEIGHTS_ERROR_MAX] = "";
    size_t n = size < 1 << 20 ? parts_split((const char *)data, size, parts) : 0;
    Weights *w = NULL;
    Tokenizer *t = NULL;

    if (weights_open_parts(parts, n, &w, error) < 0) {
        if (!error[0] || !memchr(error, '\0', sizeof error))
            abort();
    } else {
        tensors_read(w);
        if (tokenizer_new(w, &t) < 0 && !weights_error(w)[0])
            abort();
    }
    tokenizer_free(t);
    weights_close(w);
    for (size_t i = 0; i < n; i++)
        free((void *)parts[i].data);
    return 0;
}
