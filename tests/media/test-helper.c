/* percept-media as a process: descriptors of all kinds, its sandbox, and its death at every moment.
 * Argument: the helper's program. */

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <png.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/media/make.h"
#include "tests/test.h"

static MediaHelper *helper;
static const char *program;
static File picture;
static const MediaRequest request = {.kind = MEDIA_IMAGE, .max_patches = 64};

/* The one child of this process, found as anybody could; 0: none. */
static pid_t child_find(void)
{
    DIR *proc = opendir("/proc");
    pid_t found = 0;

    ASSERT(proc);
    for (const struct dirent *entry; (entry = readdir(proc));) {
        char path[300], line[600] = "";
        int parent = 0;

        if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
            continue;
        snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        FILE *f = fopen(path, "r");
        if (!f)
            continue;
        if (fgets(line, sizeof line, f) && strrchr(line, ')'))
            sscanf(strrchr(line, ')') + 1, " %*c %d", &parent);
        fclose(f);
        if (parent == getpid()) {
            ASSERT_EQ(found, 0);
            found = atoi(entry->d_name);
        }
    }
    closedir(proc);
    return found;
}

/* No process is left, nor a zombie, once those that were ended have been taken. */
static void gone(void)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    for (int i = 0; i < 2000 && media_helper_reap(helper) > 0; i++)
        nanosleep(&moment, NULL);
    ASSERT_EQ(media_helper_reap(helper), 0);
    ASSERT_EQ(child_find(), 0);
}

/* 0 where only root may know: the helper hides its own from others. */
static size_t descriptors_count(const char *process)
{
    char path[64];
    size_t n = 0;

    snprintf(path, sizeof path, "/proc/%s/fd", process);
    DIR *fds = opendir(path);
    if (!fds) {
        ASSERT_EQ(errno, EACCES);
        return 0;
    }
    for (const struct dirent *entry; (entry = readdir(fds));)
        n += entry->d_name[0] != '.';
    closedir(fds);
    return n;
}

static void decodes(int fd)
{
    const char *message = "nothing";
    Media media = {0};

    ASSERT_EQ(media_decode(helper, fd, &request, &media, &message), 0);
    ASSERT_EQ(media.width, 20);
    ASSERT_EQ(media.height, 10);
    media_deinit(&media);
}

static void works(void)
{
    _cleanup_close_ int fd = file_open(picture.data, picture.size);

    decodes(fd);
}

static void refuses(int fd, int error)
{
    const char *message = NULL;
    Media media = {0};

    ASSERT_EQ(media_decode(helper, fd, &request, &media, &message), error);
    ASSERT(message);
}

/* Kills the idle process; it is dead, if not buried, on return. */
static void idle_kill(void)
{
    pid_t pid = child_find();
    siginfo_t info;

    kill(pid, SIGKILL);
    ASSERT_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

static int64_t now_msec(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Receives when something is there, or the time is over. */
static int receive(Media *ret_media, const char **ret_message)
{
    int r;

    do {
        struct pollfd p = {.fd = media_helper_fd(helper), .events = POLLIN};

        poll(&p, 1, media_helper_timeout_msec(helper));
        r = media_helper_receive(helper, ret_media, ret_message);
    } while (r == -EAGAIN);
    return r;
}

static void test_descriptors(void)
{
    _cleanup_close_ int sealed = file_open(picture.data, picture.size);
    _cleanup_close_ int directory = open("/", O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    _cleanup_close_ int large = file_open("", 0);
    int pair[2], pipe_fds[2];
    char path[] = "/tmp/test-media-XXXXXX";

    /* A sealed memfd, and one whose offset stands at its end already. */
    ASSERT_EQ(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
    decodes(sealed);
    ASSERT_EQ(lseek(sealed, 0, SEEK_CUR), picture.size); /* and stays there */

    /* A file on disk; the same, opened for writing alone. */
    _cleanup_close_ int file = mkostemp(path, O_CLOEXEC);
    ASSERT(file >= 0);
    ASSERT_EQ(write(file, picture.data, picture.size), picture.size);
    decodes(file);
    _cleanup_close_ int blind = open(path, O_WRONLY | O_CLOEXEC);
    refuses(blind, MEDIA_ERROR_DECODE);
    unlink(path);

    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ASSERT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
    int strange[] = {directory, null, pair[0], pipe_fds[0]};
    for (size_t i = 0; i < 4; i++)
        refuses(strange[i], MEDIA_ERROR_UNSUPPORTED);
    close(pair[0]);
    close(pair[1]);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    refuses(pipe_fds[0], -EINVAL); /* closed */
    refuses(-1, -EINVAL);

    /* Far too large, with holes for bytes. */
    ASSERT_EQ(ftruncate(large, (off_t)MEDIA_BYTES_MAX + 1), 0);
    refuses(large, MEDIA_ERROR_TOO_LARGE);
    ASSERT_EQ(ftruncate(large, MEDIA_BYTES_MAX), 0);
    refuses(large, MEDIA_ERROR_UNSUPPORTED);
    ASSERT_EQ(ftruncate(large, INT64_MAX / 2), 0);
    refuses(large, MEDIA_ERROR_TOO_LARGE);
    works();
}

/* Nothing is left behind, on either side. */
static void test_no_leaks(void)
{
    char child[16];

    idle_kill(); /* one that refused nothing yet */
    works();
    snprintf(child, sizeof child, "%d", child_find());
    size_t ours = descriptors_count("self"), theirs = descriptors_count(child);
    ASSERT_EQ(theirs, geteuid() == 0 ? 4 : 0);
    for (int i = 0; i < 99; i++) {
        works();
        decode_refused(helper, "words", 5, &request, MEDIA_ERROR_UNSUPPORTED);
    }
    ASSERT_EQ(descriptors_count("self"), ours);
    ASSERT_EQ(descriptors_count(child), theirs);
    ASSERT_EQ(child_find(), atoi(child));

    /* After a hundred refusals another process takes over; nobody sees more of it. */
    decode_refused(helper, "words", 5, &request, MEDIA_ERROR_UNSUPPORTED);
    gone();
    works();
    ASSERT(child_find() != 0 && child_find() != atoi(child));
    ASSERT_EQ(descriptors_count("self"), ours);
}

static long status_field(pid_t pid, const char *name)
{
    char path[64], line[256];
    long value = -1;

    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *f = fopen(path, "r");
    ASSERT(f);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtol(line + strlen(name), NULL, 10);
    fclose(f);
    return value;
}

static void test_sandbox(void)
{
    works();
    ASSERT_EQ(status_field(child_find(), "NoNewPrivs:"), 1);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    ASSERT_EQ(status_field(child_find(), "Seccomp:"), 2);
#endif
}

static void test_states(void)
{
    _cleanup_close_ int fd = file_open(picture.data, picture.size);
    const char *message;
    Media media = {0};

    works();
    ASSERT_EQ(media_helper_fd(helper), -1);
    ASSERT_EQ(media_helper_timeout_msec(helper), -1);
    ASSERT_ERROR(media_helper_receive(helper, &media, &message), EINVAL);

    kill(child_find(), SIGSTOP);
    ASSERT_OK(media_helper_submit(helper, fd, &request));
    ASSERT_ERROR(media_helper_submit(helper, fd, &request), EBUSY);
    ASSERT_ERROR(media_helper_receive(helper, &media, &message), EAGAIN);
    ASSERT_CMP(media_helper_fd(helper), >=, 0);
    ASSERT_CMP(media_helper_timeout_msec(helper), >, MEDIA_TIMEOUT_MSEC - 2000);
    ASSERT_CMP(media_helper_timeout_msec(helper), <=, MEDIA_TIMEOUT_MSEC);
    kill(child_find(), SIGCONT);
    ASSERT_EQ(receive(&media, &message), 0);
    media_deinit(&media);
}

static void test_crash(void)
{
    _cleanup_close_ int fd = file_open(picture.data, picture.size);

    for (int i = 0; i < 3; i++) {
        const char *message = NULL;
        Media media = {0};

        works();
        pid_t pid = child_find();
        kill(pid, SIGSTOP);
        ASSERT_OK(media_helper_submit(helper, fd, &request));
        kill(pid, i == 1 ? SIGABRT : SIGKILL);
        kill(pid, SIGCONT);
        ASSERT_EQ(receive(&media, &message), MEDIA_ERROR_CRASHED);
        ASSERT(message && !media.map);
        gone();
        works();
        ASSERT(child_find() != 0 && child_find() != pid);
    }
}

/* It dies with nothing to do: nobody notices. */
static void test_idle_death(void)
{
    works();
    pid_t pid = child_find();
    idle_kill();
    works();
    ASSERT(child_find() != pid);
}

static void test_cancel(void)
{
    _cleanup_close_ int fd = file_open(picture.data, picture.size);

    media_helper_cancel(helper); /* idle: nothing happens */
    works();
    pid_t pid = child_find();
    kill(pid, SIGSTOP);
    ASSERT_OK(media_helper_submit(helper, fd, &request));
    media_helper_cancel(helper);
    gone();
    ASSERT_EQ(media_helper_fd(helper), -1);
    works();
}

/* Somebody else's turn: nothing of the last one's process is left. */
static void test_renew(void)
{
    _cleanup_close_ int fd = file_open(picture.data, picture.size);
    const char *message;
    Media media = {0};

    works();
    pid_t pid = child_find();
    media_helper_renew(helper);
    gone();
    media_helper_renew(helper); /* there is none: nothing happens */
    works();
    ASSERT(child_find() != 0 && child_find() != pid);

    /* One that is at work goes on. */
    kill(child_find(), SIGSTOP);
    ASSERT_OK(media_helper_submit(helper, fd, &request));
    media_helper_renew(helper);
    kill(child_find(), SIGCONT);
    ASSERT_EQ(receive(&media, &message), 0);
    media_deinit(&media);
}

/* However many are ended at once, all are taken. */
static void test_many_deaths(void)
{
    for (int i = 0; i < 50; i++) {
        _cleanup_close_ int fd = file_open(picture.data, picture.size);
        int r = media_helper_submit(helper, fd, &request);
        if (r < 0)
            ASSERT_ERROR(r, EAGAIN); /* too many are still dying */
        media_helper_cancel(helper);
    }
    gone();
    works();
}

static void test_hang(void)
{
    _cleanup_close_ int fd = file_open(picture.data, picture.size);
    const char *message = NULL;
    Media media = {0};
    int64_t start;

    works();
    kill(child_find(), SIGSTOP);
    start = now_msec();
    ASSERT_OK(media_helper_submit(helper, fd, &request));
    ASSERT_EQ(receive(&media, &message), MEDIA_ERROR_CRASHED);
    ASSERT_CMP(now_msec() - start, >=, MEDIA_TIMEOUT_MSEC);
    ASSERT_CMP(now_msec() - start, <, MEDIA_TIMEOUT_MSEC + 5000);
    ASSERT(message && strstr(message, "10 seconds"));
    gone();
    works();
}

static void test_no_program(void)
{
    _cleanup_(media_helper_freep) MediaHelper *h = NULL;
    _cleanup_close_ int fd = file_open(picture.data, picture.size);
    const char *message = NULL;
    Media media = {0};

    ASSERT_OK(media_helper_new("/nowhere/percept-media", &h));
    ASSERT_ERROR(media_helper_submit(h, fd, &request), ENOENT);
    ASSERT_ERROR(media_decode(h, fd, &request, &media, &message), ENOENT);
    ASSERT(message);
}

/* A program that is not the helper: whatever it says, or does not say, is not believed. */
static void test_wrong_program(void)
{
    _cleanup_(media_helper_freep) MediaHelper *h = NULL;
    _cleanup_close_ int fd = file_open(picture.data, picture.size);
    const char *message = NULL;
    Media media = {0};

    ASSERT_OK(media_helper_new("/bin/true", &h));
    int r = media_decode(h, fd, &request, &media, &message);
    ASSERT(r == MEDIA_ERROR_CRASHED || r == -EPIPE || r == -ECONNRESET);
    ASSERT(message && !media.map);
}

static void test_by_hand(void)
{
    char command[600];

    snprintf(command, sizeof command, "'%s' 3<&- 2>/dev/null", program);
    int status = system(command);
    ASSERT(WIFEXITED(status));
    ASSERT_EQ(WEXITSTATUS(status), 2);
}

int main(int argc, char **argv)
{
    uint8_t *pixels = pixels_noise(20, 10, 3, 1);

    ASSERT_EQ(argc, 2);
    program = argv[1];
    picture = make_png(pixels, 20, 10, &(PngOptions){PNG_COLOR_TYPE_RGB, 8, false, 0});
    ASSERT_OK(media_helper_new(program, &helper));
    RUN(test_descriptors);
    RUN(test_no_leaks);
    RUN(test_sandbox);
    RUN(test_states);
    RUN(test_crash);
    RUN(test_idle_death);
    RUN(test_cancel);
    RUN(test_renew);
    RUN(test_many_deaths);
    RUN(test_hang);
    media_helper_free(helper);
    ASSERT_EQ(child_find(), 0);
    RUN(test_no_program);
    RUN(test_wrong_program);
    RUN(test_by_hand);
    ASSERT_EQ(waitpid(-1, NULL, WNOHANG), -1);
    file_free(&picture);
    free(pixels);
    return 0;
}
