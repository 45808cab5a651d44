#!/usr/bin/env python3
"""Write tests/kernels/quants.bin: blocks of every GGUF type and the values that they stand for, as
the `gguf` package reads them. The test compares bit by bit; it does not need the package.

    python3 tests/kernels/make_quants.py tests/kernels/quants.bin     # needs gguf and numpy

Each record: u32 type, u32 values, u32 bytes, the bytes, f32 values; little-endian.
"""
import struct
import sys

import gguf
import numpy as np

# Where halves lie in a block, which random bytes would make infinite.
TYPES = {"F16": None, "BF16": None, "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0],
         "Q5_1": [0, 2], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
VALUES = 512


def blocks(rng, name, halves):
    quant = gguf.GGMLQuantizationType[name]
    length, size = gguf.GGML_QUANT_SIZES[quant]
    n = VALUES // length
    data = rng.integers(0, 256, (n, size), dtype=np.uint8)
    if halves is None:
        data[:, -1] &= 0xBF  # less than 2
        return quant, data.reshape(-1)
    for at in halves:
        scales = rng.standard_normal(n).astype(np.float16) * np.float16(0.1)
        scales[0] = np.float16(3e-7)  # below the normal numbers
        data[:, at:at + 2] = scales.astype("<f2").view(np.uint8).reshape(n, 2)
    return quant, data.reshape(-1)


def main():
    rng = np.random.default_rng(4)
    with open(sys.argv[1], "wb") as out:
        for name, halves in TYPES.items():
            quant, data = blocks(rng, name, halves)
            values = gguf.quants.dequantize(data, quant).astype("<f4").reshape(-1)
            assert values.size == VALUES and np.isfinite(values).all()
            out.write(struct.pack("<3I", quant.value, values.size, data.size))
            out.write(data.tobytes() + values.tobytes())


if __name__ == "__main__":
    main()
