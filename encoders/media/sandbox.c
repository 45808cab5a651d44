#include "encoders/media/sandbox.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "encoders/media/wire.h"

#define MEMORY_MAX      (1ul << 30)
#define CPU_SECONDS     60 /* of the whole life: it retires long before */
#define DESCRIPTORS_MAX 16
#define RESULT_MAX      (3ul * MEDIA_PIXELS_MAX)

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
/* cppcheck-suppress preprocessorErrorDirective */
#error "name this processor's AUDIT_ARCH here"
#endif

/* No more than `value`, and no more than is allowed already. */
static int limit_set(int resource, rlim_t value)
{
    struct rlimit limit;

    if (getrlimit((__rlimit_resource_t)resource, &limit) < 0)
        return -errno;
    if (limit.rlim_max > value)
        limit.rlim_max = value;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit((__rlimit_resource_t)resource, &limit) < 0 ? -errno : 0;
}

static int limits_set(void)
{
    int r;

    r = limit_set(RLIMIT_CPU, CPU_SECONDS);
    if (r >= 0)
        r = limit_set(RLIMIT_NOFILE, DESCRIPTORS_MAX);
    if (r >= 0)
        r = limit_set(RLIMIT_FSIZE, RESULT_MAX);
    if (r >= 0)
        r = limit_set(RLIMIT_CORE, 0);
    if (r >= 0 && !WIRE_SANITIZED)
        r = limit_set(RLIMIT_AS, MEMORY_MAX);
    return r;
}

#define LOAD(field)   BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
/* Goes on behind the next instruction unless the loaded word is `value`. */
#define IF(value)    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1)
#define IF_ANY(bits) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1)
#define ALLOW(name)  IF(SYS_##name), RETURN(SECCOMP_RET_ALLOW)
/* The second and third arguments' low words, of little-endian machines. */
#define ARGUMENT_2 LOAD(args[1])
#define ARGUMENT_3 LOAD(args[2])

/* Memory, the socket, the descriptors that come through it, and leaving. */
/* clang-format off */
static const struct sock_filter calls[] = {
    LOAD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
    RETURN(SECCOMP_RET_KILL_PROCESS),
    LOAD(nr),
    ALLOW(read), ALLOW(write), ALLOW(pread64), ALLOW(recvmsg), ALLOW(sendmsg), ALLOW(close),
    ALLOW(fstat), ALLOW(newfstatat), ALLOW(ftruncate),
    ALLOW(munmap), ALLOW(mremap), ALLOW(madvise), ALLOW(brk),
    ALLOW(futex), ALLOW(getrandom), ALLOW(getrusage),
    ALLOW(sysinfo), /* qsort() of the C library, in the Vorbis decoder */
    ALLOW(clock_gettime), ALLOW(gettimeofday),
    ALLOW(rt_sigreturn), ALLOW(restart_syscall), ALLOW(exit), ALLOW(exit_group),
    /* libsndfile looks beside a bare MPEG stream for a Macintosh resource fork: there is none. */
    IF(SYS_openat), RETURN(SECCOMP_RET_ERRNO | ENOENT),
    /* Memory that can be executed: never again. */
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 1, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 4),
    ARGUMENT_3,
    IF_ANY(PROT_EXEC),
    RETURN(SECCOMP_RET_KILL_PROCESS),
    RETURN(SECCOMP_RET_ALLOW),
    /* Which seals a descriptor has. */
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fcntl, 0, 3),
    ARGUMENT_2,
    IF(1034 /* F_GET_SEALS */),
    RETURN(SECCOMP_RET_ALLOW),
    RETURN(SECCOMP_RET_KILL_PROCESS),
};
/* clang-format on */

static int calls_set(void)
{
    const struct sock_fprog program = {
        .len = sizeof calls / sizeof *calls,
        .filter = (struct sock_filter *)calls,
    };

    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
        return -errno;
    return 0;
}

int sandbox_enter(void)
{
    int r;

    if (close_range(WIRE_FD + 1, ~0u, 0) < 0)
        return -errno;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return -errno;
    r = limits_set();
    if (r < 0)
        return r;
    if (WIRE_SANITIZED)
        return 0;
    /* libmpg123 has something to say about most damaged files: nobody is to hear it. */
    if (dup2(STDOUT_FILENO, STDERR_FILENO) < 0)
        return -errno;
    return calls_set();
}
