/* The parser of safetensors files: what it accepts lies inside the file, without a gap. */

#include <stdlib.h>
#include <string.h>

#include "engine/base/safetensors.h"
#include "tests/fuzz/fuzz.h"

static void content_check(const Safetensors *file, const uint8_t *end)
{
    const uint8_t *at = NULL;

    for (size_t i = 0; i < file->n; i++) {
        const SafeTensor *t = &file->tensors[i];
        const uint8_t *data = t->tensor.data;

        if (!t->name[0] || (at && data != at) || t->bytes > (size_t)(end - data))
            abort();
        if (!t->foreign && t->bytes != tensor_bytes(&t->tensor))
            abort();
        at = data + t->bytes;
    }
    if (at && at != end)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[256] = "";
    void *copy = NULL;
    Safetensors file;

    /* As long as the content, so that a sanitizer sees a step too far. */
    if (posix_memalign(&copy, 64, size ? size : 1) != 0)
        abort();
    memcpy(copy, data, size);
    if (safetensors_parse(copy, size, &file, error, sizeof error) < 0) {
        if (!error[0] || !memchr(error, '\0', sizeof error))
            abort();
    } else {
        content_check(&file, (const uint8_t *)copy + size);
        safetensors_deinit(&file);
    }
    free(copy);
    return 0;
}
