#define SD_JOURNAL_SUPPRESS_LOCATION
#include "daemon/journal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <systemd/sd-journal.h>

#define FIELDS_MAX 10
#define FIELD_SIZE 256

typedef enum Target {
    TARGET_AUTO, /* until it is known which of the others */
    TARGET_JOURNAL,
    TARGET_CONSOLE,
    TARGET_NULL,
} Target;

static const char *const target_names[] = {"auto", "journal", "console", "null"};
static _Atomic(Target) target; /* any thread may log */
static LogLevel most_level = LOG_LEVEL_INFO;

/* systemd names the journal's socket by device and inode when it has connected standard error to
 * it. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;

    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &st) >= 0 && st.st_dev == device && st.st_ino == inode;
}

/* What the journal does not take goes to standard error. */
static void send_fields(const struct iovec *fields, int n, const char *message)
{
    if (target == TARGET_CONSOLE || (target == TARGET_JOURNAL && sd_journal_sendv(fields, n) < 0))
        fprintf(stderr, "perceptd: %s\n", message);
}

static void sink(LogLevel level, const char *message)
{
    char text[LOG_LINE_MAX], priority[16];
    const struct iovec fields[] = {
        {text, (size_t)snprintf(text, sizeof text, "MESSAGE=%.*s", LOG_LINE_MAX - 9, message)},
        {priority, (size_t)snprintf(priority, sizeof priority, "PRIORITY=%d", (int)level)},
    };

    send_fields(fields, 2, message);
}

void journal_open(LogLevel most)
{
    if (target == TARGET_AUTO)
        target = stderr_is_journal() ? TARGET_JOURNAL : TARGET_CONSOLE;
    most_level = most;
    log_set_sink(sink, most);
}

/* In the order of syslog; we know of nothing worse than an error. */
static const struct {
    const char *name;
    LogLevel level;
} level_names[] = {
    {"err", LOG_LEVEL_ERROR},   {"warning", LOG_LEVEL_WARNING}, {"notice", LOG_LEVEL_NOTICE},
    {"info", LOG_LEVEL_INFO},   {"debug", LOG_LEVEL_DEBUG},     {"crit", LOG_LEVEL_ERROR},
    {"alert", LOG_LEVEL_ERROR}, {"emerg", LOG_LEVEL_ERROR},
};

const char *journal_level(void)
{
    size_t i = 0;

    while (level_names[i].level != most_level)
        i++;
    return level_names[i].name;
}

int journal_set_level(const char *name)
{
    for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++)
        if (strcmp(level_names[i].name, name) == 0) {
            journal_open(level_names[i].level);
            return 0;
        }
    return -EINVAL;
}

const char *journal_target(void)
{
    return target_names[target];
}

int journal_set_target(const char *name)
{
    for (size_t i = 0; i < sizeof target_names / sizeof *target_names; i++)
        if (strcmp(target_names[i], name) == 0) {
            target = (Target)i;
            journal_open(most_level);
            return 0;
        }
    return -EINVAL;
}

typedef struct Fields {
    char text[FIELDS_MAX][FIELD_SIZE];
    struct iovec iov[FIELDS_MAX];
    int n;
} Fields;

__attribute__((format(printf, 2, 3))) static void add_field(Fields *f, const char *format, ...)
{
    char *text = f->text[f->n];
    va_list args;

    va_start(args, format);
    vsnprintf(text, FIELD_SIZE, format, args);
    va_end(args);
    f->iov[f->n++] = (struct iovec){text, strlen(text)};
}

static void add_string(Fields *f, const char *name, const char *value)
{
    if (value && *value)
        add_field(f, "%s=%s", name, value);
}

void journal_event(const JournalEvent *event, const char *format, ...)
{
    char message[LOG_LINE_MAX] = "MESSAGE=";
    Fields f = {.n = 0};
    va_list args;

    if (event->level > most_level)
        return;
    va_start(args, format);
    vsnprintf(message + 8, sizeof message - 8, format, args);
    va_end(args);
    f.iov[f.n++] = (struct iovec){message, strlen(message)};
    add_field(&f, "PRIORITY=%d", (int)event->level);
    add_string(&f, "MESSAGE_ID", event->message_id);
    add_string(&f, "PERCEPTD_REQUEST", event->request);
    add_string(&f, "PERCEPTD_SENDER", event->sender);
    add_string(&f, "PERCEPTD_MODEL", event->model);
    add_string(&f, "PERCEPTD_BACKEND", event->backend);
    if (event->has_uid)
        add_field(&f, "PERCEPTD_UID=%u", (unsigned)event->uid);
    if (event->duration_usec)
        add_field(&f, "PERCEPTD_DURATION_US=%llu", (unsigned long long)event->duration_usec);
    send_fields(f.iov, f.n, message + 8);
}
