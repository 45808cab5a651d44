#pragma once

/*
 * A stranger's descriptor made into memory that nobody else can change: always a sealed memfd.
 *
 * A memfd whose size and content are sealed is used as it is. Regular files and other memfds are
 * read with pread() under a ceiling, pipes and sockets until their end, under the ceiling and a
 * deadline. Anything else is refused. The descriptor's offset and flags, which the client shares,
 * are left alone, and nothing is reopened by its path.
 *
 * Reading happens on a thread of its own, one per descriptor: a file system in user space may keep
 * a reader waiting for ever, deadline or not. Such a thread is given up, but it is counted until it
 * returns.
 */

#include <stddef.h>
#include <stdint.h>

#include <systemd/sd-event.h>

#include "ipc/error.h"

typedef struct Input Input;

typedef struct InputEvents {
    /* Once, unless input_abandon() came first: a sealed memfd, taken by the callee, or -1 with
     * the failure set. */
    void (*done)(void *userdata, int memfd, const Failure *failure);
    /* Last call of all: the thread is gone, and so is the input. */
    void (*released)(void *userdata);
    void *userdata;
} InputEvents;

/* A sealed memfd with a copy of the bytes, or a negative errno. */
int input_from_bytes(const void *data, size_t size);
/* Whether a descriptor can be used without reading it: 1 a sealed memfd, 0 no; -EBADMSG with the
 * failure set when it is of a kind that is refused, or a file known to be above max_bytes. Does not
 * wait, not even for slow file systems. */
int input_check(int fd, uint64_t max_bytes, Failure *failure);
/* Takes fd, on success only. -EAGAIN: no thread can be started. */
int input_start(sd_event *event, int fd, uint64_t max_bytes, unsigned deadline_msec,
                const InputEvents *events, Input **ret_input);
/* The result is no longer wanted; done() will not be called, released() will. */
void input_abandon(Input *in);
