#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/run.h"
#include "engine/base/size.h"
#include "engine/cpu/cpuid.h"

/* An option is a row: what it takes, where that goes, and the commands that it means something
 * to. */

typedef enum OptionType {
    OPTION_COUNT,  /* uint32_t */
    OPTION_SEED,   /* uint64_t */
    OPTION_SIZE,   /* uint64_t */
    OPTION_FLOAT,  /* float */
    OPTION_CHOICE, /* int: which of the words */
    OPTION_STRING, /* const char * */
    OPTION_FLAG,   /* bool */
    OPTION_ISA,    /* unsigned */
    OPTION_IMAGE,  /* appended to media */
    OPTION_AUDIO,
} OptionType;

#define CHOICES_MAX 4

typedef struct OptionRow {
    const char *name;
    char letter; /* 0: none; two rows that share one are for different commands */
    OptionType type;
    size_t offset; /* in RunOptions */
    double min, max;
    const char *words[CHOICES_MAX];
    const char *commands; /* NULL: all */
} OptionRow;

#define O(field)    offsetof(RunOptions, field)
#define FORWARDING  "generate logits bench info density"
#define N_OPTIONS   (sizeof(rows) / sizeof(*rows))
#define OPTION_BASE 256 /* getopt's value of rows[0]; letters lie below */
#define COUNT_MAX   (1 << 20)

/* clang-format off */
static const OptionRow rows[] = {
    {"image", 'i', OPTION_IMAGE, 0, .commands = "generate embed bench"},
    {"audio", 'a', OPTION_AUDIO, 0, .commands = "generate embed"},
    {"effort", 0, OPTION_FLOAT, O(effort), -1, 1, .commands = FORWARDING},
    {"detail", 0, OPTION_CHOICE, O(high_detail), .words = {"low", "high"},
     .commands = "generate embed bench"},
    {"max-tokens", 0, OPTION_COUNT, O(max_tokens), 1, COUNT_MAX, .commands = "generate"},
    {"temperature", 0, OPTION_FLOAT, O(sampler.temperature), 0, 100, .commands = "generate"},
    {"top-p", 0, OPTION_FLOAT, O(sampler.top_p), 0, 1, .commands = "generate"},
    {"seed", 0, OPTION_SEED, O(sampler.seed), .commands = "generate"},
    {"precision", 0, OPTION_CHOICE, O(precision), .words = {"int8", "f32"}},
    {"route", 0, OPTION_CHOICE, O(route), .words = {"gates", "all"}, .commands = FORWARDING},
    {"threads", 't', OPTION_COUNT, O(threads), 0, 1024, .commands = NULL},
    {"isa", 0, OPTION_ISA, O(isa_mask), .commands = NULL},
    {"prompt", 'p', OPTION_STRING, O(prompt), .commands = "generate"},
    {"system", 0, OPTION_STRING, O(system), .commands = "generate"},
    {"raw", 0, OPTION_FLAG, O(raw), .commands = "generate"},
    {"think", 0, OPTION_CHOICE, O(no_think), .words = {"on", "off"}, .commands = "generate"},
    {"context", 0, OPTION_COUNT, O(context), 1, COUNT_MAX, .commands = FORWARDING},
    {"cache", 0, OPTION_CHOICE, O(cache), .words = {"auto", "f32", "f16", "q8"},
     .commands = FORWARDING},
    {"memory", 0, OPTION_SIZE, O(memory), .commands = NULL},
    {"tokens", 0, OPTION_STRING, O(tokens), .commands = "logits"},
    {"prefill", 'p', OPTION_COUNT, O(prefill), 0, COUNT_MAX, .commands = "bench"},
    {"decode", 'n', OPTION_COUNT, O(decode), 0, COUNT_MAX, .commands = "bench"},
    {"depth", 0, OPTION_COUNT, O(depth), 0, COUNT_MAX, .commands = "bench"},
    {"sessions", 0, OPTION_COUNT, O(sessions), 1, RUN_SESSIONS_MAX, .commands = "bench"},
    {"repeat", 'r', OPTION_COUNT, O(repeat), 1, RUN_REPEATS_MAX, .commands = "bench"},
    {"output", 'o', OPTION_STRING, O(output), .commands = "density"},
    {"json", 0, OPTION_FLAG, O(json), .commands = "bench info"},
};
/* clang-format on */

static int number_parse(const OptionRow *row, const char *text, double *ret)
{
    char *end;
    double value = strtod(text, &end);
    bool whole = row->type == OPTION_FLOAT || value == floor(value);

    if (end == text || *end || !(value >= row->min && value <= row->max) || !whole)
        return run_error(-EINVAL, "--%s takes a %snumber from %g to %g, not '%s'", row->name,
                         row->type == OPTION_FLOAT ? "" : "whole ", row->min, row->max, text);
    *ret = value;
    return 0;
}

static int seed_parse(const char *text, uint64_t *ret)
{
    char *end;

    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end || errno || *text == '-')
        return run_error(-EINVAL, "--seed takes a whole number, not '%s'", text);
    *ret = value;
    return 0;
}

static int size_option_parse(const OptionRow *row, const char *text, uint64_t *ret)
{
    if (size_parse(text, ret) < 0 || *ret == 0)
        return run_error(-EINVAL, "--%s takes a size as 500M or 2G, not '%s'", row->name, text);
    return 0;
}

static int choice_parse(const OptionRow *row, const char *text, int *ret)
{
    char list[64] = "";
    size_t n = 0;

    for (int i = 0; i < CHOICES_MAX && row->words[i]; i++) {
        bool last = i + 1 == CHOICES_MAX || !row->words[i + 1];
        if (strcmp(text, row->words[i]) == 0) {
            *ret = i;
            return 0;
        }
        n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s",
                              i == 0 ? ""
                              : last ? " or "
                                     : ", ",
                              row->words[i]);
    }
    return run_error(-EINVAL, "--%s takes %s, not '%s'", row->name, list, text);
}

static int isa_parse(const char *text, unsigned *ret)
{
    if (cpu_mask_parse(text, ret) < 0)
        return run_error(
            -EINVAL, "--isa takes plain, avx2, avx512, avx512vnni, avx512bf16 or native, not '%s'",
            text);
    return 0;
}

static int media_add(RunOptions *o, MediaKind kind, const char *path)
{
    if (o->n_media == RUN_MEDIA_MAX)
        return run_error(-E2BIG, "at most %d files", RUN_MEDIA_MAX);
    o->media[o->n_media++] = (RunMedia){kind, path};
    return 0;
}

static int option_apply(RunOptions *o, const OptionRow *row, const char *value)
{
    void *field = (char *)o + row->offset;
    double number = 0;
    int r = 0;

    switch (row->type) {
    case OPTION_COUNT:
        r = number_parse(row, value, &number);
        if (r >= 0)
            *(uint32_t *)field = (uint32_t)number;
        return r;
    case OPTION_FLOAT:
        r = number_parse(row, value, &number);
        if (r >= 0)
            *(float *)field = (float)number;
        return r;
    case OPTION_SEED:
        return seed_parse(value, field);
    case OPTION_SIZE:
        return size_option_parse(row, value, field);
    case OPTION_CHOICE:
        return choice_parse(row, value, field);
    case OPTION_STRING:
        *(const char **)field = value;
        return 0;
    case OPTION_FLAG:
        *(bool *)field = true;
        return 0;
    case OPTION_ISA:
        return isa_parse(value, field);
    case OPTION_IMAGE:
        return media_add(o, MEDIA_IMAGE, value);
    case OPTION_AUDIO:
        return media_add(o, MEDIA_AUDIO, value);
    }
    return -EINVAL;
}

/* Whether a word stands in a list of words with blanks between. */
static bool list_has(const char *list, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = list; (at = strstr(at, word)); at += length)
        if ((at == list || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
            return length > 0;
    return false;
}

static bool row_serves(const OptionRow *row, const char *command)
{
    return !row->commands || list_has(row->commands, command);
}

/* The row of what getopt found: of those that share a letter, the one that serves the command. */
static const OptionRow *row_find(int option, const char *command)
{
    const OptionRow *found = NULL;

    for (size_t i = 0; i < N_OPTIONS; i++)
        if (option == OPTION_BASE + (int)i || (rows[i].letter && option == rows[i].letter))
            found = found && row_serves(found, command) ? found : &rows[i];
    return found;
}

/* The tables that getopt wants. */
static void getopt_fill(struct option longs[N_OPTIONS + 2], char letters[2 * N_OPTIONS + 2])
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        longs[i] = (struct option){
            .name = rows[i].name,
            .has_arg = rows[i].type == OPTION_FLAG ? no_argument : required_argument,
            .val = OPTION_BASE + (int)i,
        };
        if (rows[i].letter) {
            *letters++ = rows[i].letter;
            *letters++ = ':';
        }
    }
    *letters++ = 'h';
    longs[N_OPTIONS] = (struct option){.name = "help", .has_arg = no_argument, .val = 'h'};
    longs[N_OPTIONS + 1] = (struct option){0};
    *letters = '\0';
}

static int words_take(RunOptions *o, char **words, int n)
{
    const char **places[] = {&o->model, &o->command, &o->text};

    for (int i = 0; i < n; i++) {
        if (i == 3)
            return run_error(-EINVAL, "unexpected '%s'", words[i]);
        *places[i] = words[i];
    }
    return 0;
}

/* What getopt found, kept until the command is known. */
typedef struct Given {
    int option;
    const char *value;
} Given;

static int given_apply(RunOptions *o, const Given *given)
{
    const OptionRow *row = row_find(given->option, o->command);
    int r = option_apply(o, row, given->value);

    if (r >= 0 && !row_serves(row, o->command))
        r = run_error(-EINVAL, "--%s means nothing to %s", row->name, o->command);
    return r;
}

static int text_take(RunOptions *o)
{
    if (o->prompt && o->text)
        return run_error(-EINVAL, "the question stands there twice: '%s' and --prompt", o->text);
    if (o->prompt)
        o->text = o->prompt;
    return 0;
}

int run_options_parse(RunOptions *o, int argc, char **argv)
{
    struct option longs[N_OPTIONS + 2];
    char letters[2 * N_OPTIONS + 2];
    _cleanup_free_ Given *given = calloc((size_t)argc, sizeof(*given));
    size_t n_given = 0;
    bool prompt = false;
    int option;

    if (!given)
        return run_error(-ENOMEM, "out of memory");
    getopt_fill(longs, letters);
    while ((option = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        if (option == 'h') {
            o->help = true;
            return 0;
        }
        if (option == '?')
            return -EINVAL; /* getopt has said what is wrong */
        given[n_given++] = (Given){option, optarg};
        prompt = prompt || row_find(option, "generate")->offset == O(prompt);
    }
    int r = words_take(o, argv + optind, argc - optind);
    if (r < 0)
        return r;
    if (!o->command && prompt)
        o->command = "generate";
    if (!o->command)
        return run_error(-EINVAL, "no command; --help lists them");
    for (size_t i = 0; i < n_given && r >= 0; i++)
        r = given_apply(o, &given[i]);
    return r < 0 ? r : text_take(o);
}
