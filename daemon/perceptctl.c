/* perceptctl: the table of commands, and what they share. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include "daemon/ctl.h"

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

static const struct {
    const char *name;
    int (*run)(Client *c, const CtlOptions *o);
} commands[] = {
    {"status", ctl_status},     {"ask", ctl_ask},         {"embed", ctl_embed},
    {"classify", ctl_classify}, {"similar", ctl_similar}, {"index", ctl_index},
    {"watch", ctl_watch},       {"search", ctl_search},
};

static int run(const char *name, const CtlOptions *o)
{
    _cleanup_(client_closep) Client *client = NULL;
    ClientError error;
    int r;

    if (strcmp(name, "doctor") == 0)
        return ctl_doctor(o);
    if (strcmp(name, "purge") == 0)
        return ctl_purge(o);
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
    CtlOptions o;
    const char *name;
    int r = ctl_options(argc, argv, &o);

    if (r > 0)
        return EXIT_SUCCESS;
    if (r < 0)
        return 2;
    if (o.n_arguments == 0) {
        fputs(ctl_help, stderr);
        return 2;
    }
    /* A reader of the output that goes away ends the command with a message, not in silence. */
    signal(SIGPIPE, SIG_IGN);
    name = *o.arguments++;
    o.n_arguments--;
    r = run(name, &o);
    if (fflush(stdout) != 0 && r >= 0)
        r = ctl_error(-errno, "cannot write: %s", strerror(errno));
    return r == -EINVAL ? 2 : r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
