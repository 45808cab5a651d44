/*
 * perceptd: options, signals, the event loop. Everything else stands in the libraries, so that
 * tests link it too.
 */

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "daemon/service.h"
#include "ipc/limits.h"

static const char usage[] =
    "usage: perceptd [OPTION…]\n"
    "\n"
    "Gives programs eyes, ears and reading over D-Bus.\n"
    "\n"
    "  --bus=BUS            session (the default), system, or a bus address\n"
    "  --config=FILE        instead of " SYSCONFDIR "/perceptd/perceptd.conf\n"
    "  --model=NAME         instead of the configured model: a name, or the path of a GGUF\n"
    "                       file or a model's folder\n"
    "  --media-helper=FILE  instead of " PKGLIBEXECDIR "/percept-media\n"
    "  --help, --version\n";

enum {
    OPTION_BUS = 256,
    OPTION_CONFIG,
    OPTION_MODEL,
    OPTION_HELPER,
    OPTION_HELP,
    OPTION_VERSION,
};

/* 0: run; otherwise the program ends with *ret_status. */
static int parse(int argc, char **argv, ServiceOptions *options, int *ret_status)
{
    static const struct option known[] = {
        {"bus", required_argument, NULL, OPTION_BUS},
        {"config", required_argument, NULL, OPTION_CONFIG},
        {"model", required_argument, NULL, OPTION_MODEL},
        {"media-helper", required_argument, NULL, OPTION_HELPER},
        {"help", no_argument, NULL, OPTION_HELP},
        {"version", no_argument, NULL, OPTION_VERSION},
        {0},
    };
    int c;

    *ret_status = EXIT_SUCCESS;
    while ((c = getopt_long(argc, argv, "", known, NULL)) >= 0)
        switch (c) {
        case OPTION_BUS:
            options->bus = optarg;
            break;
        case OPTION_CONFIG:
            options->config = optarg;
            break;
        case OPTION_MODEL:
            options->model = optarg;
            break;
        case OPTION_HELPER:
            options->media_helper = optarg;
            break;
        case OPTION_HELP:
            fputs(usage, stdout);
            return 1;
        case OPTION_VERSION:
            puts("perceptd " PERCEPTD_VERSION);
            return 1;
        default:
            *ret_status = 2;
            return 1;
        }
    if (optind == argc)
        return 0;
    fprintf(stderr, "perceptd: '%s' is one argument too many\n", argv[optind]);
    *ret_status = 2;
    return 1;
}

/* In a build folder the helper is not installed yet, but stands where it was built. */
static const char *helper_beside(char path[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 64);
    char *slash;

    if (n < 0)
        return PKGLIBEXECDIR "/percept-media";
    path[n] = '\0';
    slash = strrchr(path, '/');
    strcpy(slash ? slash : path, "/../encoders/media/percept-media");
    return access(path, X_OK) == 0 ? path : PKGLIBEXECDIR "/percept-media";
}

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata)
{
    (void)source, (void)si;
    service_stop(userdata, EXIT_SUCCESS);
    return 0;
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata)
{
    (void)source, (void)si;
    (void)service_reload(userdata);
    return 0;
}

/* Calls hold descriptors, and a process is usually given too few for all that the quotas allow. */
static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= LIMIT_DESCRIPTORS)
        return;
    limit.rlim_cur = limit.rlim_max < LIMIT_DESCRIPTORS ? limit.rlim_max : LIMIT_DESCRIPTORS;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int run(const ServiceOptions *options)
{
    sd_event *event = NULL;
    Service *service = NULL;
    int r = sd_event_new(&event);

    if (r >= 0)
        r = service_new(event, options, &service);
    if (r >= 0)
        r = sd_event_add_signal(event, NULL, SIGTERM, on_stop, service);
    if (r >= 0)
        r = sd_event_add_signal(event, NULL, SIGINT, on_stop, service);
    if (r >= 0)
        r = sd_event_add_signal(event, NULL, SIGHUP, on_reload, service);
    if (r >= 0)
        r = sd_event_loop(event);
    service_free(service);
    sd_event_unref(event);
    return r < 0 ? EXIT_FAILURE : r;
}

int main(int argc, char **argv)
{
    char beside[PATH_MAX];
    ServiceOptions options = {.bus = "session", .media_helper = helper_beside(beside)};
    sigset_t signals;
    int status;

    if (parse(argc, argv, &options, &status) != 0)
        return status;
    /* Before any thread: the loop reads these, nobody else may get them. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    raise_descriptors();
    return run(&options);
}
