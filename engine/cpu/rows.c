#include "engine/cpu/backend.h"

#include <assert.h>
#include <string.h>

/* One op over rows, as a range function needs it; each op uses what it has. */
typedef struct RowsWork {
    const Kernels *kernels;
    const Tensor *table;
    const float *x, *w;
    const int32_t *index, *first;
    float *y;
    size_t width, x_stride, y_stride, n_heads;
    float eps;
} RowsWork;

static void embed_range(void *userdata, size_t begin, size_t end, unsigned worker)
{
    const RowsWork *r = userdata;

    (void)worker;
    for (size_t j = begin; j < end; j++) {
        const void *row = tensor_row(r->table, r->index[j]);

        r->kernels->unpack(r->table->dtype, row, r->width, r->y + j * r->y_stride);
    }
}

void cpu_embed(Backend *b, const Tensor *table, const int32_t *ids, size_t n, float *y,
               size_t y_stride)
{
    CpuBackend *cpu = cpu_backend(b);
    RowsWork work = {.kernels = &cpu->kernels,
                     .table = table,
                     .index = ids,
                     .y = y,
                     .width = (size_t)table->ne[0],
                     .y_stride = y_stride};

    for (size_t j = 0; j < n; j++)
        assert(ids[j] >= 0 && ids[j] < table->ne[1]);
    pool_for(cpu->pool, n, cpu_grain(work.width), embed_range, &work);
}

static void rms_norm_range(void *userdata, size_t begin, size_t end, unsigned worker)
{
    const RowsWork *r = userdata;

    (void)worker;
    for (size_t j = begin; j < end; j++)
        r->kernels->rms_norm(r->x + j * r->width, r->w, r->eps, r->width, r->y + j * r->width);
}

void cpu_rms_norm(Backend *b, const float *x, const float *w, float eps, size_t n, size_t width,
                  float *y)
{
    CpuBackend *cpu = cpu_backend(b);
    RowsWork work = {.kernels = &cpu->kernels, .x = x, .w = w, .eps = eps, .width = width, .y = y};

    pool_for(cpu->pool, n, cpu_grain(2 * width), rms_norm_range, &work);
}

static void rope_range(void *userdata, size_t begin, size_t end, unsigned worker)
{
    const RowsWork *r = userdata;

    (void)worker;
    for (size_t j = begin; j < end; j++)
        r->kernels->rope(r->y + j * r->n_heads * r->width, r->n_heads, r->width,
                         r->x + j * r->width);
}

void cpu_rope(Backend *b, float *x, size_t n, size_t n_heads, size_t head_dim, const float *cos_sin)
{
    CpuBackend *cpu = cpu_backend(b);
    RowsWork work = {
        .kernels = &cpu->kernels, .x = cos_sin, .y = x, .n_heads = n_heads, .width = head_dim};

    assert(head_dim % 2 == 0);
    pool_for(cpu->pool, n, cpu_grain(2 * n_heads * head_dim), rope_range, &work);
}

static void silu_mul_range(void *userdata, size_t begin, size_t end, unsigned worker)
{
    const RowsWork *r = userdata;

    (void)worker;
    r->kernels->silu_mul(r->x + begin, r->w ? r->w + begin : NULL, end - begin, r->y + begin);
}

/* Chunks are whole vectors of any table, so that where a run is cut never changes its bits. */
static size_t floats_grain(size_t cost)
{
    return (cpu_grain(cost) + 63) / 64 * 64;
}

void cpu_silu_mul(Backend *b, const float *a, const float *b_, size_t count, float *y)
{
    CpuBackend *cpu = cpu_backend(b);
    RowsWork work = {.kernels = &cpu->kernels, .x = a, .w = b_, .y = y};

    pool_for(cpu->pool, count, floats_grain(8), silu_mul_range, &work);
}

void cpu_silu(Backend *b, float *x, size_t count)
{
    cpu_silu_mul(b, x, NULL, count, x);
}

static void add_range(void *userdata, size_t begin, size_t end, unsigned worker)
{
    const RowsWork *r = userdata;

    (void)worker;
    r->kernels->add(r->y + begin, r->x + begin, end - begin);
}

void cpu_add(Backend *b, float *y, const float *x, size_t count)
{
    CpuBackend *cpu = cpu_backend(b);
    RowsWork work = {.kernels = &cpu->kernels, .x = x, .y = y};

    pool_for(cpu->pool, count, floats_grain(2), add_range, &work);
}

static void sum_indexed_range(void *userdata, size_t begin, size_t end, unsigned worker)
{
    const RowsWork *r = userdata;

    (void)worker;
    for (size_t j = begin; j < end; j++)
        for (int32_t i = r->first[j]; i < r->first[j + 1]; i++)
            r->kernels->add(r->y + j * r->width, r->x + (size_t)r->index[i] * r->width, r->width);
}

void cpu_sum_indexed(Backend *b, const float *x, const int32_t *index, const int32_t *first,
                     size_t n, size_t width, float *y)
{
    CpuBackend *cpu = cpu_backend(b);
    RowsWork work = {
        .kernels = &cpu->kernels, .x = x, .index = index, .first = first, .y = y, .width = width};
    size_t sums = n ? (size_t)(first[n] - first[0]) / n + 1 : 1;

    pool_for(cpu->pool, n, cpu_grain(2 * width * sums), sum_indexed_range, &work);
}

typedef struct StoreWork {
    const Kernels *kernels;
    const AttentionRow *rows;
    size_t head_dim;
    KvType kv;
} StoreWork;

/* Where things lie in a page: kernels.h. A key is a column of its page. */
static void key_store(const StoreWork *w, const float *k, void *page, size_t column)
{
    uint16_t half[ATTENTION_DIM_MAX];

    if (w->kv == KV_F32) {
        for (size_t d = 0; d < w->head_dim; d++)
            ((float *)page)[d * KV_PAGE + column] = k[d];
        return;
    }
    w->kernels->f16_from_f32(k, w->head_dim, half);
    for (size_t d = 0; d < w->head_dim; d++)
        ((uint16_t *)page)[d * KV_PAGE + column] = half[d];
}

static void value_store(const StoreWork *w, const float *v, void *page, size_t row)
{
    if (w->kv == KV_F16)
        w->kernels->f16_from_f32(v, w->head_dim, (uint16_t *)page + row * w->head_dim);
    else
        memcpy((float *)page + row * w->head_dim, v, w->head_dim * sizeof *v);
}

/* x as int8; its scales go to the end of the page. */
static void bytes_store(const StoreWork *w, const float *x, int8_t *page, size_t row, int8_t *q)
{
    float scales[ATTENTION_DIM_MAX / QUANT_RUN], sums[ATTENTION_DIM_MAX / QUANT_RUN];
    int32_t offsets[2][ATTENTION_DIM_MAX / QUANT_RUN];
    uint16_t half[ATTENTION_DIM_MAX / QUANT_RUN];
    uint16_t *to = (uint16_t *)(void *)(page + KV_PAGE * w->head_dim);
    size_t n_runs = w->head_dim / QUANT_RUN;

    w->kernels->pack_q8(x, w->head_dim, q, &(PackedNumbers){scales, offsets[0], offsets[1], sums});
    w->kernels->f16_from_f32(scales, n_runs, half);
    for (size_t r = 0; r < n_runs; r++)
        to[r * KV_PAGE + row] = half[r];
}

static void pair_store_q8(const StoreWork *w, const AttentionRow *row, int8_t *keys, int8_t *values,
                          size_t at)
{
    int8_t k[ATTENTION_DIM_MAX];

    bytes_store(w, row->k, keys, at, k);
    for (size_t d = 0; d < w->head_dim; d += 4)
        memcpy(keys + (d / 4 * KV_PAGE + at) * 4, k + d, 4);
    bytes_store(w, row->v, values, at, values + at * w->head_dim);
}

static void kv_store_range(void *userdata, size_t begin, size_t end, unsigned worker)
{
    const StoreWork *w = userdata;

    (void)worker;
    for (size_t j = begin; j < end; j++) {
        const AttentionRow *row = &w->rows[j];
        size_t last = row->length - 1, at = last % KV_PAGE;
        void *keys = row->k_pages[last / KV_PAGE], *values = row->v_pages[last / KV_PAGE];

        if (w->kv == KV_Q8) {
            pair_store_q8(w, row, keys, values, at);
            continue;
        }
        key_store(w, row->k, keys, at);
        value_store(w, row->v, values, at);
    }
}

void cpu_kv_store(Backend *b, const AttentionRow *rows, size_t count, size_t head_dim, KvType kv)
{
    CpuBackend *cpu = cpu_backend(b);
    StoreWork work = {&cpu->kernels, rows, head_dim, kv};

    assert(head_dim <= ATTENTION_DIM_MAX && (kv != KV_Q8 || head_dim % QUANT_RUN == 0));
    pool_for(cpu->pool, count, cpu_grain(8 * head_dim), kv_store_range, &work);
}
