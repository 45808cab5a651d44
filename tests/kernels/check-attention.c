#include "tests/kernels/harness.h"

#include "engine/base/half.h"

/* Attention over pages, of an encoder, and pooling. */

#define TURNS     60
#define PAGES_MAX 64

/* A paged cache with random keys, values and gates. */
typedef struct PagedCase {
    size_t heads, dim, length;
    bool f16;
    void *k[PAGES_MAX], *v[PAGES_MAX];
    float *gates[PAGES_MAX];
    float *q;
    AttentionRow row;
} PagedCase;

static void *page_new(const PagedCase *c)
{
    size_t n = KV_PAGE * c->dim;
    float *x = exact_new(n * sizeof *x);
    uint16_t *half;

    random_floats(x, n);
    if (!c->f16)
        return x;
    half = exact_new(n * sizeof *half);
    for (size_t i = 0; i < n; i++)
        half[i] = f32_to_f16(x[i]);
    free(x);
    return half;
}

static void paged_init(PagedCase *c, size_t heads, size_t dim, size_t length, bool f16, bool gates)
{
    *c = (PagedCase){.heads = heads, .dim = dim, .length = length, .f16 = f16};
    for (size_t i = 0; i * KV_PAGE < length; i++) {
        c->k[i] = page_new(c);
        c->v[i] = page_new(c);
        if (gates && random_below(4)) {
            c->gates[i] = exact_new(KV_PAGE * sizeof(float));
            random_floats(c->gates[i], KV_PAGE);
        }
    }
    c->q = exact_new(heads * dim * sizeof *c->q);
    random_floats(c->q, heads * dim);
    c->row = (AttentionRow){
        .q = c->q,
        .k_pages = (void *const *)c->k,
        .v_pages = (void *const *)c->v,
        .log_gate = gates ? (const float *const *)c->gates : NULL,
        .length = (uint32_t)length,
    };
}

static void paged_deinit(PagedCase *c)
{
    for (size_t i = 0; i < PAGES_MAX; i++) {
        free(c->k[i]);
        free(c->v[i]);
        free(c->gates[i]);
    }
    free(c->q);
}

static float *paged_run(const PagedCase *c, const Kernels *k, size_t begin)
{
    AttentionPart *parts = guarded_new(c->heads * sizeof *parts, 0);
    float *out = exact_new(c->heads * c->dim * sizeof *out);

    k->attention_part(&c->row, c->heads, c->dim, c->f16, begin, c->length, parts);
    for (size_t h = 0; h < c->heads; h++)
        attention_finish(&parts[h], c->dim, out + h * c->dim);
    guarded_free(parts);
    return out;
}

static void check_attention_part(const Kernels *ref, const Kernels *k)
{
    static const size_t lengths[] = {1, 2, 15, 16, 17, 31, 32, 33, 64, 65, 100, 512};

    for (int turn = 0; turn < TURNS; turn++) {
        PagedCase c;
        size_t dim = random_below(3) ? 32 : 16 * (1 + random_below(8));
        size_t begin;
        float *a, *b;

        paged_init(&c, random_below(3) ? 1 : 1 + random_below(4), dim,
                   random_size(lengths, sizeof lengths / sizeof *lengths), turn % 2, turn % 3);
        for (size_t i = 0; turn % 5 == 0 && i < c.heads * dim; i++)
            c.q[i] *= 5; /* sharp: one key takes nearly all */
        begin = random_below((c.length + KV_PAGE - 1) / KV_PAGE) * KV_PAGE;
        a = paged_run(&c, ref, begin);
        b = paged_run(&c, k, begin);
        expect_near(a, b, c.heads * dim, 1e-5);
        free(a);
        free(b);
        paged_deinit(&c);
    }
}

static void check_attention_full(const Kernels *ref, const Kernels *k)
{
    for (int turn = 0; turn < TURNS; turn++) {
        size_t n = 1 + random_below(turn % 4 ? 80 : 300), heads = 1 + random_below(3);
        size_t dim = random_below(3) ? 32 : 16 * (1 + random_below(8)), stride = heads * dim;
        size_t cut = random_below(n + 1), size = n * stride * sizeof(float);
        float *q = exact_new(size), *kk = exact_new(size), *v = exact_new(size);
        float *a = guarded_new(size, 4 * random_below(16)), *b = guarded_new(size, 0);
        float *c = guarded_new(size, 4);

        random_floats(q, n * stride);
        random_floats(kk, n * stride);
        random_floats(v, n * stride);
        for (size_t h = 0; h < heads; h++) {
            size_t at = h * dim;

            ref->attention_full(q + at, kk + at, v + at, n, stride, dim, 0, n, a + at);
            k->attention_full(q + at, kk + at, v + at, n, stride, dim, 0, n, b + at);
            k->attention_full(q + at, kk + at, v + at, n, stride, dim, cut, n, c + at);
            k->attention_full(q + at, kk + at, v + at, n, stride, dim, 0, cut, c + at);
        }
        expect_near(a, b, n * stride, 1e-5);
        expect_same(b, c, size);
        guarded_free(a);
        guarded_free(b);
        guarded_free(c);
        free(q);
        free(kk);
        free(v);
    }
}

static void check_attention_pool(const Kernels *ref, const Kernels *k)
{
    for (int turn = 0; turn < TURNS; turn++) {
        size_t n = 1 + random_below(80), width = 16 * (1 + random_below(20));
        float *x = exact_new(n * width * sizeof *x), *query = exact_new(width * sizeof *query);
        float *a = guarded_new(width * sizeof *a, 0), *b = guarded_new(width * sizeof *b, 4);

        random_floats(x, n * width);
        random_floats(query, width);
        ref->attention_pool(x, n, width, query, a);
        k->attention_pool(x, n, width, query, b);
        expect_near(a, b, width, 1e-5);
        guarded_free(a);
        guarded_free(b);
        free(x);
        free(query);
    }
}

typedef struct PartBench {
    const Kernels *k;
    PagedCase c;
    AttentionPart parts[1];
} PartBench;

static void part_run(void *userdata)
{
    PartBench *b = userdata;

    for (size_t t = 0; t < b->c.length; t += ATTENTION_PART)
        b->k->attention_part(&b->c.row, 1, b->c.dim, b->c.f16, t, t + ATTENTION_PART, b->parts);
}

static void bench_attention_part(const Kernels *k)
{
    for (int i = 0; i < 4; i++) {
        PartBench b = {.k = k};
        size_t length = i < 2 ? 512 : 2048;
        bool f16 = i % 2 == 0;
        double macs = 2 * 32 * (double)length;
        char label[64];

        paged_init(&b.c, 1, 32, length, f16, true);
        snprintf(label, sizeof label, "attention_part %s 32 x %zu", f16 ? "f16" : "f32", length);
        bench_case(k, label, (BenchWork){.f32_macs = macs, .bytes = macs * (f16 ? 2 : 4)}, part_run,
                   &b);
        paged_deinit(&b.c);
    }
}

typedef struct FullBench {
    const Kernels *k;
    size_t n, begin, end;
    float *q, *kk, *v, *out;
} FullBench;

static void full_run(void *userdata)
{
    FullBench *b = userdata;

    b->k->attention_full(b->q, b->kk, b->v, b->n, 256, 32, b->begin, b->end, b->out);
}

static void bench_attention_full(const Kernels *k)
{
    static const size_t lengths[] = {64, 256, 768};

    for (size_t i = 0; i < 3; i++) {
        size_t n = lengths[i], size = n * 256;
        FullBench b = {k, n, 0, 32, NULL, NULL, NULL, NULL};
        float **buffers[] = {&b.q, &b.kk, &b.v, &b.out};
        char label[64];

        for (int j = 0; j < 4; j++) {
            *buffers[j] = exact_new(size * sizeof(float));
            random_floats(*buffers[j], size);
        }
        snprintf(label, sizeof label, "attention_full 32 queries of %zu", n);
        bench_case(k, label, (BenchWork){.f32_macs = 2 * 32 * 32 * (double)n}, full_run, &b);
        for (int j = 0; j < 4; j++)
            free(*buffers[j]);
    }
}

static void pool_run(void *userdata)
{
    FullBench *b = userdata;

    b->k->attention_pool(b->kk, b->n, 256, b->q, b->out);
}

static void bench_attention_pool(const Kernels *k)
{
    FullBench b = {k, 64, 0, 0, exact_new(1024), exact_new(64 * 1024), NULL, exact_new(1024)};

    random_floats(b.q, 256);
    random_floats(b.kk, 64 * 256);
    bench_case(k, "attention_pool 256 x 64", (BenchWork){.f32_macs = 2 * 64 * 256}, pool_run, &b);
    free(b.q);
    free(b.kk);
    free(b.out);
}

#define ATTENTION_CHECK(name)                                                                      \
    {                                                                                              \
#name, offsetof(Kernels, name), check_##name, bench_##name                                 \
    }

const KernelCheck attention_checks[] = {
    ATTENTION_CHECK(attention_part),
    ATTENTION_CHECK(attention_full),
    ATTENTION_CHECK(attention_pool),
    {0},
};
