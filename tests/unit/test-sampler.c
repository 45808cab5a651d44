/* The sampler: greedy ties, forbidden ids, nucleus, and the frequencies it draws with. */

#include "engine/engine.h"
#include "tests/test.h"

#define N     64
#define DRAWS 100000

static void fill(float *logits, float value)
{
    for (size_t i = 0; i < N; i++)
        logits[i] = value;
}

static Sampler sampler(float temperature, float top_p, uint64_t seed)
{
    Sampler s;
    sampler_init(&s, &(SamplerOptions){.temperature = temperature, .top_p = top_p, .seed = seed});
    return s;
}

static void test_greedy(void)
{
    Sampler s = sampler(0, 1, 0);
    float logits[N];

    fill(logits, 0);
    ASSERT_EQ(sampler_next(&s, logits, N),
              2); /* a tie of all goes to the lowest that may be said */
    logits[40] = logits[50] = 3;
    ASSERT_EQ(sampler_next(&s, logits, N), 40);
    for (int i = 0; i < 8; i++) /* specials do not count, but <eos> does */
        logits[i] = i == 2 ? 0 : 100;
    ASSERT_EQ(sampler_next(&s, logits, N), 40);
    logits[2] = 4;
    ASSERT_EQ(sampler_next(&s, logits, N), 2);
    fill(logits, NAN);
    ASSERT_EQ(sampler_next(&s, logits, N), 2);
    fill(logits, -INFINITY);
    ASSERT_EQ(sampler_next(&s, logits, N), 2);
}

/* Where specials are not Percept's, all may be said. */
static void test_every_id(void)
{
    Sampler s;
    float logits[N];

    sampler_init(&s, &(SamplerOptions){.top_p = 1, .every_id = true});
    fill(logits, 0);
    ASSERT_EQ(sampler_next(&s, logits, N), 0);
    logits[5] = 1;
    ASSERT_EQ(sampler_next(&s, logits, N), 5);
    s.options.temperature = 1;
    logits[5] = 100;
    ASSERT_EQ(sampler_next(&s, logits, N), 5);
}

/* Frequencies of ids 10 … 13 against their probabilities, within four standard deviations. */
static void frequencies(float temperature, float top_p, const double *p)
{
    Sampler s = sampler(temperature, top_p, 7);
    size_t seen[N] = {0};
    float logits[N];

    for (int draw = 0; draw < DRAWS; draw++) {
        fill(logits, -INFINITY);
        logits[3] = 50; /* forbidden */
        for (int i = 0; i < 4; i++)
            logits[10 + i] = (float)-i;
        int32_t id = sampler_next(&s, logits, N);
        ASSERT(id >= 10 && id < 14);
        seen[id]++;
    }
    for (int i = 0; i < 4; i++)
        ASSERT_NEAR((double)seen[10 + i] / DRAWS, p[i],
                    4 * sqrt(p[i] * (1 - p[i]) / DRAWS) + 1e-12);
}

static void test_frequencies(void)
{
    static const float temperatures[] = {0.5f, 1, 2};

    for (size_t t = 0; t < 3; t++) {
        double p[4], sum = 0;
        for (int i = 0; i < 4; i++)
            sum += p[i] = exp(-i / temperatures[t]);
        for (int i = 0; i < 4; i++)
            p[i] /= sum;
        frequencies(temperatures[t], 1, p);
    }
}

static void test_nucleus(void)
{
    /* At temperature 1 the four have 0.644, 0.237, 0.087, 0.032. */
    double e = exp(-1);
    frequencies(1, 0.60f, (double[]){1, 0, 0, 0});
    frequencies(1, 0.80f, (double[]){1 / (1 + e), e / (1 + e), 0, 0});
    frequencies(1, 0, (double[]){1, 0, 0, 0});
}

static void test_seed(void)
{
    Sampler a = sampler(1, 1, 5), b = sampler(1, 1, 5), c = sampler(1, 1, 6);
    size_t differ = 0;

    for (int i = 0; i < 100; i++) {
        float x[N], y[N], z[N];
        fill(x, 0);
        fill(y, 0);
        fill(z, 0);
        int32_t id = sampler_next(&a, x, N);
        ASSERT_EQ(id, sampler_next(&b, y, N));
        differ += id != sampler_next(&c, z, N);
    }
    ASSERT_CMP(differ, >, 50);

    float nothing[N];
    fill(nothing, NAN);
    ASSERT_EQ(sampler_next(&a, nothing, N), 2);
}

int main(void)
{
    RUN(test_greedy);
    RUN(test_every_id);
    RUN(test_frequencies);
    RUN(test_nucleus);
    RUN(test_seed);
    return 0;
}
