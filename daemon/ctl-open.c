#include "daemon/ctl-open.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/cleanup.h"

/* In the grandchild: what fails is written to the pipe, which a successful exec closes. */
static void run(const char *const *argv, int failed)
{
    int null = open("/dev/null", O_RDWR), error;

    if (null >= 0) {
        (void)dup2(null, STDIN_FILENO);
        (void)dup2(null, STDOUT_FILENO);
    }
    signal(SIGPIPE, SIG_DFL);
    execvp(argv[0], (char *const *)argv);
    error = errno;
    (void)!write(failed, &error, sizeof error);
    _exit(127);
}

int open_program(const char *const *argv)
{
    _cleanup_close_ int end = -1;
    int fds[2], error = 0;
    pid_t child;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    end = fds[0];
    child = fork();
    if (child == 0) {
        setsid();
        if (fork() == 0)
            run(argv, fds[1]);
        _exit(0);
    }
    close(fds[1]);
    if (child < 0)
        return -errno;
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    if (read(end, &error, sizeof error) == sizeof error)
        return -error;
    return 0;
}

int open_uri(const char *uri, const char *token)
{
    if (*token)
        setenv("XDG_ACTIVATION_TOKEN", token, 1);
    else
        unsetenv("XDG_ACTIVATION_TOKEN");
    return open_program((const char *const[]){"xdg-open", uri, NULL});
}
