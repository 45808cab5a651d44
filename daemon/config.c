#include "daemon/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/size.h"
#include "engine/cpu/cpuid.h"
#include "ipc/limits.h"

#define LINE_SIZE   (CONFIG_NAME_MAX + 64)
#define THREADS_MAX 256
#define LINES_MAX   1000
#define IDLE_MAX    (7 * 24 * 3600)

#define CONTEXT_LEAST 64
#define CONTEXT_MOST  (1 << 20)

void config_init(Config *c)
{
    *c = (Config){
        .model = "percept-spark",
        .precision = PRECISION_INT8,
        .max_tokens = 256,
        .cache = true,
        .context = 8192,
        .idle_unload_sec = 300,
        .log_level = LOG_LEVEL_INFO,
    };
}

static int parse_number(const char *value, unsigned low, unsigned high, unsigned *ret_number)
{
    unsigned long number;
    char *end;

    errno = 0;
    number = strtoul(value, &end, 10);
    if (errno || !isdigit((unsigned char)*value) || *end || number < low || number > high)
        return -EINVAL;
    *ret_number = (unsigned)number;
    return 0;
}

static int set_model(Config *c, const char *value)
{
    if (!*value || strlen(value) >= sizeof c->model)
        return -EINVAL;
    strcpy(c->model, value);
    return 0;
}

static int set_precision(Config *c, const char *value)
{
    c->precision = strcmp(value, "f32") == 0 ? PRECISION_F32 : PRECISION_INT8;
    return c->precision == PRECISION_F32 || strcmp(value, "int8") == 0 ? 0 : -EINVAL;
}

static int set_cache(Config *c, const char *value)
{
    c->cache = strcmp(value, "yes") == 0;
    return c->cache || strcmp(value, "no") == 0 ? 0 : -EINVAL;
}

static int set_idle_unload(Config *c, const char *value)
{
    return parse_number(value, 0, IDLE_MAX, &c->idle_unload_sec);
}

static int set_context(Config *c, const char *value)
{
    return parse_number(value, CONTEXT_LEAST, CONTEXT_MOST, &c->context);
}

static int set_threads(Config *c, const char *value)
{
    return parse_number(value, 0, THREADS_MAX, &c->threads);
}

static int set_cpu(Config *c, const char *value)
{
    return cpu_mask_parse(value, &c->cpu_mask);
}

static int set_memory_budget(Config *c, const char *value)
{
    return size_parse(value, &c->memory_budget);
}

static int set_max_tokens(Config *c, const char *value)
{
    return parse_number(value, 1, LIMIT_ANSWER_TOKENS, &c->max_tokens);
}

static int set_log_level(Config *c, const char *value)
{
    static const struct {
        const char *name;
        LogLevel level;
    } levels[] = {
        {"error", LOG_LEVEL_ERROR}, {"warning", LOG_LEVEL_WARNING}, {"notice", LOG_LEVEL_NOTICE},
        {"info", LOG_LEVEL_INFO},   {"debug", LOG_LEVEL_DEBUG},
    };

    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (strcmp(levels[i].name, value) == 0) {
            c->log_level = levels[i].level;
            return 0;
        }
    return -EINVAL;
}

static const struct {
    const char *section, *key, *wants;
    int (*set)(Config *c, const char *value);
} keys[] = {
    {"Model", "Name", "a name or a path", set_model},
    {"Model", "Precision", "int8 or f32", set_precision},
    {"Model", "Cache", "yes or no", set_cache},
    {"Model", "IdleUnloadSec", "a number from 0 to 604800", set_idle_unload},
    {"Model", "Context", "a number from 64 to 1048576", set_context},
    {"Engine", "Threads", "a number from 0 to 256", set_threads},
    {"Engine", "Cpu", "native, plain, avx2, avx512, avx512vnni or avx512bf16", set_cpu},
    {"Engine", "MemoryBudget", "a size as 500M or 2G, or 0", set_memory_budget},
    {"Answers", "MaxTokens", "a number from 1 to 1024", set_max_tokens},
    {"Log", "Level", "error, warning, notice, info or debug", set_log_level},
};

__attribute__((format(printf, 3, 4))) static int fail(char *error, unsigned line,
                                                      const char *format, ...)
{
    int n = snprintf(error, CONFIG_ERROR_MAX, "line %u: ", line);
    va_list args;

    va_start(args, format);
    vsnprintf(error + n, CONFIG_ERROR_MAX - (size_t)n, format, args);
    va_end(args);
    return -EBADMSG;
}

static char *strip(char *s)
{
    char *end = s + strlen(s);

    while (end > s && isspace((unsigned char)end[-1]))
        *--end = '\0';
    return s + strspn(s, " \t\r\n\v\f");
}

static int set_key(Config *c, const char *section, char *line, unsigned number, char *error)
{
    char *equals = strchr(line, '='), *key, *value;

    if (!equals)
        return fail(error, number, "neither [Section] nor Key=Value");
    *equals = '\0';
    key = strip(line);
    value = strip(equals + 1);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i].section, section) == 0 && strcmp(keys[i].key, key) == 0)
            return keys[i].set(c, value) < 0
                       ? fail(error, number, "%s must be %s", keys[i].key, keys[i].wants)
                       : 0;
    return fail(error, number, "no such key in section [%.32s]", section);
}

/* 1: a line, without its end; 0: no more of them. */
static int read_line(FILE *file, char line[LINE_SIZE], unsigned number, char *error)
{
    size_t n = 0;
    int c;

    while ((c = getc(file)) != EOF && c != '\n') {
        if (c == '\0')
            return fail(error, number, "holds a NUL byte");
        if (n == LINE_SIZE - 1)
            return fail(error, number, "too long");
        line[n++] = (char)c;
    }
    line[n] = '\0';
    return n > 0 || c != EOF;
}

static int read_lines(FILE *file, Config *c, char *error)
{
    char line[LINE_SIZE], section[64] = "";
    int r;

    for (unsigned number = 1; (r = read_line(file, line, number, error)) > 0; number++) {
        char *s = strip(line);
        size_t n = strlen(s);

        if (number > LINES_MAX)
            return fail(error, number, "too long");
        if (n == 0 || *s == '#' || *s == ';')
            continue;
        if (*s == '[') {
            if (s[n - 1] != ']' || n > sizeof section)
                return fail(error, number, "a section must be [Name]");
            s[n - 1] = '\0';
            strcpy(section, s + 1);
            continue;
        }
        r = set_key(c, section, s, number, error);
        if (r < 0)
            return r;
    }
    return r >= 0 && ferror(file) ? fail(error, 0, "cannot be read") : r;
}

int config_load(const char *path, Config *ret_config, char ret_error[CONFIG_ERROR_MAX])
{
    Config c;
    FILE *file = fopen(path, "re");
    int r;

    if (!file) {
        r = -errno;
        snprintf(ret_error, CONFIG_ERROR_MAX, "%s", strerror(-r));
        return r;
    }
    config_init(&c);
    r = read_lines(file, &c, ret_error);
    fclose(file);
    if (r >= 0)
        *ret_config = c;
    return r;
}

bool config_same_engine(const Config *a, const Config *b)
{
    return a->precision == b->precision && a->threads == b->threads && a->cpu_mask == b->cpu_mask &&
           a->cache == b->cache && a->memory_budget == b->memory_budget && a->context == b->context;
}
