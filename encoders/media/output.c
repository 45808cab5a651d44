#include "encoders/media/output.h"

#include <assert.h>
#include <sys/mman.h>
#include <unistd.h>

void *output_map(Output *out, size_t size)
{
    void *map;

    assert(!out->map);
    if (ftruncate(out->fd, (off_t)size) < 0)
        return NULL;
    map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, out->fd, 0);
    if (map == MAP_FAILED)
        return NULL;
    out->map = map;
    out->size = size;
    return map;
}

void output_unmap(Output *out)
{
    if (out->map)
        munmap(out->map, out->size);
    out->map = NULL;
}
