#include "engine/cpu/scan.h"

#include "engine/cpu/cpuid.h"
#include "engine/cpu/kernels.h"

ScanFunc scan_kernel(unsigned mask)
{
    Kernels k;

    kernels_init(&k, cpu_features() & (mask ? mask : CPU_ALL));
    return k.scan_q8;
}
