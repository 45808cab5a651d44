#define SD_JOURNAL_SUPPRESS_LOCATION
#include "daemon/journal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <systemd/sd-journal.h>

#define FIELDS_MAX 10
#define FIELD_SIZE 256

static bool to_journal;
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

static void sink(LogLevel level, const char *message)
{
    if (!to_journal || sd_journal_send("MESSAGE=%s", message, "PRIORITY=%i", (int)level, NULL) < 0)
        fprintf(stderr, "perceptd: %s\n", message);
}

void journal_open(LogLevel most)
{
    to_journal = stderr_is_journal();
    most_level = most;
    log_set_sink(sink, most);
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
    if (!to_journal || sd_journal_sendv(f.iov, f.n) < 0)
        fprintf(stderr, "perceptd: %s\n", message + 8);
}
