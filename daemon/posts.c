#include "daemon/posts.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "engine/base/detokenizer.h"

_Static_assert(DETOKENIZER_TEXT_MAX <= JOB_OUTBOX_SIZE / 2,
               "what was taken of a full outbox wakes the worker, service.c");

int posts_init(Posts *p)
{
    *p = (Posts){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    STAILQ_INIT(&p->jobs);
    if (p->fd < 0)
        return -errno;
    return -pthread_mutex_init(&p->lock, NULL);
}

void posts_deinit(Posts *p)
{
    pthread_mutex_destroy(&p->lock);
    close(p->fd);
}

/* Under the lock. */
static void posts_add(Posts *p, Job *j)
{
    if (j->posted)
        return;
    j->posted = true;
    STAILQ_INSERT_TAIL(&p->jobs, j, post_link);
    eventfd_write(p->fd, 1);
}

bool posts_room(Posts *p, const Job *j)
{
    bool room;

    pthread_mutex_lock(&p->lock);
    room = j->outbox_length + DETOKENIZER_TEXT_MAX <= JOB_OUTBOX_SIZE;
    pthread_mutex_unlock(&p->lock);
    return room;
}

void posts_text(Posts *p, Job *j, const char *text, size_t n)
{
    pthread_mutex_lock(&p->lock);
    assert(j->outbox_length + n <= JOB_OUTBOX_SIZE);
    memcpy(j->outbox + j->outbox_length, text, n);
    j->outbox_length += n;
    posts_add(p, j);
    pthread_mutex_unlock(&p->lock);
}

void posts_state(Posts *p, Job *j, JobState state, double progress)
{
    pthread_mutex_lock(&p->lock);
    j->told_state = state;
    j->told_progress = progress;
    posts_add(p, j);
    pthread_mutex_unlock(&p->lock);
}

void posts_end(Posts *p, Job *j)
{
    pthread_mutex_lock(&p->lock);
    j->ended = true;
    posts_add(p, j);
    pthread_mutex_unlock(&p->lock);
}

void posts_clear(Posts *p)
{
    eventfd_t count;

    eventfd_read(p->fd, &count);
}

bool posts_take(Posts *p, Post *ret_post)
{
    Job *j;

    pthread_mutex_lock(&p->lock);
    j = STAILQ_FIRST(&p->jobs);
    if (j) {
        STAILQ_REMOVE_HEAD(&p->jobs, post_link);
        j->posted = false;
        ret_post->job = j;
        ret_post->length = j->outbox_length;
        memcpy(ret_post->text, j->outbox, j->outbox_length);
        j->outbox_length = 0;
        ret_post->state = j->told_state;
        ret_post->progress = j->told_progress;
        ret_post->ended = j->ended;
        j->ended = false;
    }
    pthread_mutex_unlock(&p->lock);
    return j != NULL;
}
