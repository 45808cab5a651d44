#include "tests/kernels/harness.h"

/* The three products: against the reference, and against themselves in other tiles. */

typedef struct ProductCase {
    size_t outs, width, n, x_rows, y_rows;
    Tensor w;
    Packed x;
    float *x_f32, *bias, *scale;
    int32_t *src, *dst;
    void *weights, *scratch;
    Product product;
} ProductCase;

typedef void (*ProductFunc)(const Product *p, size_t out_begin, size_t out_end, void *scratch);

/* Ready for either precision: F32 weights in any width, Q8_0 in multiples of 32. */
static void case_init(ProductCase *c, DType dtype, size_t outs, size_t width, size_t n,
                      bool indexed)
{
    const Kernels *k;
    Kernels ref;

    kernels_init_ref(&ref);
    k = &ref;
    *c = (ProductCase){.outs = outs, .width = width, .n = n};
    c->x_rows = indexed ? n + random_below(4) : n;
    c->y_rows = indexed ? n + random_below(4) : n;
    c->w = (Tensor){.dtype = dtype, .n_dims = 2, .ne = {(int64_t)width, (int64_t)outs, 1, 1}};
    c->weights = exact_new(tensor_bytes(&c->w));
    c->w.data = c->weights;
    if (dtype == DTYPE_Q8_0)
        random_q8(c->weights, outs, width);
    else
        random_floats(c->weights, outs * width);

    c->x_f32 = exact_new(c->x_rows * width * sizeof(float));
    random_floats(c->x_f32, c->x_rows * width);
    c->x = (Packed){.n = c->x_rows, .width = width, .x = c->x_f32, .x_stride = width};
    if (dtype == DTYPE_Q8_0) {
        c->x.row_bytes = packed_row_bytes(width);
        c->x.rows = aligned_alloc(64, c->x_rows * c->x.row_bytes);
        c->x.quantised = true;
        for (size_t i = 0; i < c->x_rows; i++) {
            int8_t *row = (int8_t *)(c->x.rows + i * c->x.row_bytes);

            k->pack_q8(c->x_f32 + i * width, width, row, (float *)packed_scales(&c->x, row),
                       (int32_t *)packed_offsets(&c->x, row));
        }
    }

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
    static const size_t blocks[] = {1, 2, 3, 8, 10, 16, 25, 32};
    static const size_t rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 31, 63};

    for (int turn = 0; turn < 120; turn++) {
        size_t width = random_size(blocks, sizeof blocks / sizeof *blocks) * Q8_0_BLOCK;
        size_t n = random_size(rows, sizeof rows / sizeof *rows);
        ProductCase c;
        float *a, *b;

        if (dtype == DTYPE_F32 && random_below(2))
            width = 1 + random_below(300);
        case_init(&c, dtype, random_size(outs, sizeof outs / sizeof *outs), width, n, turn % 3 > 0);
        a = case_run(&c, ref, n, c.outs);
        b = case_run(&c, func, n, c.outs);
        expect_near(a, b, c.y_rows * c.product.y_stride, 1e-5);
        guarded_free(a);

        a = case_run(&c, func, 1 + random_below(n), PRODUCT_OUTS * (1 + random_below(3)));
        expect_same(a, b, c.y_rows * c.product.y_stride * sizeof *a);
        guarded_free(a);
        guarded_free(b);
        case_deinit(&c);
    }
}

static void check_q8(const Kernels *ref, const Kernels *k)
{
    check_product(ref->product_q8, k->product_q8, DTYPE_Q8_0);
}

static void check_q8_f32(const Kernels *ref, const Kernels *k)
{
    check_product(ref->product_q8_f32, k->product_q8_f32, DTYPE_Q8_0);
}

static void check_f32(const Kernels *ref, const Kernels *k)
{
    check_product(ref->product_f32, k->product_f32, DTYPE_F32);
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

static void bench_shapes(const Kernels *k, const char *name, ProductFunc func, DType dtype)
{
    /* A routed expert, a projection, a block's hidden layer, the output head. */
    static const struct {
        size_t outs, width;
    } shapes[] = {{64, 256}, {256, 64}, {256, 32}, {256, 256}, {512, 256}, {256, 512}, {4096, 256}};
    static const size_t rows[] = {1, 2, 4, 8, 16, 64, 256};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (size_t j = 0; j < sizeof rows / sizeof *rows; j++) {
            ProductBench b = {.func = func};
            size_t outs = shapes[i].outs, width = shapes[i].width, n = rows[j];
            double macs = (double)outs * (double)width * (double)n;
            char label[64];

            if (outs > 1024 && n > 16)
                continue;
            case_init(&b.c, dtype, outs, width, n, false);
            b.c.product.y = exact_new(n * outs * sizeof(float));
            snprintf(label, sizeof label, "%s [%zu, %zu] x %zu", name, outs, width, n);
            bench_case(k, label,
                       (BenchWork){.int8_macs = func == k->product_q8 ? macs : 0,
                                   .f32_macs = func == k->product_q8 ? 0 : macs,
                                   .bytes = (double)tensor_bytes(&b.c.w)},
                       bench_run, &b);
            free(b.c.product.y);
            case_deinit(&b.c);
        }
}

static void bench_q8(const Kernels *k)
{
    bench_shapes(k, "product_q8", k->product_q8, DTYPE_Q8_0);
}

static void bench_q8_f32(const Kernels *k)
{
    bench_shapes(k, "product_q8_f32", k->product_q8_f32, DTYPE_Q8_0);
}

static void bench_f32(const Kernels *k)
{
    bench_shapes(k, "product_f32", k->product_f32, DTYPE_F32);
}

const KernelCheck product_checks[] = {
    {"product_q8", offsetof(Kernels, product_q8), check_q8, bench_q8},
    {"product_q8_f32", offsetof(Kernels, product_q8_f32), check_q8_f32, bench_q8_f32},
    {"product_f32", offsetof(Kernels, product_f32), check_f32, bench_f32},
    {0},
};
