/* perceptctl: options and the table of commands. */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include "daemon/ctl.h"

static const char usage[] =
    "usage: perceptctl [OPTION…] COMMAND\n"
    "\n"
    "  status                    how the service is\n"
    "  ask [-i FILE] [-a FILE] [ASK OPTION…] QUESTION\n"
    "                            ask about pictures and recordings, or nothing but the question\n"
    "  embed [-i FILE] [-a FILE] [TEXT…]\n"
    "                            print the vector of each\n"
    "  classify FILE LABEL…      which label fits best\n"
    "  similar THING THING…      compare files and texts with each other\n"
    "  doctor                    try everything once and say what is broken\n"
    "\n"
    "  -i, --image=FILE          a picture; may be given again\n"
    "  -a, --audio=FILE          a recording; may be given again\n"
    "  --user, --system, --address=ADDRESS\n"
    "                            which bus; without one, the session's and then the system's\n"
    "  --json                    for programs\n"
    "  -h, --help, --version\n"
    "\n"
    "ask options:\n"
    "  --detail                  look more closely at pictures\n"
    "  --effort=NUMBER           -1 to 1: less or more computing for each word\n"
    "  --max-tokens=NUMBER       longest answer\n"
    "  --temperature=NUMBER      0 always takes the likeliest word\n"
    "  --seed=NUMBER             same seed, same answer\n"
    "  --instructions=TEXT       what the model is told before everything else\n";

int ctl_error(int error, const char *format, ...)
{
    va_list args;

    fflush(stdout);
    fputs("perceptctl: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return error;
}

int ctl_refused(int error, const ClientError *e)
{
    const char *dot = strrchr(e->name, '.');

    return ctl_error(error, "%s: %s", dot ? dot + 1 : e->name, e->message);
}

const char *ctl_bus(const Client *c)
{
    const char *bus = client_bus(c);

    return strcmp(bus, "session") == 0  ? "the session bus"
           : strcmp(bus, "system") == 0 ? "the system bus"
                                        : "a private bus";
}

int ctl_usage(const char *command)
{
    return ctl_error(-EINVAL, "%s is used another way: see perceptctl --help", command);
}

int ctl_medium_open(const char *path, const char *type, ClientMedium *ret_medium)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0) {
        int r = -errno;
        return ctl_error(r, "%s: %s", path, strerror(-r));
    }
    *ret_medium = (ClientMedium){fd, type};
    return 0;
}

void ctl_media_close(CtlMedia *m)
{
    for (size_t i = 0; i < m->n; i++)
        close(m->items[i].fd);
    m->n = 0;
}

int ctl_media_open(const CtlOptions *o, CtlMedia *ret_media)
{
    for (ret_media->n = 0; ret_media->n < o->n_media; ret_media->n++) {
        size_t i = ret_media->n;
        int r = ctl_medium_open(o->media[i], o->types[i], &ret_media->items[i]);
        if (r < 0) {
            ctl_media_close(ret_media);
            return r;
        }
    }
    return 0;
}

void ctl_print_text(const char *text, size_t length)
{
    bool terminal = isatty(STDOUT_FILENO);

    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        bool control = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
        /* U+0080 to U+009F are controls, too. */
        if (c == 0xc2 && i + 1 < length && (unsigned char)text[i + 1] < 0xa0) {
            control = true;
            i += terminal;
        }
        putchar(control && terminal ? '?' : c);
    }
}

void ctl_print_vector(const float *values, size_t n, const char *separator)
{
    for (size_t i = 0; i < n; i++)
        printf("%s%.9g", i > 0 ? separator : "", values[i]);
}

void ctl_print_info_json(const Dict *info)
{
    fputs("\"info\": {", stdout);
    for (size_t i = 0; i < info->n; i++)
        printf("%s\"%s\": %s", i > 0 ? ", " : "", info->entries[i].key, info->entries[i].json);
    putchar('}');
}

enum {
    OPTION_USER = 256,
    OPTION_SYSTEM,
    OPTION_ADDRESS,
    OPTION_JSON,
    OPTION_DETAIL,
    OPTION_EFFORT,
    OPTION_MAX_TOKENS,
    OPTION_TEMPERATURE,
    OPTION_SEED,
    OPTION_INSTRUCTIONS,
    OPTION_VERSION,
};

static int add_medium(CtlOptions *o, const char *path, const char *type)
{
    if (o->n_media == CTL_MEDIA_MAX)
        return ctl_error(-E2BIG, "at most %d files", CTL_MEDIA_MAX);
    o->media[o->n_media] = path;
    o->types[o->n_media++] = type;
    return 0;
}

static int number(const char *option, const char *text, double low, double high, double *ret_value)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end || !(value >= low && value <= high))
        return ctl_error(-EINVAL, "--%s takes a number from %g to %g", option, low, high);
    *ret_value = value;
    return 0;
}

/* -EINVAL after saying why. */
static int apply(CtlOptions *o, int c)
{
    double value = 0;
    int r = 0;

    switch (c) {
    case 'i':
        return add_medium(o, optarg, "image/*");
    case 'a':
        return add_medium(o, optarg, "audio/*");
    case OPTION_USER:
        o->bus = "session";
        return 0;
    case OPTION_SYSTEM:
        o->bus = "system";
        return 0;
    case OPTION_ADDRESS:
        o->bus = optarg;
        return 0;
    case OPTION_JSON:
        o->json = true;
        return 0;
    case OPTION_DETAIL:
        o->ask.high_detail = true;
        return 0;
    case OPTION_EFFORT:
        return number("effort", optarg, -1, 1, &o->ask.effort);
    case OPTION_MAX_TOKENS:
        r = number("max-tokens", optarg, 1, 1024, &value);
        o->ask.max_tokens = (uint32_t)value;
        return r;
    case OPTION_TEMPERATURE:
        return number("temperature", optarg, 0, 4, &o->ask.temperature);
    case OPTION_SEED:
        r = number("seed", optarg, 0, 9e15, &value);
        o->ask.seed = (uint64_t)value;
        return r;
    case OPTION_INSTRUCTIONS:
        o->ask.system = optarg;
        return 0;
    default:
        return -EINVAL;
    }
}

/* 0: go on; 1: done; -EINVAL. */
static int parse(int argc, char **argv, CtlOptions *o)
{
    static const struct option known[] = {
        {"image", required_argument, NULL, 'i'},
        {"audio", required_argument, NULL, 'a'},
        {"user", no_argument, NULL, OPTION_USER},
        {"system", no_argument, NULL, OPTION_SYSTEM},
        {"address", required_argument, NULL, OPTION_ADDRESS},
        {"json", no_argument, NULL, OPTION_JSON},
        {"detail", no_argument, NULL, OPTION_DETAIL},
        {"effort", required_argument, NULL, OPTION_EFFORT},
        {"max-tokens", required_argument, NULL, OPTION_MAX_TOKENS},
        {"temperature", required_argument, NULL, OPTION_TEMPERATURE},
        {"seed", required_argument, NULL, OPTION_SEED},
        {"instructions", required_argument, NULL, OPTION_INSTRUCTIONS},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, OPTION_VERSION},
        {0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "i:a:h", known, NULL)) >= 0) {
        if (c == 'h') {
            fputs(usage, stdout);
            return 1;
        }
        if (c == OPTION_VERSION) {
            puts("perceptctl " PERCEPTD_VERSION);
            return 1;
        }
        int r = apply(o, c);
        if (r < 0)
            return r;
    }
    return 0;
}

static const struct {
    const char *name;
    int (*run)(Client *c, const CtlOptions *o);
} commands[] = {
    {"status", ctl_status},     {"ask", ctl_ask},         {"embed", ctl_embed},
    {"classify", ctl_classify}, {"similar", ctl_similar},
};

static int run(const char *name, const CtlOptions *o)
{
    _cleanup_(client_closep) Client *client = NULL;
    ClientError error;
    int r;

    if (strcmp(name, "doctor") == 0)
        return ctl_doctor(o);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, name) != 0)
            continue;
        r = client_open(o->bus, &client, &error);
        return r < 0 ? ctl_refused(r, &error) : commands[i].run(client, o);
    }
    return ctl_error(-EINVAL, "unknown command '%s': see perceptctl --help", name);
}

int main(int argc, char **argv)
{
    CtlOptions o = {0};
    int r = parse(argc, argv, &o);

    if (r > 0)
        return EXIT_SUCCESS;
    if (r < 0)
        return 2;
    if (optind == argc) {
        fputs(usage, stderr);
        return 2;
    }
    /* A reader of the output that goes away ends the command with a message, not in silence. */
    signal(SIGPIPE, SIG_IGN);
    o.arguments = (const char **)argv + optind + 1;
    o.n_arguments = (size_t)(argc - optind - 1);
    r = run(argv[optind], &o);
    if (fflush(stdout) != 0 && r >= 0)
        r = ctl_error(-errno, "cannot write: %s", strerror(errno));
    return r == -EINVAL ? 2 : r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
