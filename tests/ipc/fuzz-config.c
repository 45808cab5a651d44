/* The configuration file. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/config.h"
#include "ipc/limits.h"
#include "tests/fuzz/fuzz.h"

static void config_check(const Config *c)
{
    if (!c->model[0] || !memchr(c->model, '\0', sizeof c->model) || c->max_tokens < 1 ||
        c->max_tokens > LIMIT_ANSWER_TOKENS || c->threads > 256 || c->idle_unload_sec > 604800)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[CONFIG_ERROR_MAX] = "", path[64];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    Config c;

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (config_load(path, &c, error) >= 0)
        config_check(&c);
    else if (!error[0] || !memchr(error, '\0', sizeof error))
        abort();
    close(fd);
    return 0;
}
