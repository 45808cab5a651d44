/*
 * Loaded into the service by a drop-in of test_boot.py: while /run/perceptd-hang exists, the thread
 * that computes stops for ever, as one that waits for a broken device would.
 */

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static pthread_t worker;
static int known;

int pthread_setname_np(pthread_t thread, const char *name)
{
    int (*next)(pthread_t, const char *) = NULL;

    *(void **)&next = dlsym(RTLD_NEXT, "pthread_setname_np");
    if (strcmp(name, "worker") == 0) {
        worker = thread;
        __atomic_store_n(&known, 1, __ATOMIC_RELEASE);
    }
    return next(thread, name);
}

int eventfd_write(int fd, eventfd_t value)
{
    while (__atomic_load_n(&known, __ATOMIC_ACQUIRE) && pthread_equal(pthread_self(), worker) &&
           access("/run/perceptd-hang", F_OK) == 0)
        pause();
    return write(fd, &value, sizeof value) == sizeof value ? 0 : -1;
}
