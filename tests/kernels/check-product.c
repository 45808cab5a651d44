#include "tests/kernels/harness.h"

/* The products: against the reference, and against themselves in other tiles. */

#include "engine/base/half.h"

#define TURNS 80

typedef struct ProductCase {
    size_t outs, width, n, x_rows, y_rows;
    Tensor w;
    Packed x;
    float *x_f32, *bias, *scale;
    int32_t *src, *dst;
    void *weights, *scratch;
    Product product;
} ProductCase;

/* What every form of rows is made of: floats, and the reference's idea of them. */
static void packed_init(Packed *p, const Kernels *ref, const float *x, size_t n, size_t width)
{
    size_t stride = packed_bf16_stride(width);

    *p = (Packed){.n = n, .width = width, .x = x, .x_stride = width};
    p->bf16 = calloc(n * stride, sizeof *p->bf16);
    ASSERT(p->bf16);
    for (size_t i = 0; i < n; i++)
        ref->bf16_from_f32(x + i * width, width, p->bf16 + i * stride);
    if (width % QUANT_RUN != 0)
        return;
    p->row_bytes = packed_row_bytes(width);
    p->rows = aligned_alloc(64, n * p->row_bytes);
    p->quantised = true;
    for (size_t i = 0; i < n; i++) {
        int8_t *row = (int8_t *)(p->rows + i * p->row_bytes);
        PackedNumbers numbers = packed_numbers(row, width);

        ref->pack_q8(x + i * width, width, row, &numbers);
    }
}

static void case_init(ProductCase *c, DType dtype, size_t outs, size_t width, size_t n,
                      bool indexed)
{
    Kernels ref;

    kernels_init_ref(&ref);
    *c = (ProductCase){.outs = outs, .width = width, .n = n};
    c->x_rows = indexed ? n + random_below(4) : n;
    c->y_rows = indexed ? n + random_below(4) : n;
    c->w = (Tensor){.dtype = dtype, .n_dims = 2, .ne = {(int64_t)width, (int64_t)outs, 1, 1}};
    c->weights = exact_new(tensor_bytes(&c->w));
    c->w.data = c->weights;
    random_weights(dtype, c->weights, outs, width);
    c->x_f32 = exact_new(c->x_rows * width * sizeof(float));
    random_floats(c->x_f32, c->x_rows * width);
    packed_init(&c->x, &ref, c->x_f32, c->x_rows, width);

    c->bias = exact_new(outs * sizeof(float));
    c->scale = exact_new(n * sizeof(float));
    c->src = exact_new(n * sizeof(int32_t));
    c->dst = exact_new(n * sizeof(int32_t));
    random_floats(c->bias, outs);
    random_floats(c->scale, n);
    for (size_t j = 0; j < n; j++) {
        c->src[j] = (int32_t)random_below(c->x_rows);
        c->dst[j] = (int32_t)(c->y_rows - 1 - j); /* no two the same */
    }
    c->scratch = aligned_alloc(64, (product_scratch(width) + 63) / 64 * 64);
    c->product = (Product){.w = &c->w, .x = &c->x, .n = n, .y_stride = outs};
    if (indexed) {
        c->product.src = c->src;
        c->product.dst = c->dst;
        c->product.scale = random_below(2) ? c->scale : NULL;
        c->product.bias = random_below(2) ? c->bias : NULL;
        c->product.accumulate = random_below(2);
        c->product.y_stride = outs + random_below(3);
    }
}

static void case_deinit(ProductCase *c)
{
    free(c->weights);
    free(c->x_f32);
    free(c->x.rows);
    free(c->x.bf16);
    free(c->bias);
    free(c->scale);
    free(c->src);
    free(c->dst);
    free(c->scratch);
}

/* y of the case, by `func`; what accumulates starts from the same numbers. */
static float *case_run(const ProductCase *c, ProductFunc func, size_t rows_at_once,
                       size_t outs_at_once)
{
    size_t size = c->y_rows * c->product.y_stride * sizeof(float);
    float *y = guarded_new(size, 4 * random_below(16));

    for (size_t i = 0; i < size / sizeof *y; i++)
        y[i] = (float)(i % 7);
    for (size_t j = 0; j < c->n; j += rows_at_once) {
        Product p = c->product;
        int32_t src[64], dst[64];

        p.y = y;
        p.n = c->n - j < rows_at_once ? c->n - j : rows_at_once;
        if (rows_at_once < c->n) {
            for (size_t i = 0; i < p.n; i++) {
                src[i] = p.src ? p.src[j + i] : (int32_t)(j + i);
                dst[i] = p.dst ? p.dst[j + i] : (int32_t)(j + i);
            }
            p.src = src;
            p.dst = dst;
            p.scale = p.scale ? p.scale + j : NULL;
        }
        for (size_t out = 0; out < c->outs; out += outs_at_once)
            func(&p, out, out + outs_at_once < c->outs ? out + outs_at_once : c->outs, c->scratch);
    }
    return y;
}

static void check_product(ProductFunc ref, ProductFunc func, DType dtype)
{
    static const size_t outs[] = {1, 7, 15, 16, 17, 31, 48, 64, 256};
    static const size_t runs[] = {1, 2, 3, 8, 10, 16, 25, 32};
    static const size_t rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 31, 63, 130, 200};
    size_t block = (size_t)dtype_block_length(dtype);

    for (int turn = 0; turn < turns(TURNS); turn++) {
        size_t width = random_size(runs, sizeof runs / sizeof *runs) * QUANT_RUN;
        size_t n = random_size(rows, sizeof rows / sizeof *rows);
        ProductCase c;
        float *a, *b;

        width = (width + block - 1) / block * block;
        if (block == 1 && random_below(2))
            width = 1 + random_below(300);
        case_init(&c, dtype, random_size(outs, sizeof outs / sizeof *outs), width, n, turn % 3 > 0);
        a = case_run(&c, ref, n, c.outs);
        b = case_run(&c, func, n, c.outs);
        expect_near(a, b, c.y_rows * c.product.y_stride, 1e-5);
        guarded_free(a);

        a = case_run(&c, func, 1 + random_below(n < 64 ? n : 64),
                     PRODUCT_OUTS * (1 + random_below(3)));
        expect_same(a, b, c.y_rows * c.product.y_stride * sizeof *a);
        guarded_free(a);
        guarded_free(b);
        case_deinit(&c);
    }
}

static void check_int8(const Kernels *ref, const Kernels *k)
{
    for (DType t = next_quantised(0); t < _DTYPE_COUNT; t = next_quantised(t))
        check_product(ref->product_int8, k->product_int8, t);
}

static void check_f32(const Kernels *ref, const Kernels *k)
{
    for (DType t = 0; t < _DTYPE_COUNT; t++)
        check_product(ref->product_f32, k->product_f32, t);
}

static void check_bf16(const Kernels *ref, const Kernels *k)
{
    check_product(ref->product_bf16, k->product_bf16, DTYPE_BF16);
}

typedef struct ProductBench {
    ProductCase c;
    ProductFunc func;
} ProductBench;

static void bench_run(void *userdata)
{
    ProductBench *b = userdata;

    b->func(&b->c.product, 0, b->c.outs, b->c.scratch);
}

/* What the multiplications of a kernel are counted as. */
typedef enum Rate { RATE_F32, RATE_INT8, RATE_BF16 } Rate;

static void bench_one(const Kernels *k, ProductFunc func, DType dtype, Rate rate, size_t outs,
                      size_t width, size_t n)
{
    ProductBench b = {.func = func};
    double macs = (double)outs * (double)width * (double)n;
    char label[64];
    BenchWork work;

    case_init(&b.c, dtype, outs, width, n, false);
    b.c.product.y = exact_new(n * outs * sizeof(float));
    snprintf(label, sizeof label, "%s %s [%zu, %zu] x %zu",
             rate == RATE_F32    ? "f32"
             : rate == RATE_INT8 ? "int8"
                                 : "bf16",
             dtype_name(dtype), outs, width, n);
    work = (BenchWork){.int8_macs = rate == RATE_INT8 ? macs : 0,
                       .bf16_macs = rate == RATE_BF16 ? macs : 0,
                       .f32_macs = rate == RATE_F32 ? macs : 0,
                       .bytes = (double)tensor_bytes(&b.c.w)};
    bench_case(k, label, work, bench_run, &b);
    free(b.c.product.y);
    case_deinit(&b.c);
}

static void bench_shapes(const Kernels *k, ProductFunc func, DType dtype, Rate rate)
{
    /* The shipped model's: a routed expert, a projection, a block's hidden layer, the output head.
     */
    static const struct {
        size_t outs, width;
    } shapes[] = {{64, 256}, {256, 64}, {256, 256}, {256, 512}, {4096, 256}};
    static const size_t rows[] = {1, 2, 4, 8, 16, 64, 256};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (size_t j = 0; j < sizeof rows / sizeof *rows; j++)
            if (shapes[i].outs <= 1024 || rows[j] <= 16)
                bench_one(k, func, dtype, rate, shapes[i].outs, shapes[i].width, rows[j]);
}

/* An expert of a larger model, for one row, a few clients, and what a prompt sends to it; and so
 * many of them for one row that no cache holds them. */
static void bench_expert(const Kernels *k, ProductFunc func, DType dtype, Rate rate)
{
    static const size_t rows[] = {1, 4, 16, 64, 256};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        bench_one(k, func, dtype, rate, 1024, 2048, rows[i]);
    bench_one(k, func, dtype, rate, 65536, 2048, 1);
}

static void bench_int8(const Kernels *k)
{
    bench_shapes(k, k->product_int8, DTYPE_Q8_0, RATE_INT8);
    for (DType t = next_quantised(0); t < _DTYPE_COUNT; t = next_quantised(t))
        bench_expert(k, k->product_int8, t, RATE_INT8);
}

static void bench_f32(const Kernels *k)
{
    bench_shapes(k, k->product_f32, DTYPE_F32, RATE_F32);
    bench_expert(k, k->product_f32, DTYPE_F16, RATE_F32);
    bench_expert(k, k->product_f32, DTYPE_BF16, RATE_F32);
}

static void bench_bf16(const Kernels *k)
{
    bench_expert(k, k->product_bf16, DTYPE_BF16, RATE_BF16);
}

const KernelCheck product_checks[] = {
    {"product_int8", offsetof(Kernels, product_int8), check_int8, bench_int8},
    {"product_f32", offsetof(Kernels, product_f32), check_f32, bench_f32},
    {"product_bf16", offsetof(Kernels, product_bf16), check_bf16, bench_bf16},
    {0},
};
