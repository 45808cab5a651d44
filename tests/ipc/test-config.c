#include "daemon/config.h"

#include <string.h>

#include "engine/cpu/cpuid.h"
#include "tests/test.h"

static int load_bytes(const char *text, size_t n, Config *ret_config, char *ret_error)
{
    char path[] = "/tmp/perceptd-config-XXXXXX";
    int fd = mkstemp(path), r;

    ASSERT(fd >= 0);
    ASSERT_EQ(write(fd, text, n), n);
    close(fd);
    r = config_load(path, ret_config, ret_error);
    unlink(path);
    return r;
}

static int load(const char *text, Config *ret_config, char *ret_error)
{
    return load_bytes(text, strlen(text), ret_config, ret_error);
}

static void test_defaults(void)
{
    char error[CONFIG_ERROR_MAX];
    Config c, d;

    config_init(&d);
    ASSERT_OK(load("", &c, error));
    ASSERT_STREQ(c.model, d.model);
    ASSERT_EQ(c.precision, PRECISION_INT8);
    ASSERT_EQ(c.max_tokens, d.max_tokens);
    ASSERT(config_same_engine(&c, &d));
    ASSERT_ERROR(config_load("/nowhere/at/all", &c, error), ENOENT);
}

static void test_every_key(void)
{
    static const char text[] = "# a comment\n"
                               "; another\n"
                               "\n"
                               "[Model]\n"
                               "  Name = /opt/my model.gguf  \r\n"
                               "Precision=f32\n"
                               "Cache=no\n"
                               "Context=4096\n"
                               "IdleUnloadSec=60\n"
                               "[Engine]\n"
                               "Threads=3\n"
                               "Cpu=plain\n"
                               "MemoryBudget=3M\n"
                               "[Answers]\n"
                               "MaxTokens=1024\n"
                               "[Log]\n"
                               "Level=debug";
    char error[CONFIG_ERROR_MAX];
    Config c, d;

    config_init(&d);
    ASSERT_OK(load(text, &c, error));
    ASSERT_STREQ(c.model, "/opt/my model.gguf");
    ASSERT_EQ(c.precision, PRECISION_F32);
    ASSERT(d.cache && !c.cache);
    ASSERT_EQ(c.idle_unload_sec, 60);
    ASSERT_EQ(c.context, 4096);
    ASSERT_EQ(c.threads, 3);
    ASSERT_EQ(c.cpu_mask, CPU_PLAIN);
    ASSERT_EQ(c.memory_budget, 3 << 20);
    ASSERT_EQ(c.max_tokens, 1024);
    ASSERT_EQ(c.log_level, LOG_LEVEL_DEBUG);
    ASSERT(!config_same_engine(&c, &d));
}

static void test_refused(void)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"[Model]\nPrecision=int4\n", "line 2: Precision must be int8 or f32"},
        {"[Model]\nCache=maybe\n", "line 2: Cache must be yes or no"},
        {"[Model]\nIdleUnloadSec=604801\n", "line 2: IdleUnloadSec must be"},
        {"[Model]\nIdleUnloadSec=never\n", "line 2: IdleUnloadSec must be"},
        {"[Engine]\n\nThreads=-1\n", "line 3: Threads must be"},
        {"[Engine]\nThreads=257\n", "line 2: Threads must be"},
        {"[Engine]\nThreads=2 3\n", "line 2: Threads must be"},
        {"[Engine]\nThreads=\n", "line 2: Threads must be"},
        {"[Engine]\nCpu=mmx\n", "line 2: Cpu must be"},
        {"[Engine]\nMemoryBudget=2GB\n", "line 2: MemoryBudget must be a size"},
        {"[Engine]\nMemoryBudget=-1\n", "line 2: MemoryBudget must be a size"},
        {"[Engine]\nMemoryBudget=16777216T\n", "line 2: MemoryBudget must be a size"},
        {"[Answers]\nMaxTokens=0\n", "line 2: MaxTokens must be"},
        {"[Log]\nLevel=loud\n", "line 2: Level must be"},
        {"[Model]\nName=\n", "line 2: Name must be"},
        {"[Model]\nColour=red\n", "line 2: no such key"},
        {"Name=x\n", "line 1: no such key"},
        {"[Engine]\nName=x\n", "line 2: no such key"},
        {"[Model\n", "line 1: a section must be"},
        {"nonsense\n", "line 1: neither"},
    };
    char error[CONFIG_ERROR_MAX];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Config c = {.max_tokens = 77};
        ASSERT_ERROR(load(cases[i].text, &c, error), EBADMSG);
        ASSERT_EQ(c.max_tokens, 77); /* untouched */
        if (strncmp(error, cases[i].error, strlen(cases[i].error)) != 0)
            test_fail(__FILE__, __LINE__, "'%s' and '%s'", error, cases[i].error);
    }
}

static void test_ceilings(void)
{
    _cleanup_free_ char *text = calloc(1, 20000);
    char error[CONFIG_ERROR_MAX];
    Config c;

    ASSERT(text);
    strcpy(text, "[Model]\nName=");
    memset(text + strlen(text), 'a', 10000);
    ASSERT_ERROR(load(text, &c, error), EBADMSG);
    /* A comment that is too long must not go on as a key. */
    memset(text, ' ', 10000);
    text[0] = '#';
    strcpy(text + 10000, "[Model]\nName=x\n");
    ASSERT_ERROR(load(text, &c, error), EBADMSG);
    ASSERT_STREQ(error, "line 1: too long");
    memset(text, '\n', 5000);
    strcpy(text + 5000, "x");
    ASSERT_ERROR(load(text, &c, error), EBADMSG);
}

/* What stands behind one must not be passed over. */
static void test_nul_bytes(void)
{
    static const struct {
        const char *text;
        size_t n;
        const char *error;
    } cases[] = {
        {"\0", 1, "line 1: holds a NUL byte"},
        {"[Model]\nName=x\0yz\n", 18, "line 2: holds a NUL byte"},
        {"# comment\n[Log]\n#\0\nLevel=loud\n", 30, "line 3: holds a NUL byte"},
        {"[Log]\nLevel=debug\0", 18, "line 2: holds a NUL byte"},
    };
    char error[CONFIG_ERROR_MAX];
    Config c;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ASSERT_ERROR(load_bytes(cases[i].text, cases[i].n, &c, error), EBADMSG);
        ASSERT_STREQ(error, cases[i].error);
    }
}

int main(void)
{
    RUN(test_defaults);
    RUN(test_every_key);
    RUN(test_refused);
    RUN(test_ceilings);
    RUN(test_nul_bytes);
    return 0;
}
