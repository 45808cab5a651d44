#include <math.h>
#include <stdlib.h>

#include "engine/engine.h"

/* Ids below this are specials; of them only <eos> may be said. MODEL.md, section 6. */
#define FIRST_TEXT_ID 8
#define EOS_ID        2

/* splitmix64: spreads any seed over the state. */
static uint64_t seed_next(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* xoroshiro128+ by Blackman and Vigna, https://prng.di.unimi.it: the upper 53 bits as [0, 1). */
static double uniform_next(uint64_t s[2])
{
    uint64_t a = s[0], b = s[1], sum = a + b;
    b ^= a;
    s[0] = ((a << 24) | (a >> 40)) ^ b ^ (b << 16);
    s[1] = (b << 37) | (b >> 27);
    return (double)(sum >> 11) * 0x1p-53;
}

void sampler_init(Sampler *s, const SamplerOptions *options)
{
    uint64_t seed = options->seed;
    s->options = *options;
    s->state[0] = seed_next(&seed);
    s->state[1] = seed_next(&seed);
}

static bool id_allowed(const SamplerOptions *o, size_t id)
{
    return o->every_id || id >= FIRST_TEXT_ID || id == EOS_ID;
}

static int32_t greedy(const SamplerOptions *o, const float *logits, size_t n)
{
    size_t best = o->every_id ? 0 : EOS_ID;
    for (size_t i = 0; i < n; i++)
        if (id_allowed(o, i) &&
            (logits[i] > logits[best] || (logits[i] == logits[best] && i < best)))
            best = i;
    return (int32_t)best;
}

/* Logits to weights exp((l - max) / T), zero for forbidden ids; returns their sum. */
static double weights_make(const SamplerOptions *o, float *logits, size_t n)
{
    float top = logits[greedy(o, logits, n)];
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        float w = id_allowed(o, i) ? expf((logits[i] - top) / o->temperature) : 0;
        logits[i] = w > 0 ? w : 0; /* NaN as well */
        sum += logits[i];
    }
    return sum;
}

/* The smallest weight of the nucleus: the fewest largest that reach top_p of the sum. Found by
 * bisection over the values, so that no list is sorted or allocated; equal weights are in or out
 * together. */
static float nucleus_floor(const float *w, size_t n, double sum, float top_p)
{
    float low = 0, high = 1;
    for (int i = 0; i < 40; i++) {
        float middle = (low + high) / 2;
        double above = 0;
        for (size_t j = 0; j < n; j++)
            if (w[j] >= middle)
                above += w[j];
        if (above >= sum * top_p)
            low = middle;
        else
            high = middle;
    }
    return low;
}

int32_t sampler_next(Sampler *s, float *logits, size_t n)
{
    const SamplerOptions *o = &s->options;
    int32_t best = greedy(o, logits, n);
    if (!(o->temperature > 0))
        return best;

    double sum = weights_make(o, logits, n);
    float floor = o->top_p < 1 ? nucleus_floor(logits, n, sum, o->top_p) : 0;
    if (floor > 0) {
        sum = 0;
        for (size_t i = 0; i < n; i++)
            if (logits[i] >= floor)
                sum += logits[i];
    }

    double left = uniform_next(s->state) * sum;
    for (size_t i = 0; i < n; i++) {
        if (logits[i] <= 0 || logits[i] < floor)
            continue;
        left -= logits[i];
        if (left < 0)
            return (int32_t)i;
    }
    return best; /* rounding ate the last step, or nothing had a weight */
}
