#include "daemon/ctl-machine.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int machine_memory(const char *root, uint32_t pid, ProcessMemory *ret_memory)
{
    unsigned long long all = 0, files = 0, shared = 0;
    char path[PATH_MAX], line[256];
    FILE *file;

    snprintf(path, sizeof path, "%s/proc/%u/status", root, pid);
    file = fopen(path, "re");
    if (!file)
        return -errno;
    while (fgets(line, sizeof line, file)) {
        (void)sscanf(line, "VmRSS: %llu kB", &all);
        (void)sscanf(line, "RssFile: %llu kB", &files);
        (void)sscanf(line, "RssShmem: %llu kB", &shared);
    }
    fclose(file);
    *ret_memory = (ProcessMemory){all * 1024, (files + shared) * 1024};
    return 0;
}

static bool there(const char *root, const char *path)
{
    char full[PATH_MAX];

    snprintf(full, sizeof full, "%s%s", root, path);
    return access(full, F_OK) == 0;
}

const char *machine_gpu_advice(const char *root, const char *backend)
{
    bool driver = there(root, "/proc/driver/nvidia/version");

    if (strncmp(backend, "cpu", 3) != 0)
        return NULL;
    if (driver && !(there(root, "/dev/nvidiactl") && there(root, "/dev/nvidia-uvm")))
        return "The driver is loaded, but its devices are missing, so that no program sees the "
               "GPU. As root: nvidia-modprobe -u -c=0";
    if (driver || there(root, "/dev/nvidiactl") || there(root, "/dev/kfd"))
        return "There is a GPU, and the service computes on the processor: this version has no "
               "back end for GPUs, and its units hide them (PrivateDevices=yes).";
    return NULL;
}
