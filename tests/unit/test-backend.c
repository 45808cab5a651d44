#include "engine/backend.h"

#include <stdbool.h>

#include "engine/base/quant.h"
#include "engine/cpu/cpuid.h"
#include "tests/test.h"

/*
 * The back end's promise: a row's bits depend neither on the number of threads nor on the rows
 * beside it. Every op runs over many rows with several threads and row by row with one; sizes are
 * large enough that threads are used.
 */

#define N     96
#define WIDTH 256
#define OUTS  208 /* thirteen tiles */
#define HEADS 8
#define DIM   32
#define KEYS  1300 /* three parts of attention */
#define PAGES ((KEYS + KV_PAGE - 1) / KV_PAGE)

static uint32_t state = 1;

static float random_float(void)
{
    state = state * 1664525 + 1013904223;
    return (float)(int32_t)state / 0x1p31f;
}

static float *floats_new(Backend *b, size_t n)
{
    float *x = b->ops->alloc(b, n * sizeof *x);

    ASSERT(x);
    for (size_t i = 0; i < n; i++)
        x[i] = random_float();
    return x;
}

/* One tensor of each type that products take, and inputs for every op. */
typedef struct Data {
    Tensor w[_DTYPE_COUNT];
    int32_t ids[N], src[N], first[N + 1];
    float *x, *w_norm, *cos_sin, *q, *k, *v;
} Data;

/* A matrix of any bytes, but scales of an ordinary size. */
static Tensor weights_new(Backend *b, DType dtype)
{
    Tensor w = {NULL, dtype, 2, {WIDTH, OUTS, 1, 1}};
    size_t block = dtype_row_bytes(dtype, dtype_block_length(dtype)), size = tensor_bytes(&w);
    uint8_t *p = b->ops->alloc(b, size);

    ASSERT(p);
    w.data = p;
    for (size_t i = 0; i < size; i++) {
        random_float();
        p[i] = (uint8_t)(state >> 24);
    }
    for (size_t i = 0; i < size; i += block) {
        if (!dtype_is_quantised(dtype)) {
            p[i + block - 1] &= 0xbf; /* less than 2 */
            continue;
        }
        for (size_t at = dtype == DTYPE_Q6_K ? Q6_K_SCALE : 0, n = 0; n < 2 && at < block; n++) {
            p[i + at++] = 0x11; /* 0x1c11 is 0.004: a scale, and a minimum where there is one */
            p[i + at++] = 0x1c;
        }
    }
    return w;
}

static void data_init(Data *d, Backend *b)
{
    for (DType t = 0; t < _DTYPE_COUNT; t++)
        d->w[t] = weights_new(b, t);
    for (int32_t j = 0; j < N; j++) {
        d->ids[j] = j * 7 % OUTS;
        d->src[j] = j * 5 % N;
        d->first[j] = j / 3 * 3;
    }
    d->first[N] = N;
    d->x = floats_new(b, N * WIDTH);
    d->w_norm = floats_new(b, WIDTH);
    d->cos_sin = floats_new(b, N * DIM);
    d->q = floats_new(b, N * WIDTH);
    d->k = floats_new(b, KEYS * DIM);
    d->v = floats_new(b, KEYS * DIM);
}

static void data_deinit(Data *d, Backend *b)
{
    for (DType t = 0; t < _DTYPE_COUNT; t++)
        b->ops->free(b, (void *)(uintptr_t)d->w[t].data);
    b->ops->free(b, d->x);
    b->ops->free(b, d->w_norm);
    b->ops->free(b, d->cos_sin);
    b->ops->free(b, d->q);
    b->ops->free(b, d->k);
    b->ops->free(b, d->v);
}

/* Results of every op for all N rows; one float array each. */
typedef struct Results {
    float products[_DTYPE_COUNT][N * OUTS], gathered[N * OUTS], embedded[N * WIDTH],
        norm[N * WIDTH];
    float rope[N * WIDTH], silu_mul[N * WIDTH], silu[N * WIDTH], add[N * WIDTH], sums[N * WIDTH];
    float paged[_KV_TYPE_COUNT][N * DIM], full[N * WIDTH], pooled[4 * WIDTH];
} Results;

static void run_products(Backend *b, const Data *d, size_t step, Results *r)
{
    Packed *packed = b->ops->packed_new(b, N, WIDTH);
    static const float bias[OUTS] = {1, 2, 3};

    ASSERT(packed);
    for (size_t j = 0; j < N; j += step) {
        Product p[_DTYPE_COUNT + 1];

        b->ops->pack(b, packed, d->x + j * WIDTH, WIDTH, step, WIDTH);
        for (size_t i = 0; i < _DTYPE_COUNT; i++)
            p[i] = (Product){.w = &d->w[i],
                             .x = packed,
                             .n = step,
                             .bias = i % 2 ? bias : NULL,
                             .y = r->products[i] + j * OUTS,
                             .y_stride = OUTS};
        p[_DTYPE_COUNT] = (Product){.w = &d->w[0], .x = packed, .n = 0};
        b->ops->products(b, p, _DTYPE_COUNT + 1);
    }

    /* Gathered, scattered, scaled, accumulated; rows are all packed now. */
    b->ops->pack(b, packed, d->x, WIDTH, N, WIDTH);
    for (size_t j = 0; j < N; j += step) {
        Product p = {.w = &d->w[DTYPE_Q8_0],
                     .x = packed,
                     .n = step,
                     .src = d->src + j,
                     .dst = d->src + j,
                     .scale = d->x + j,
                     .y = r->gathered,
                     .y_stride = OUTS};

        b->ops->products(b, &p, 1);
        p.accumulate = true;
        b->ops->products(b, &p, 1);
    }
    b->ops->packed_free(b, packed);
}

static void run_rows(Backend *b, const Data *d, size_t step, Results *r)
{
    memcpy(r->rope, d->x, sizeof r->rope);
    memcpy(r->silu, d->x, sizeof r->silu);
    memcpy(r->add, d->x, sizeof r->add);
    memcpy(r->sums, d->x, sizeof r->sums);
    for (size_t j = 0; j < N; j += step) {
        size_t at = j * WIDTH, n = step * WIDTH;

        b->ops->embed(b, &d->w[DTYPE_Q8_0], d->ids + j, step, r->embedded + at, WIDTH);
        b->ops->rms_norm(b, d->x + at, d->w_norm, 1e-6f, step, WIDTH, r->norm + at);
        b->ops->rope(b, r->rope + at, step, HEADS, DIM, d->cos_sin + j * DIM);
        b->ops->silu_mul(b, d->x + at, d->q + at, n, r->silu_mul + at);
        b->ops->silu(b, r->silu + at, n);
        b->ops->add(b, r->add + at, d->q + at, n);
        b->ops->sum_indexed(b, d->q, d->src, d->first + j, step, WIDTH, r->sums + at);
    }
}

static void run_paged(Backend *b, const Data *d, size_t step, KvType kv, Results *r)
{
    void *k[PAGES], *v[PAGES];
    float *gates[PAGES];
    static AttentionRow rows[KEYS];

    for (size_t i = 0; i < PAGES; i++) {
        k[i] = b->ops->alloc(b, kv_page_bytes(kv, DIM));
        v[i] = b->ops->alloc(b, kv_page_bytes(kv, DIM));
        gates[i] = i % 2 ? d->x + i * KV_PAGE : NULL;
        ASSERT(k[i] && v[i]);
    }
    for (size_t j = 0; j < KEYS; j++)
        rows[j] = (AttentionRow){.k = d->k + j * DIM,
                                 .v = d->v + j * DIM,
                                 .k_pages = k,
                                 .v_pages = v,
                                 .length = (uint32_t)j + 1,
                                 .log_gate = (const float *const *)gates};
    for (size_t j = 0; j < KEYS; j += step * 10)
        b->ops->kv_store(b, rows + j, KEYS - j < step * 10 ? KEYS - j : step * 10, DIM, kv);
    for (size_t j = 0; j < N; j++) {
        rows[j] = rows[j * (KEYS - 1) / (N - 1)];
        rows[j].q = d->q + j * DIM;
        rows[j].out = r->paged[kv] + j * DIM;
    }
    for (size_t j = 0; j < N; j += step)
        b->ops->attention_paged(b, rows + j, step, 1, DIM, kv);
    for (size_t i = 0; i < PAGES; i++) {
        b->ops->free(b, k[i]);
        b->ops->free(b, v[i]);
    }
}

static Results *run(unsigned threads, Precision precision, unsigned mask, size_t step)
{
    Results *r = calloc(1, sizeof *r);
    _cleanup_(backend_closep) Backend *b = NULL;
    Data d;

    ASSERT(r);
    state = 1;
    ASSERT_OK(backend_cpu_open(threads, precision, mask, &b));
    data_init(&d, b);
    run_products(b, &d, step, r);
    run_rows(b, &d, step, r);
    for (KvType kv = 0; kv < _KV_TYPE_COUNT; kv++)
        run_paged(b, &d, step, kv, r);
    b->ops->attention_full(b, d.q, d.x, d.q, N, HEADS, DIM, r->full);
    b->ops->attention_pool(b, d.x, N, WIDTH, d.q, 4, r->pooled);
    ASSERT_OK(b->ops->sync(b));
    data_deinit(&d, b);
    return r;
}

static void expect_rows(const char *what, const void *a, const void *b, size_t size)
{
    if (memcmp(a, b, size) != 0)
        test_fail(__FILE__, __LINE__, "%s depends on threads or on the rows beside", what);
}

#define SAME(field) expect_rows(#field, a->field, b->field, sizeof a->field)

static void test_bits(void)
{
    static const char *const levels[] = {"plain", "avx2", "avx512", "avx512vnni", "avx512bf16"};

    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        for (int precision = 0; precision < 2; precision++) {
            unsigned mask;
            Results *a, *b;

            ASSERT_OK(cpu_mask_parse(levels[i], &mask));
            a = run(1, (Precision)precision, mask, 1);
            for (size_t step = 3; step <= N; step *= 4) {
                b = run(3, (Precision)precision, mask, step);
                SAME(products);
                SAME(gathered);
                SAME(embedded);
                SAME(norm);
                SAME(rope);
                SAME(silu_mul);
                SAME(silu);
                SAME(add);
                SAME(sums);
                SAME(paged);
                SAME(full);
                SAME(pooled);
                free(b);
            }
            free(a);
        }
}

static double distance(const float *a, const float *b, size_t n)
{
    double error = 0, norm = 0;

    for (size_t i = 0; i < n; i++) {
        error += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return sqrt(error / norm);
}

/* Quantised activations are near the f32 ones, as near as eight bits are, and not the same. */
static void test_precision(void)
{
    Results *int8 = run(1, PRECISION_INT8, 0, N), *f32 = run(1, PRECISION_F32, 0, N);

    for (DType t = 0; t < _DTYPE_COUNT; t++) {
        double d = distance(int8->products[t], f32->products[t], N * OUTS);

        if (dtype_is_quantised(t) || (t == DTYPE_BF16 && cpu_features() & CPU_BF16))
            ASSERT(d > 1e-4 && d < 1e-2);
        else
            ASSERT(d == 0);
    }
    ASSERT(distance(f32->paged[KV_F16], f32->paged[KV_F32], N * DIM) < 1e-3);
    ASSERT(distance(f32->paged[KV_Q8], f32->paged[KV_F32], N * DIM) < 1e-2);
    free(int8);
    free(f32);
}

/* Sums of sum_indexed() in their order, by hand. */
static void test_sums(void)
{
    _cleanup_(backend_closep) Backend *b = NULL;
    float x[] = {1e8f, 1, 2, 3, -1e8f, 5}, y[] = {1, 10, 20, 30};
    int32_t index[] = {0, 2, 1}, first[] = {0, 2, 3};

    ASSERT_OK(backend_cpu_open(1, PRECISION_F32, 0, &b));
    b->ops->sum_indexed(b, x, index, first, 2, 2, y);
    ASSERT(y[0] == (1 + 1e8f) + -1e8f && y[1] == 16);
    ASSERT(y[2] == 22 && y[3] == 33);
}

static void test_alloc(void)
{
    _cleanup_(backend_closep) Backend *b = NULL;

    ASSERT_OK(backend_cpu_open(2, PRECISION_INT8, 0, &b));
    ASSERT_STREQ(b->name, "cpu");
    ASSERT(strstr(b->detail, "2 threads"));
    for (size_t size = 0; size < 100000; size = size * 3 + 1) {
        uint8_t *p = b->ops->alloc(b, size);

        ASSERT(p && (uintptr_t)p % 64 == 0);
        for (size_t i = 0; i < size; i++)
            ASSERT_EQ(p[i], 0);
        b->ops->free(b, p);
    }
    ASSERT(!b->ops->alloc(b, SIZE_MAX));
    b->ops->free(b, NULL);
    b->ops->packed_free(b, NULL);
}

static void test_masks(void)
{
    unsigned mask = 0;

    ASSERT_ERROR(cpu_mask_parse("sse9", &mask), EINVAL);
    ASSERT_OK(cpu_mask_parse("avx2", &mask));
    ASSERT_EQ(mask, CPU_PLAIN | CPU_AVX2);
    ASSERT_STREQ(cpu_mask_name(mask), "avx2");
    ASSERT_OK(cpu_mask_parse("native", &mask));
    ASSERT_EQ(mask, 0);
    ASSERT_STREQ(cpu_mask_name(CPU_ALL), "avx512bf16");
}

int main(void)
{
    RUN(test_alloc);
    RUN(test_masks);
    RUN(test_sums);
    RUN(test_precision);
    RUN(test_bits);
    return 0;
}
