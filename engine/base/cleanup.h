#pragma once

/* Scope-bound release of memory and descriptors, after the cleanup attribute of GCC and Clang. */

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f)    __attribute__((cleanup(f)))
#define _cleanup_free_  _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)

/* Defines x_freep() for x_free(), which takes NULL. */
#define DEFINE_CLEANUP(type, f)                                                                    \
    static inline void f##p(type *p)                                                               \
    {                                                                                              \
        if (*p)                                                                                    \
            f(*p);                                                                                 \
    }                                                                                              \
    struct _cleanup_semicolon_##f

static inline void freep(void *p)
{
    free(*(void **)p);
}

static inline void closep(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
    }
}

static inline void *_steal_ptr(void *pp)
{
    void *p = *(void **)pp;
    *(void **)pp = NULL;
    return p;
}
#define steal_ptr(pp) ((__typeof__(*(pp)))_steal_ptr(pp))

static inline int steal_fd(int *fd)
{
    int f = *fd;
    *fd = -1;
    return f;
}
