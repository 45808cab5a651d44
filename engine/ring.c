#include "engine/ring.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Queues shared with the kernel; see io_uring(7). */
typedef struct Queue {
    _Atomic unsigned *head, *tail;
    unsigned mask;
} Queue;

typedef struct Done {
    uint64_t tag;
    int result;
} Done;

struct Ring {
    int fd; /* -1: no io_uring */
    void *map, *entries;
    size_t map_size, entries_size;
    Queue submit, complete;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
    unsigned queued, flying;
    Done done[RING_READS_MAX]; /* without io_uring: done, and not yet fetched */
    unsigned first_done;
};

static int enter(const Ring *r, unsigned submit, unsigned wait)
{
    long n;

    do
        n = syscall(SYS_io_uring_enter, r->fd, submit, wait, wait ? IORING_ENTER_GETEVENTS : 0,
                    NULL, 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int)n;
}

static void queue_init(Queue *q, char *map, unsigned head, unsigned tail, unsigned mask)
{
    q->head = (_Atomic unsigned *)(map + head);
    q->tail = (_Atomic unsigned *)(map + tail);
    q->mask = *(unsigned *)(map + mask);
}

/* Both queues lie in one mapping since Linux 5.4. */
static int ring_map(Ring *r, const struct io_uring_params *p)
{
    size_t submit = p->sq_off.array + p->sq_entries * sizeof(unsigned);
    size_t complete = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
    unsigned *array;

    if (!(p->features & IORING_FEAT_SINGLE_MMAP))
        return -ENOSYS;
    r->map_size = submit > complete ? submit : complete;
    r->map = mmap(NULL, r->map_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd,
                  IORING_OFF_SQ_RING);
    if (r->map == MAP_FAILED) {
        r->map = NULL;
        return -errno;
    }
    r->entries_size = p->sq_entries * sizeof(struct io_uring_sqe);
    r->entries = mmap(NULL, r->entries_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                      r->fd, IORING_OFF_SQES);
    if (r->entries == MAP_FAILED) {
        r->entries = NULL;
        return -errno;
    }
    queue_init(&r->submit, r->map, p->sq_off.head, p->sq_off.tail, p->sq_off.ring_mask);
    queue_init(&r->complete, r->map, p->cq_off.head, p->cq_off.tail, p->cq_off.ring_mask);
    r->sqes = r->entries;
    r->cqes = (struct io_uring_cqe *)((char *)r->map + p->cq_off.cqes);
    array = (unsigned *)((char *)r->map + p->sq_off.array);
    for (unsigned i = 0; i < p->sq_entries; i++)
        array[i] = i;
    return 0;
}

static void ring_unmap(Ring *r)
{
    if (r->entries)
        munmap(r->entries, r->entries_size);
    if (r->map)
        munmap(r->map, r->map_size);
    if (r->fd >= 0)
        close(r->fd);
    r->entries = r->map = NULL;
    r->fd = -1;
}

int ring_new(Ring **ret_ring)
{
    struct io_uring_params p = {0};
    Ring *r = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    r->fd = (int)syscall(SYS_io_uring_setup, RING_READS_MAX, &p);
    if (r->fd >= 0 && ring_map(r, &p) < 0)
        ring_unmap(r);
    *ret_ring = r;
    return 0;
}

Ring *ring_free(Ring *r)
{
    uint64_t tag;
    int result;

    if (!r)
        return NULL;
    ring_submit(r);
    while (ring_next(r, true, &tag, &result))
        ;
    ring_unmap(r);
    free(r);
    return NULL;
}

size_t ring_room(const Ring *r)
{
    return RING_READS_MAX - r->queued - r->flying;
}

static int read_now(int fd, uint64_t offset, char *to, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = pread(fd, to + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (int)done;
}

void ring_read(Ring *r, int fd, uint64_t offset, void *to, size_t size, uint64_t tag)
{
    if (r->fd < 0) {
        r->done[(r->first_done + r->flying++) % RING_READS_MAX] =
            (Done){tag, read_now(fd, offset, to, size)};
        return;
    }

    unsigned tail = atomic_load_explicit(r->submit.tail, memory_order_relaxed);
    r->sqes[tail & r->submit.mask] = (struct io_uring_sqe){
        .opcode = IORING_OP_READ,
        .fd = fd,
        .off = offset,
        .addr = (uint64_t)(uintptr_t)to,
        .len = (uint32_t)size,
        .user_data = tag,
    };
    atomic_store_explicit(r->submit.tail, tail + 1, memory_order_release);
    r->queued++;
}

void ring_submit(Ring *r)
{
    while (r->queued > 0) {
        int n = enter(r, r->queued, 0);
        if (n <= 0 && n != -EAGAIN && n != -EBUSY)
            break; /* the kernel refuses the ring itself: ring_next() tells */
        r->queued -= n > 0 ? (unsigned)n : 0;
        r->flying += n > 0 ? (unsigned)n : 0;
    }
}

bool ring_next(Ring *r, bool wait, uint64_t *ret_tag, int *ret_result)
{
    if (r->flying == 0)
        return false;
    if (r->fd < 0) {
        Done *d = &r->done[r->first_done];
        *ret_tag = d->tag;
        *ret_result = d->result;
        r->first_done = (r->first_done + 1) % RING_READS_MAX;
        r->flying--;
        return true;
    }

    unsigned head = atomic_load_explicit(r->complete.head, memory_order_relaxed);
    while (head == atomic_load_explicit(r->complete.tail, memory_order_acquire))
        if (!wait || enter(r, 0, 1) < 0)
            return false;
    const struct io_uring_cqe *c = &r->cqes[head & r->complete.mask];
    *ret_tag = c->user_data;
    *ret_result = c->res;
    atomic_store_explicit(r->complete.head, head + 1, memory_order_release);
    r->flying--;
    return true;
}
