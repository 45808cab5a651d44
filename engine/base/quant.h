#pragma once

/*
 * Blocks of the quantised types, as they lie in a file: little-endian, packed, aligned to nothing.
 *
 * All of them come down to runs of 32 small integers: value = scale * integer + minimum, where
 * Q6_K has a scale for each half of a run and only the types named so have a minimum. Nibbles are
 * split: the low halves of the bytes hold the first values of a run or the run before, the high
 * halves those after.
 */

#include "engine/base/tensor.h"

#define QUANT_RUN 32 /* values that share a scale; Q6_K: two scales */

/* f16 scale; 32 int8. */
#define Q8_0_BLOCK 32
#define Q8_0_BYTES 34
/* f16 scale; 16 bytes of nibbles, 8 more than the integer: byte i has values i and i + 16. */
#define Q4_0_BYTES 18
/* f16 scale, f16 minimum; nibbles. */
#define Q4_1_BYTES 20
/* f16 scale; 4 bytes whose bit i is the fifth of value i; nibbles. 16 more than the integer. */
#define Q5_0_BYTES 22
/* f16 scale, f16 minimum; fifth bits; nibbles. */
#define Q5_1_BYTES 24

/* Types with super-blocks of 256 values, eight runs. */
#define QUANT_SUPER 256

/* Q4_K and Q5_K: f16 scale of the scales, f16 scale of the minima, which are taken off; 12 bytes of
 * 6-bit scales and minima: bytes 0-3 and 4-7 hold those of runs 0-3 in their low bits, bytes 8-11
 * the low nibbles of the others' (scale low, minimum high), whose upper two bits top bytes 0-7.
 * Q5_K: 32 bytes, bit r of byte i the fifth bit of value i of run r. Nibbles: 32 bytes for each two
 * runs. */
#define QUANT_K_SCALES 4
#define Q4_K_NIBBLES   16
#define Q4_K_BYTES     144
#define Q5_K_FIFTHS    16
#define Q5_K_NIBBLES   48
#define Q5_K_BYTES     176

/* Q6_K: 128 bytes of nibbles, 64 bytes of upper bit pairs, 16 int8 scales, f16 scale of those. Each
 * half, 128 values, has 64 bytes of nibbles: low halves of the first and last 32 bytes are runs 0
 * and 1, high halves runs 2 and 3; and 32 bytes whose bit pair r tops run r. 32 more than the
 * integer. */
#define Q6_K_UPPER  128
#define Q6_K_SCALES 192
#define Q6_K_SCALE  208
#define Q6_K_BYTES  210
