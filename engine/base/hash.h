#pragma once

/*
 * Hashing for tables keyed by what stands in a weight file. The seed is random per table, so that a
 * file cannot be built to make every key collide.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

static inline uint64_t hash_seed(void)
{
    uint64_t seed = 0;

    /* Without entropy the table is only slower on a hostile file, so failure is fine. */
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) < 0)
        seed = 0x9e3779b97f4a7c15;
    return seed;
}

/* The two halves of a 128-bit product folded together. */
static inline uint64_t hash_u64(uint64_t seed, uint64_t value)
{
    unsigned __int128 product =
        (unsigned __int128)(value ^ seed) * ((seed << 1 | 1) ^ 0xd6e8feb86659fd92);

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t hash_bytes(uint64_t seed, const void *data, size_t length)
{
    const uint8_t *p = data;
    uint64_t hash = hash_u64(seed, length);

    for (; length > 0;) {
        uint64_t word = 0;
        size_t n = length < 8 ? length : 8;

        memcpy(&word, p, n);
        hash = hash_u64(seed, hash ^ word);
        p += n;
        length -= n;
    }
    return hash;
}

/* Slots of a table for n keys: a power of two, at least twice n. */
static inline size_t hash_slots(size_t n)
{
    size_t slots = 16;

    while (slots < 2 * n)
        slots *= 2;
    return slots;
}
