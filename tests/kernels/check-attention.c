#include "tests/kernels/harness.h"

#include "engine/base/half.h"

/* Attention over pages, of an encoder, and pooling. */

#define TURNS     60
#define PAGES_MAX 64

#define ROWS_MAX 9

/* A paged cache with random keys, values and gates, and rows that look at it. */
typedef struct PagedCase {
    size_t n_rows, heads, dim, length;
    KvType kv;
    void *k[PAGES_MAX], *v[PAGES_MAX];
    float *gates[PAGES_MAX];
    float *q;
    AttentionRow rows[ROWS_MAX];
} PagedCase;

static void *page_new(const PagedCase *c)
{
    size_t n = KV_PAGE * c->dim, bytes = kv_page_bytes(c->kv, c->dim);
    uint8_t *page = aligned_alloc(64, bytes);
    uint16_t *half = (uint16_t *)(void *)page;

    ASSERT(page);
    if (c->kv == KV_F32)
        random_floats((float *)(void *)page, n);
    else if (c->kv == KV_F16)
        random_weights(DTYPE_F16, page, 1, n);
    else
        for (size_t i = 0; i < bytes; i++)
            page[i] = i % 64 ? (uint8_t)(random_u32() % 255 - 127) : 0;
    for (size_t i = n / 2; c->kv == KV_Q8 && i < bytes / 2; i++)
        half[i] = f32_to_f16(fabsf(random_float()) * 0.01f);
    return page;
}

/* Lengths of the rows grow up to `length`, and none ends before `begin`. */
static void paged_init(PagedCase *c, size_t n_rows, size_t heads, size_t dim, size_t begin,
                       size_t length, KvType kv, bool gates)
{
    *c = (PagedCase){.n_rows = n_rows, .heads = heads, .dim = dim, .length = length, .kv = kv};
    for (size_t i = 0; i * KV_PAGE < length; i++) {
        c->k[i] = page_new(c);
        c->v[i] = page_new(c);
        if (gates && random_below(4)) {
            c->gates[i] = exact_new(KV_PAGE * sizeof(float));
            random_floats(c->gates[i], KV_PAGE);
        }
    }
    c->q = exact_new(n_rows * heads * dim * sizeof *c->q);
    random_floats(c->q, n_rows * heads * dim);
    for (size_t j = n_rows; j-- > 0;) {
        c->rows[j] = (AttentionRow){
            .q = c->q + j * heads * dim,
            .k_pages = (void *const *)c->k,
            .v_pages = (void *const *)c->v,
            .log_gate = gates ? (const float *const *)c->gates : NULL,
            .length = (uint32_t)length,
        };
        length -= random_below(length - begin < 20 ? length - begin : 20);
    }
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

/* Finished rows, `step` of them in a call. */
static float *paged_run(const PagedCase *c, const Kernels *k, size_t begin, size_t step)
{
    size_t n = c->n_rows * c->heads;
    AttentionPart *parts = guarded_new(n * sizeof *parts, 0);
    float *out = exact_new(n * c->dim * sizeof *out);

    for (size_t j = 0; j < c->n_rows; j += step)
        k->attention_part(&c->rows[j], c->n_rows - j < step ? c->n_rows - j : step, c->heads,
                          c->dim, c->kv, begin, begin + ATTENTION_PART, &parts[j * c->heads]);
    for (size_t i = 0; i < n; i++)
        attention_finish(&parts[i], c->dim, out + i * c->dim);
    guarded_free(parts);
    return out;
}

static void check_attention_part(const Kernels *ref, const Kernels *k)
{
    static const size_t lengths[] = {1, 2, 15, 16, 17, 31, 32, 33, 64, 65, 100, 512};
    static const size_t dims[] = {32, 64, 128, 96};

    for (int turn = 0; turn < turns(3 * TURNS); turn++) {
        KvType kv = (KvType)(turn % _KV_TYPE_COUNT);
        size_t dim = random_below(3) ? dims[random_below(4)] : 16 * (1 + random_below(8));
        size_t length = random_size(lengths, sizeof lengths / sizeof *lengths);
        size_t begin = random_below((length + KV_PAGE - 1) / KV_PAGE) * KV_PAGE, n;
        PagedCase c;
        float *a, *b, *alone;

        dim = kv == KV_Q8 ? (dim + 16) / 32 * 32 : dim;
        paged_init(&c, 1 + random_below(ROWS_MAX), random_below(3) ? 1 : 1 + random_below(5), dim,
                   begin, length, kv, turn / 3 % 3);
        n = c.n_rows * c.heads * dim;
        for (size_t i = 0; turn % 5 == 0 && i < n; i++)
            c.q[i] *= 5; /* sharp: one key takes nearly all */
        a = paged_run(&c, ref, begin, c.n_rows);
        b = paged_run(&c, k, begin, c.n_rows);
        alone = paged_run(&c, k, begin, 1);
        expect_near(a, b, n, 1e-5);
        expect_same(b, alone, n * sizeof *b);
        free(a);
        free(b);
        free(alone);
        paged_deinit(&c);
    }
}

static void check_attention_full(const Kernels *ref, const Kernels *k)
{
    for (int turn = 0; turn < turns(TURNS); turn++) {
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
    for (int turn = 0; turn < turns(TURNS); turn++) {
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
    AttentionPart parts[16];
} PartBench;

static void part_run(void *userdata)
{
    PartBench *b = userdata;

    for (size_t t = 0; t < b->c.length; t += ATTENTION_PART)
        b->k->attention_part(b->c.rows, b->c.n_rows, b->c.heads, b->c.dim, b->c.kv, t,
                             t + ATTENTION_PART, b->parts);
}

/* Rows of the shipped model, then one of a larger one, with and without query heads that share a
 * key head, then a tile of a prompt. */
static void bench_attention_part(const Kernels *k)
{
    static const struct {
        size_t rows, heads, dim;
    } shapes[] = {{1, 1, 32}, {1, 4, 64}, {1, 1, 128}, {4, 4, 64}};
    static const char *const names[] = {"f32", "f16", "q8"};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (KvType kv = 0; kv < _KV_TYPE_COUNT; kv++) {
            PartBench b = {.k = k};
            size_t length = 2048, dim = shapes[i].dim, queries = shapes[i].rows * shapes[i].heads;
            double cells = 2 * (double)dim * (double)length;
            char label[64];

            paged_init(&b.c, 1, shapes[i].heads, dim, 0, length, kv, i == 0);
            free(b.c.q);
            b.c.q = exact_new(queries * dim * sizeof(float));
            random_floats(b.c.q, queries * dim);
            b.c.n_rows = shapes[i].rows;
            for (size_t j = 0; j < b.c.n_rows; j++) {
                b.c.rows[j] = b.c.rows[0];
                b.c.rows[j].q = b.c.q + j * shapes[i].heads * dim;
            }
            snprintf(label, sizeof label, "attention_part %s %zu x %zu of %zu, %zu keys", names[kv],
                     shapes[i].rows, shapes[i].heads, dim, length);
            bench_case(
                k, label,
                (BenchWork){
                    .f32_macs = kv == KV_Q8 ? cells / 2 * (double)queries : cells * (double)queries,
                    .int8_macs = kv == KV_Q8 ? cells / 2 * (double)queries : 0,
                    .bytes = (double)(2 * length / KV_PAGE * kv_page_bytes(kv, dim)),
                },
                part_run, &b);
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
