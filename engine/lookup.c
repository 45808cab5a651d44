#include "engine/lookup.h"

#include <assert.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* Of the pages that a row lies in. */
static size_t row_room(const Tensor *table)
{
    size_t page = page_size();

    return (tensor_bytes(table) / (size_t)table->ne[1] + 2 * page - 1) / page * page;
}

void lookup_init(Lookup *l, const Model *model, size_t max_rows)
{
    const Tensor *table = &model->token_embd;
    size_t room = max_rows * row_room(table);
    bool worth = model->output.data != table->data && 2 * room <= tensor_bytes(table);

    *l = (Lookup){.model = model, .table = worth ? table : NULL, .room = room};
}

uint64_t lookup_saves(const Lookup *l)
{
    return l->table ? tensor_bytes(l->table) - l->room : 0;
}

/* Pages that hold something else besides stay. */
static void table_forget(const Lookup *l)
{
    uintptr_t page = page_size(), data = (uintptr_t)l->table->data;
    uintptr_t first = (data + page - 1) / page * page;
    uintptr_t end = (data + tensor_bytes(l->table)) / page * page;
    uint64_t offset;
    int fd;

    (void)madvise((void *)first, end - first, MADV_DONTNEED);
    if (weights_locate(l->model->weights, (const void *)first, &fd, &offset))
        (void)posix_fadvise(fd, (off_t)offset, (off_t)(end - first), POSIX_FADV_DONTNEED);
}

void lookup_rows(Lookup *l, const int32_t *ids, size_t n)
{
    if (!l->table)
        return;
    size_t page = page_size(), size = tensor_bytes(l->table) / (size_t)l->table->ne[1];

    assert(n * row_room(l->table) <= l->room);
    if (l->used + n * row_room(l->table) > l->room) {
        table_forget(l);
        l->used = 0;
    }
    l->used += n * row_room(l->table);
    for (size_t i = 0; i < n; i++) {
        uintptr_t row = (uintptr_t)l->table->data + (size_t)ids[i] * size;
        uintptr_t first = row / page * page;

        (void)madvise((void *)first, row + size - first, MADV_WILLNEED);
    }
}
