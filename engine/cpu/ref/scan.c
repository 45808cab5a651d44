#include "engine/cpu/ref/ref.h"

void scan_q8_ref(const uint8_t *rows, size_t n, size_t width, const int8_t *query, int32_t *out)
{
    for (size_t i = 0; i < n; i++) {
        int32_t sum = 0;

        for (size_t k = 0; k < width; k++)
            sum += (rows[i * width + k] - 128) * query[k];
        out[i] = sum;
    }
}
