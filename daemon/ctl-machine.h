#pragma once

/* What the machine says of the service and of itself, under /proc and /dev. */

#include <stddef.h>
#include <stdint.h>

typedef struct ProcessMemory {
    uint64_t resident, files; /* bytes; files: of the resident, what is mapped, as weights are */
} ProcessMemory;

/* -ENOENT: no such process, or it is hidden. root: "" but in tests. */
int machine_memory(const char *root, uint32_t pid, ProcessMemory *ret_memory);

/* A sentence about a GPU that the service does not use, with what helps; NULL: there is none, or
 * it is used. backend: as the service names it. */
const char *machine_gpu_advice(const char *root, const char *backend);
