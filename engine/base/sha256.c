#include "engine/base/sha256.h"

#include <endian.h>
#include <string.h>

#define BLOCK SHA256_BLOCK

/* Fractional parts of the cube roots of the first 64 primes. */
/* clang-format off */
static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};
/* clang-format on */

static uint32_t rotate(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

/* One round; the eight words change places by being named in another order. */
#define ROUND(a, b, c, d, e, f, g, h, i)                                                           \
    do {                                                                                           \
        uint32_t t = (h) + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +                        \
                     ((g) ^ ((e) & ((f) ^ (g)))) + K[i] + w[i];                                    \
        (d) += t;                                                                                  \
        (h) = t + (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +                                 \
              (((a) & (b)) | ((c) & ((a) | (b))));                                                 \
    } while (0)

static void sha256_block(uint32_t state[8], const uint8_t *block)
{
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    uint32_t w[64];

    for (int i = 0; i < 16; i++) {
        uint32_t word;

        memcpy(&word, block + 4 * i, sizeof word);
        w[i] = be32toh(word);
    }
    for (int i = 16; i < 64; i++) {
        uint32_t x = w[i - 15], y = w[i - 2];

        w[i] = w[i - 16] + (rotate(x, 7) ^ rotate(x, 18) ^ x >> 3) + w[i - 7] +
               (rotate(y, 17) ^ rotate(y, 19) ^ y >> 10);
    }
    for (int i = 0; i < 64; i += 8) {
        ROUND(a, b, c, d, e, f, g, h, i);
        ROUND(h, a, b, c, d, e, f, g, i + 1);
        ROUND(g, h, a, b, c, d, e, f, i + 2);
        ROUND(f, g, h, a, b, c, d, e, i + 3);
        ROUND(e, f, g, h, a, b, c, d, i + 4);
        ROUND(d, e, f, g, h, a, b, c, i + 5);
        ROUND(c, d, e, f, g, h, a, b, i + 6);
        ROUND(b, c, d, e, f, g, h, a, i + 7);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
}

void sha256_begin(Sha256 *s)
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

    *s = (Sha256){0};
    memcpy(s->state, start, sizeof start);
}

void sha256_add(Sha256 *s, const void *data, size_t size)
{
    const uint8_t *bytes = data;

    s->size += size;
    if (s->n_rest > 0) {
        size_t n = BLOCK - s->n_rest < size ? BLOCK - s->n_rest : size;

        memcpy(s->rest + s->n_rest, bytes, n);
        s->n_rest += n;
        bytes += n;
        size -= n;
        if (s->n_rest < BLOCK)
            return;
        sha256_block(s->state, s->rest);
        s->n_rest = 0;
    }
    for (; size >= BLOCK; bytes += BLOCK, size -= BLOCK)
        sha256_block(s->state, bytes);
    if (size > 0)
        memcpy(s->rest, bytes, size);
    s->n_rest = size;
}

void sha256_end(Sha256 *s, uint8_t ret_digest[32])
{
    uint8_t tail[BLOCK + 8] = {0x80};
    uint64_t bits = htobe64(s->size * 8);
    size_t zeros = (2 * BLOCK - 9 - s->n_rest) % BLOCK;

    memcpy(tail + 1 + zeros, &bits, sizeof bits);
    sha256_add(s, tail, 1 + zeros + sizeof bits);
    for (int i = 0; i < 8; i++) {
        uint32_t word = htobe32(s->state[i]);

        memcpy(ret_digest + 4 * i, &word, sizeof word);
    }
}

void sha256(const void *data, size_t size, uint8_t ret_digest[32])
{
    Sha256 s;

    sha256_begin(&s);
    sha256_add(&s, data, size);
    sha256_end(&s, ret_digest);
}
