#pragma once

/*
 * Where messages go. Libraries return errors and say at most something at debug level; a program
 * sets the sink once, before it starts threads. Without a sink nothing is formatted.
 */

typedef enum LogLevel { /* the numbers of syslog(3) */
                        LOG_LEVEL_ERROR = 3,
                        LOG_LEVEL_WARNING = 4,
                        LOG_LEVEL_NOTICE = 5,
                        LOG_LEVEL_INFO = 6,
                        LOG_LEVEL_DEBUG = 7,
} LogLevel;

#define LOG_LINE_MAX 1024

/* message has no newline and ends after LOG_LINE_MAX - 1 bytes. Called from any thread. */
typedef void (*LogSink)(LogLevel level, const char *message);

/* Messages above `most` (towards debug) are dropped; sink NULL drops all. */
void log_set_sink(LogSink sink, LogLevel most);
void log_message(LogLevel level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)  log_message(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)    log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_message(LOG_LEVEL_DEBUG, __VA_ARGS__)
