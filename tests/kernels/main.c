#include <getopt.h>
#include <time.h>

#include "engine/cpu/cpuid.h"
#include "tests/kernels/harness.h"

static const KernelCheck *const families[] = {product_checks, rows_checks, attention_checks,
                                              scan_checks};

static const char usage[] =
    "usage: kernels [--function NAME] [--isa plain|avx2|avx512|avx512vnni|avx512bf16] [--seed N]\n"
    "       [--share N] [--bench]\n";

typedef void (*AnyFunc)(void);

static AnyFunc kernel_at(const Kernels *k, size_t offset)
{
    AnyFunc f;

    memcpy(&f, (const char *)k + offset, sizeof f);
    return f;
}

/* A table for each level, lowest first; kernels that a level inherits are checked once. */
static const char *const levels[] = {"plain", "avx2", "avx512", "avx512vnni", "avx512bf16"};
#define LEVELS (sizeof levels / sizeof *levels)

typedef struct Options {
    const char *function, *isa;
    uint64_t seed;
    bool bench;
} Options;

static bool seen_below(const Kernels *tables, size_t level, size_t offset)
{
    for (size_t i = 0; i < level; i++)
        if (kernel_at(&tables[i], offset) == kernel_at(&tables[level], offset))
            return true;
    return false;
}

static size_t run_check(const Options *o, const KernelCheck *check, const Kernels *tables,
                        size_t n_tables)
{
    size_t n = 0;

    if (o->function && strcmp(o->function, check->name) != 0)
        return 0;
    for (size_t level = 0; level < n_tables; level++) {
        if (seen_below(tables, level, check->offset))
            continue;
        if (o->isa && strcmp(o->isa, levels[level]) != 0 && !(o->bench && level == 0))
            continue;
        printf("%s %s\n", check->name, levels[level]);
        fflush(stdout);
        random_start(o->seed);
        if (o->bench)
            check->bench(&tables[level]);
        else
            check->check(&tables[0], &tables[level]);
        n++;
    }
    return n;
}

static Options options_parse(int argc, char **argv)
{
    static const struct option known[] = {
        {"function", required_argument, NULL, 'f'}, {"isa", required_argument, NULL, 'i'},
        {"seed", required_argument, NULL, 's'},     {"share", required_argument, NULL, 'n'},
        {"bench", no_argument, NULL, 'b'},          {0}};
    Options o = {.seed = (uint64_t)time(NULL)};
    unsigned mask;
    int c;

    while ((c = getopt_long(argc, argv, "", known, NULL)) >= 0) {
        if (c == 'f')
            o.function = optarg;
        else if (c == 'i' && cpu_mask_parse(optarg, &mask) == 0)
            o.isa = optarg;
        else if (c == 's')
            o.seed = strtoull(optarg, NULL, 0);
        else if (c == 'n' && atoi(optarg) > 0)
            turns_share = atoi(optarg);
        else if (c == 'b')
            o.bench = true;
        else {
            fputs(usage, stderr);
            exit(2);
        }
    }
    return o;
}

int main(int argc, char **argv)
{
    Options o = options_parse(argc, argv);
    Kernels tables[LEVELS];
    unsigned features = cpu_features(), mask;
    size_t n_tables = 0, n = 0;

    for (; n_tables < LEVELS; n_tables++) {
        ASSERT_OK(cpu_mask_parse(levels[n_tables], &mask));
        if ((mask & features) != mask)
            break;
        kernels_init(&tables[n_tables], mask);
    }
    printf("seed %llu, %s\n", (unsigned long long)o.seed, levels[n_tables - 1]);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        for (const KernelCheck *check = families[i]; check->name; check++)
            n += run_check(&o, check, tables, n_tables);
    printf("%zu kernels\n", n);
    if (n == 0)
        SKIP("no kernel of that name or instruction set here");
    return 0;
}
