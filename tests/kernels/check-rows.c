#include "tests/kernels/harness.h"

#include "engine/base/half.h"

/* Kernels over one row or run of floats. */

#define TURNS 200

static const size_t widths[] = {1,  7,  8,   9,   15,  16,  17,  31,  32,
                                33, 64, 100, 255, 256, 257, 512, 1024};
#define RANDOM_WIDTH() random_size(widths, sizeof widths / sizeof *widths)

/* n random floats that end where the heap block ends, 4-byte aligned only. */
static float *floats_new(size_t n)
{
    float *x = exact_new(n * sizeof *x);

    random_floats(x, n);
    return x;
}

static float *output_new(size_t n)
{
    return guarded_new(n * sizeof(float), 4 * random_below(16));
}

/* What pack_q8() makes of a row, in buffers of their own. */
typedef struct PackedCase {
    int8_t *q;
    PackedNumbers numbers;
} PackedCase;

static PackedCase packed_run(const Kernels *k, const float *x, size_t n)
{
    size_t size = n / QUANT_RUN * sizeof(float);
    PackedCase c = {
        guarded_new(n, 0),
        {guarded_new(size, 0), guarded_new(size, 4), guarded_new(size, 8), guarded_new(size, 0)}};

    k->pack_q8(x, n, c.q, &c.numbers);
    return c;
}

static void packed_free(PackedCase *c)
{
    guarded_free(c->q);
    guarded_free(c->numbers.scales);
    guarded_free(c->numbers.offsets);
    guarded_free(c->numbers.half_offsets);
    guarded_free(c->numbers.sums);
}

static void check_pack_q8(const Kernels *ref, const Kernels *k)
{
    for (int turn = 0; turn < turns(TURNS); turn++) {
        size_t n = (1 + random_below(33)) * QUANT_RUN, size = n / QUANT_RUN * sizeof(float);
        float *x = floats_new(n);
        PackedCase a, b;

        /* Halves between two integers, where rounding shows: a block whose scale is a power of
         * two. */
        if (turn % 4 == 0)
            for (size_t i = 0; i < n; i++)
                x[i] = i % QUANT_RUN ? ((float)random_below(253) - 126.5f) * 0.25f : 127 * 0.25f;
        if (turn % 4 == 1)
            memset(x, 0, QUANT_RUN * sizeof *x);
        if (turn % 4 == 2)
            for (size_t i = 0; i < n; i++)
                x[i] *= 1e-9f; /* scales that are subnormal halves, or zero */
        a = packed_run(ref, x, n);
        b = packed_run(k, x, n);
        expect_same(a.q, b.q, n);
        expect_same(a.numbers.scales, b.numbers.scales, size);
        expect_same(a.numbers.offsets, b.numbers.offsets, size);
        expect_same(a.numbers.half_offsets, b.numbers.half_offsets, size);
        expect_same(a.numbers.sums, b.numbers.sums, size);
        packed_free(&a);
        packed_free(&b);
        free(x);
    }
}

/* Weights of a hostile file can make anything of a row: what comes out has no meaning, and nothing
 * breaks. */
static void check_pack_q8_strange(const Kernels *k)
{
    static const float strange[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-45f};
    float x[4 * QUANT_RUN];

    for (int turn = 0; turn < turns(TURNS); turn++) {
        PackedCase c;

        random_floats(x, 4 * QUANT_RUN);
        for (int i = 0; i < 1 + turn % 9; i++)
            x[random_below(4 * QUANT_RUN)] = strange[random_below(6)];
        c = packed_run(k, x, 4 * QUANT_RUN);
        packed_free(&c);
    }
}

static void check_pack_and_strange(const Kernels *ref, const Kernels *k)
{
    check_pack_q8(ref, k);
    check_pack_q8_strange(k);
}

static void check_unpack(const Kernels *ref, const Kernels *k)
{
    for (int turn = 0; turn < turns(TURNS); turn++) {
        DType dtype = (DType)(turn % _DTYPE_COUNT);
        size_t block = (size_t)dtype_block_length(dtype);
        size_t n = block == 1 ? RANDOM_WIDTH() : (1 + random_below(33)) * block;
        void *row = exact_new(dtype_row_bytes(dtype, (int64_t)n));
        float *a = output_new(n), *b = output_new(n);

        random_weights(dtype, row, 1, n);
        ref->unpack(dtype, row, n, a);
        k->unpack(dtype, row, n, b);
        expect_same(a, b, n * sizeof *a);
        guarded_free(a);
        guarded_free(b);
        free(row);
    }
}

static void check_bf16_from_f32(const Kernels *ref, const Kernels *k)
{
    for (int turn = 0; turn < turns(TURNS); turn++) {
        size_t n = RANDOM_WIDTH();
        float *x = floats_new(n);
        uint16_t *a = guarded_new(n * sizeof *a, 2 * random_below(32));
        uint16_t *b = guarded_new(n * sizeof *b, 2 * random_below(32));

        /* Any bits of normal numbers, ties among them. */
        for (size_t i = 0; turn % 2 && i < n; i++) {
            uint32_t bits = (random_u32() & 0x807fffff) | (1 + random_below(253)) << 23;

            x[i] = f32_from_bits(random_below(4) ? (bits & 0xffff0000) | 0x8000 : bits);
        }
        ref->bf16_from_f32(x, n, a);
        k->bf16_from_f32(x, n, b);
        expect_same(a, b, n * sizeof *a);
        guarded_free(a);
        guarded_free(b);
        free(x);
    }
}

static void check_f16_from_f32(const Kernels *ref, const Kernels *k)
{
    for (int turn = 0; turn < turns(TURNS); turn++) {
        size_t n = RANDOM_WIDTH();
        float *x = floats_new(n);
        uint16_t *a = guarded_new(n * sizeof *a, 2 * random_below(32));
        uint16_t *b = guarded_new(n * sizeof *b, 2 * random_below(32));

        /* Any bits that are no NaN: ties, subnormals, overflow. */
        if (turn % 2)
            for (size_t i = 0; i < n; i++) {
                uint32_t bits =
                    (random_u32() & 0x8fffffff) | (0x30000000 + (random_u32() % 8 << 27));

                x[i] = f32_from_bits(random_below(4) ? bits & 0xfffff000 : bits);
                x[i] = x[i] == x[i] ? x[i] : 1;
            }
        ref->f16_from_f32(x, n, a);
        k->f16_from_f32(x, n, b);
        expect_same(a, b, n * sizeof *a);
        guarded_free(a);
        guarded_free(b);
        free(x);
    }
}

static void check_f32_from_f16(const Kernels *ref, const Kernels *k)
{
    for (int turn = 0; turn < turns(TURNS); turn++) {
        size_t n = RANDOM_WIDTH();
        uint16_t *x = exact_new(n * sizeof *x);
        float *a = output_new(n), *b = output_new(n);

        for (size_t i = 0; i < n; i++) {
            x[i] = (uint16_t)random_u32();
            if ((x[i] & 0x7c00) == 0x7c00) /* no NaN */
                x[i] &= 0xfc00;
        }
        ref->f32_from_f16(x, n, a);
        k->f32_from_f16(x, n, b);
        expect_same(a, b, n * sizeof *a);
        guarded_free(a);
        guarded_free(b);
        free(x);
    }
}

static void check_rms_norm(const Kernels *ref, const Kernels *k)
{
    for (int turn = 0; turn < turns(TURNS); turn++) {
        size_t n = RANDOM_WIDTH();
        float *x = floats_new(n), *w = turn % 3 ? floats_new(n) : NULL;
        float *a = output_new(n), *b = output_new(n);

        ref->rms_norm(x, w, 1e-6f, n, a);
        if (turn % 2) {
            k->rms_norm(x, w, 1e-6f, n, b);
        } else { /* in place */
            memcpy(b, x, n * sizeof *x);
            k->rms_norm(b, w, 1e-6f, n, b);
        }
        expect_near(a, b, n, 4e-6);
        guarded_free(a);
        guarded_free(b);
        free(x);
        free(w);
    }
}

static void check_rope(const Kernels *ref, const Kernels *k)
{
    for (int turn = 0; turn < turns(TURNS); turn++) {
        size_t heads = 1 + random_below(9);
        size_t dim = turn % 2 ? (size_t)32 << random_below(3) : 2 * (1 + random_below(40));
        float *cos_sin = floats_new(dim), *a = output_new(heads * dim),
              *b = output_new(heads * dim);

        random_floats(a, heads * dim);
        memcpy(b, a, heads * dim * sizeof *a);
        ref->rope(a, heads, dim, cos_sin);
        k->rope(b, heads, dim, cos_sin);
        expect_near(a, b, heads * dim, 1e-6);
        guarded_free(a);
        guarded_free(b);
        free(cos_sin);
    }
}

static void check_silu_mul(const Kernels *ref, const Kernels *k)
{
    for (int turn = 0; turn < turns(TURNS); turn++) {
        size_t n = turn ? RANDOM_WIDTH() : 0;
        float *x = floats_new(n), *w = turn % 3 ? floats_new(n) : NULL;
        float *a = output_new(n), *b = output_new(n);

        for (size_t i = 0; turn % 4 == 0 && i < n; i++)
            x[i] *= 30; /* far out, where exp would overflow */
        ref->silu_mul(x, w, n, a);
        if (turn % 2) {
            k->silu_mul(x, w, n, b);
        } else {
            memcpy(b, x, n * sizeof *x);
            k->silu_mul(b, w, n, b);
        }
        expect_near(a, b, n, 1e-6);
        for (size_t i = 0; i < n; i++)
            ASSERT(test_near(b[i], a[i], 1e-30, 1e-5));
        guarded_free(a);
        guarded_free(b);
        free(x);
        free(w);
    }
}

static void check_add(const Kernels *ref, const Kernels *k)
{
    for (int turn = 0; turn < turns(TURNS); turn++) {
        size_t n = turn ? RANDOM_WIDTH() : 0;
        float *x = floats_new(n), *a = output_new(n), *b = output_new(n);

        random_floats(a, n);
        memcpy(b, a, n * sizeof *a);
        ref->add(a, x, n);
        k->add(b, x, n);
        expect_same(a, b, n * sizeof *a);
        guarded_free(a);
        guarded_free(b);
        free(x);
    }
}

/* One row of the model's width, in the first level of the cache. */
typedef struct RowBench {
    const Kernels *k;
    float x[1024], w[1024], y[1024];
    int8_t q[1024];
    float numbers[4][32];
    uint16_t half[1024];
    uint8_t row[32 * Q8_0_BYTES];
} RowBench;

static void pack_row(RowBench *r, size_t width)
{
    PackedNumbers n = {r->numbers[0], (int32_t *)(void *)r->numbers[1],
                       (int32_t *)(void *)r->numbers[2], r->numbers[3]};

    r->k->pack_q8(r->x, width, r->q, &n);
}

#define BENCH(name, width, n_bytes, call)                                                          \
    static void run_##name(void *userdata)                                                         \
    {                                                                                              \
        RowBench *r = userdata;                                                                    \
        call;                                                                                      \
    }                                                                                              \
    static void bench_##name(const Kernels *k)                                                     \
    {                                                                                              \
        static RowBench r;                                                                         \
        r.k = k;                                                                                   \
        random_floats(r.x, 1024);                                                                  \
        random_floats(r.w, 1024);                                                                  \
        random_weights(DTYPE_Q8_0, r.row, 1, 1024);                                                \
        memset(r.y, 0, sizeof r.y);                                                                \
        bench_case(k, #name " " #width, (BenchWork){.bytes = n_bytes}, run_##name, &r);            \
    }                                                                                              \
    struct run_##name##_semicolon

BENCH(pack_q8, 256, 1024, pack_row(r, 256));
BENCH(unpack, 256, 272, r->k->unpack(DTYPE_Q8_0, r->row, 256, r->y));
BENCH(f16_from_f32, 32, 128, r->k->f16_from_f32(r->x, 32, r->half));
BENCH(f32_from_f16, 256, 512, r->k->f32_from_f16(r->half, 256, r->y));
BENCH(bf16_from_f32, 256, 1024, r->k->bf16_from_f32(r->x, 256, r->half));
BENCH(rms_norm, 256, 2048, r->k->rms_norm(r->x, r->w, 1e-6f, 256, r->y));
BENCH(rope, 256, 1152, r->k->rope(r->x, 8, 32, r->w));
BENCH(silu_mul, 512, 4096, r->k->silu_mul(r->x, r->w, 512, r->y));
BENCH(add, 256, 2048, r->k->add(r->y, r->x, 256));

#define ROW_CHECK(name)                                                                            \
    {                                                                                              \
#name, offsetof(Kernels, name), check_##name, bench_##name                                 \
    }

const KernelCheck rows_checks[] = {
    {"pack_q8", offsetof(Kernels, pack_q8), check_pack_and_strange, bench_pack_q8},
    ROW_CHECK(unpack),
    ROW_CHECK(f16_from_f32),
    ROW_CHECK(f32_from_f16),
    ROW_CHECK(bf16_from_f32),
    ROW_CHECK(rms_norm),
    ROW_CHECK(rope),
    ROW_CHECK(silu_mul),
    ROW_CHECK(add),
    {0},
};
