#include "engine/cpu/backend.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cpu/cpuid.h"

/* A list of products that one thread does in less than this is not worth another's help:
 * handing over takes half a microsecond, and the rows then lie in the other core's cache. */
#define ALONE_NS 6000
/* What one thread does in a nanosecond, roughly: bytes of weights taken in, and multiply-adds. */
#define BYTES_PER_NS 40
#define MACS_PER_NS  160
/* Chunks a thread takes of one list of products, so that the last ones end at about the same
 * time. */
#define CHUNKS_PER_THREAD 8

static bool scratch_reserve(CpuBackend *cpu, size_t bytes)
{
    bytes = (bytes + 63) / 64 * 64;
    if (bytes <= cpu->scratch_bytes)
        return true;
    for (unsigned i = 0; i < pool_threads(cpu->pool); i++) {
        void *p = aligned_alloc(64, bytes);

        if (!p)
            return false;
        free(cpu->scratch[i]);
        cpu->scratch[i] = p;
    }
    cpu->scratch_bytes = bytes;
    return true;
}

Packed *cpu_packed_new(Backend *b, size_t max_rows, size_t max_width)
{
    CpuBackend *cpu = cpu_backend(b);
    Packed *p = calloc(1, sizeof *p);

    if (!p || !scratch_reserve(cpu, product_scratch(max_width))) {
        free(p);
        return NULL;
    }
    p->max_rows = max_rows;
    p->max_width = max_width;
    if (b->precision == PRECISION_INT8)
        p->rows = b->ops->alloc(b, max_rows * packed_row_bytes(max_width));
    /* Memory that no product with such weights asks for is never touched. */
    if (b->precision == PRECISION_INT8 && cpu->features & CPU_BF16)
        p->bf16 = b->ops->alloc(b, max_rows * packed_bf16_stride(max_width) * sizeof *p->bf16);
    if (b->precision == PRECISION_INT8 && (!p->rows || (cpu->features & CPU_BF16 && !p->bf16))) {
        cpu_packed_free(b, p);
        return NULL;
    }
    return p;
}

void cpu_packed_free(Backend *b, Packed *p)
{
    if (!p)
        return;
    b->ops->free(b, p->rows);
    b->ops->free(b, p->bf16);
    free(p);
}

typedef struct PackWork {
    const Kernels *kernels;
    Packed *p;
} PackWork;

static void pack_range(void *userdata, size_t begin, size_t end, unsigned worker)
{
    const PackWork *work = userdata;
    const Packed *p = work->p;

    (void)worker;
    for (size_t i = begin; i < end; i++) {
        int8_t *row = (int8_t *)(p->rows + i * p->row_bytes);

        PackedNumbers numbers = packed_numbers(row, p->width);

        work->kernels->pack_q8(p->x + i * p->x_stride, p->width, row, &numbers);
    }
}

void cpu_pack(Backend *b, Packed *p, const float *x, size_t x_stride, size_t n, size_t width)
{
    CpuBackend *cpu = cpu_backend(b);
    PackWork work = {&cpu->kernels, p};

    assert(n <= p->max_rows && width <= p->max_width);
    p->n = n;
    p->width = width;
    p->x = x;
    p->x_stride = x_stride;
    p->row_bytes = packed_row_bytes(width);
    p->bf16_ready = false;
    p->quantised = p->rows && width % QUANT_RUN == 0;
    if (p->quantised)
        pool_for(cpu->pool, n, cpu_grain(2 * width), pack_range, &work);
}

static void bf16_range(void *userdata, size_t begin, size_t end, unsigned worker)
{
    const PackWork *work = userdata;
    const Packed *p = work->p;
    size_t stride = packed_bf16_stride(p->width);

    (void)worker;
    for (size_t i = begin; i < end; i++) {
        uint16_t *row = p->bf16 + i * stride;

        work->kernels->bf16_from_f32(p->x + i * p->x_stride, p->width, row);
        memset(row + p->width, 0, (stride - p->width) * sizeof *row);
    }
}

static bool wants_bf16(const Product *p)
{
    return p->x->bf16 && p->w->dtype == DTYPE_BF16;
}

/* Only models of BF16 pay for this form of their rows. */
static void bf16_make(CpuBackend *cpu, Packed *p)
{
    PackWork work = {&cpu->kernels, p};

    if (p->bf16_ready)
        return;
    pool_for(cpu->pool, p->n, cpu_grain(p->width), bf16_range, &work);
    p->bf16_ready = true;
}

/* A turn of the pool: the outputs of all products, in tiles of PRODUCT_OUTS, numbered through. */
typedef struct ProductWork {
    CpuBackend *cpu;
    const Product *products;
    size_t count;
    size_t firsts[CPU_PRODUCTS_MAX + 1]; /* number of the first tile of each */
} ProductWork;

static void product_run(const CpuBackend *cpu, const Product *p, size_t begin, size_t end,
                        unsigned worker)
{
    const Kernels *k = &cpu->kernels;
    void *scratch = cpu->scratch[worker];

    if (p->n == 0)
        return;
    if (p->x->quantised && dtype_is_quantised(p->w->dtype))
        k->product_int8(p, begin, end, scratch);
    else if (wants_bf16(p))
        k->product_bf16(p, begin, end, scratch);
    else
        k->product_f32(p, begin, end, scratch);
}

static size_t product_outs(const Product *p)
{
    return (size_t)p->w->ne[1];
}

/* The last product whose first tile is not after `tile`. */
static size_t product_find(const ProductWork *work, size_t tile)
{
    size_t low = 0, high = work->count;

    while (high - low > 1) {
        size_t middle = (low + high) / 2;

        if (work->firsts[middle] <= tile)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void products_range(void *userdata, size_t begin, size_t end, unsigned worker)
{
    const ProductWork *work = userdata;

    for (size_t i = product_find(work, begin); i < work->count && work->firsts[i] < end; i++) {
        const Product *p = &work->products[i];
        size_t first = begin > work->firsts[i] ? begin - work->firsts[i] : 0;
        size_t last = (end < work->firsts[i + 1] ? end : work->firsts[i + 1]) - work->firsts[i];
        size_t out_end = last * PRODUCT_OUTS;

        if (first < last)
            product_run(work->cpu, p, first * PRODUCT_OUTS,
                        out_end < product_outs(p) ? out_end : product_outs(p), worker);
    }
}

static void product_check(const Product *p)
{
    assert((size_t)p->w->ne[0] == p->x->width);
    assert(p->src || p->n <= p->x->n);
    assert(p->n <= 1 || p->dst || p->y_stride >= product_outs(p));
}

void cpu_products(Backend *b, const Product *products, size_t count)
{
    CpuBackend *cpu = cpu_backend(b);
    ProductWork work = {.cpu = cpu};
    size_t tiles, ns;

    for (; count > 0; products += work.count, count -= work.count) {
        work.products = products;
        work.count = count < CPU_PRODUCTS_MAX ? count : CPU_PRODUCTS_MAX;
        tiles = ns = 0;
        for (size_t i = 0; i < work.count; i++) {
            const Product *p = &products[i];

            product_check(p);
            work.firsts[i] = tiles;
            if (p->n == 0)
                continue;
            if (wants_bf16(p))
                bf16_make(cpu, p->x);
            tiles += (product_outs(p) + PRODUCT_OUTS - 1) / PRODUCT_OUTS;
            ns += tensor_bytes(p->w) / BYTES_PER_NS +
                  p->n * product_outs(p) * p->x->width / MACS_PER_NS;
        }
        work.firsts[work.count] = tiles;

        size_t chunks = (size_t)pool_threads(cpu->pool) * CHUNKS_PER_THREAD;
        /* Even, because kernels like to take two tiles at once. */
        size_t grain = ns < ALONE_NS ? tiles : (tiles + 2 * chunks - 1) / (2 * chunks) * 2;

        pool_for(cpu->pool, tiles, grain ? grain : 1, products_range, &work);
    }
}
