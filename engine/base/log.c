#include "engine/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

static LogSink log_sink;
static LogLevel log_most = LOG_LEVEL_INFO;

void log_set_sink(LogSink sink, LogLevel most)
{
    log_sink = sink;
    log_most = most;
}

void log_message(LogLevel level, const char *format, ...)
{
    char line[LOG_LINE_MAX];
    int saved = errno;
    va_list args;

    if (!log_sink || level > log_most)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    log_sink(level, line);
    errno = saved;
}
