#include "engine/cpu/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cpu/cpuid.h"

/* calloc() gives large pieces as pages that nobody has touched yet, so a generous cache costs
 * nothing until it is used. What it gave stands in front of the aligned start. */
static void *cpu_alloc(Backend *b, size_t bytes)
{
    char *heap;
    void **p;

    (void)b;
    if (bytes > SIZE_MAX - 128)
        return NULL;
    heap = calloc(1, bytes + 128);
    if (!heap)
        return NULL;
    p = (void **)(((uintptr_t)heap + 127) / 64 * 64);
    p[-1] = heap;
    return p;
}

static void cpu_free(Backend *b, void *p)
{
    (void)b;
    if (p)
        free(((void **)p)[-1]);
}

static int cpu_sync(Backend *b)
{
    (void)b;
    return 0;
}

static const BackendOps cpu_ops = {
    .alloc = cpu_alloc,
    .free = cpu_free,
    .packed_new = cpu_packed_new,
    .packed_free = cpu_packed_free,
    .pack = cpu_pack,
    .products = cpu_products,
    .embed = cpu_embed,
    .rms_norm = cpu_rms_norm,
    .rope = cpu_rope,
    .silu_mul = cpu_silu_mul,
    .silu = cpu_silu,
    .add = cpu_add,
    .sum_indexed = cpu_sum_indexed,
    .attention_full = cpu_attention_full,
    .attention_paged = cpu_attention_paged,
    .kv_store = cpu_kv_store,
    .attention_pool = cpu_attention_pool,
    .sync = cpu_sync,
};

int backend_cpu_open(unsigned n_threads, Precision precision, unsigned isa_mask,
                     Backend **ret_backend)
{
    CpuBackend *cpu = calloc(1, sizeof *cpu);
    _cleanup_(backend_closep) Backend *b = cpu ? &cpu->backend : NULL;
    unsigned features = cpu_features() & (isa_mask ? isa_mask : CPU_ALL);
    int r;

    if (!cpu)
        return -ENOMEM;
    cpu->parts = cpu_alloc(b, CPU_PARTS_MAX * sizeof *cpu->parts);
    if (!cpu->parts)
        return -ENOMEM;
    r = pool_new(n_threads, &cpu->pool);
    if (r < 0)
        return r;
    cpu->features = features;
    kernels_init(&cpu->kernels, features);

    b->ops = &cpu_ops;
    b->name = "cpu";
    b->precision = precision;
    snprintf(b->detail, sizeof b->detail, "%s, %u thread%s", cpu_mask_name(features),
             pool_threads(cpu->pool), pool_threads(cpu->pool) > 1 ? "s" : "");
    *ret_backend = steal_ptr(&b);
    return 0;
}

Backend *backend_close(Backend *b)
{
    CpuBackend *cpu = cpu_backend(b);

    if (!b)
        return NULL;
    pool_free(cpu->pool);
    for (size_t i = 0; i < POOL_THREADS_MAX; i++)
        free(cpu->scratch[i]);
    cpu_free(b, cpu->parts);
    free(cpu);
    return NULL;
}
