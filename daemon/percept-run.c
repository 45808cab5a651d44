/* percept-run MODEL COMMAND …: runs, scores and times a model file without a bus. */

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/run.h"

static const char usage_text[] =
    "Usage: percept-run MODEL COMMAND [OPTIONS] [TEXT]\n"
    "\n"
    "Commands:\n"
    "  generate \"QUESTION\"      answer a question about the given media\n"
    "  logits --tokens 1,2,3    the logits after these tokens, one a line\n"
    "  embed [TEXT]             the vector of a text or of one file\n"
    "  bench                    tokens per second, bytes per token, memory, load time\n"
    "  info                     parameters in all and active, the file's digest\n"
#ifdef HAVE_DENSITY
    "  density IMAGE -o MAP.png draw which patches got heads and experts\n"
#endif
#ifdef HAVE_BATCH
    "  batch                    jobs as JSON lines from standard input\n"
#endif
    "\n"
    "Options:\n"
    "  -i, --image FILE         an image; may be repeated\n"
    "  -a, --audio FILE         a recording; may be repeated\n"
    "      --effort X           -1 to 1: fewer or more heads and experts (0)\n"
    "      --detail low|high    at most 64 or 256 patches an image (low)\n"
    "      --max-tokens N       longest answer (128)\n"
    "      --temperature T      0 takes the likeliest token (0)\n"
    "      --top-p P            draw from the likeliest tokens that make up P (1)\n"
    "      --seed N             of the draw (0)\n"
    "      --precision int8|f32 (int8)\n"
    "      --route gates|all    all: every head and four experts for every token (gates)\n"
    "  -t, --threads N          (the CPUs that this process may use)\n"
    "  -p, --prefill N          bench: rows of the prompt (512)\n"
    "  -n, --decode N           bench: tokens of the answer (128)\n"
    "      --depth N            bench: context at the end of the answer (prefill + decode)\n"
    "  -r, --repeat N           bench: runs, of which the fastest counts (5)\n"
    "  -o, --output FILE        density: the picture\n"
    "      --json               bench, info: as JSON\n";

typedef struct Command {
    const char *name;
    int (*run)(const RunOptions *options);
} Command;

static const Command commands[] = {
    {"generate", run_generate}, {"logits", run_logits}, {"embed", run_embed},
    {"bench", run_bench},       {"info", run_info},
#ifdef HAVE_DENSITY
    {"density", run_density},
#endif
#ifdef HAVE_BATCH
    {"batch", run_batch},
#endif
};

enum {
    OPT_EFFORT = 256,
    OPT_DETAIL,
    OPT_MAX_TOKENS,
    OPT_TEMPERATURE,
    OPT_TOP_P,
    OPT_SEED,
    OPT_PRECISION,
    OPT_ROUTE,
    OPT_DEPTH,
    OPT_TOKENS,
    OPT_JSON,
    OPT_HELP,
};

static const struct option long_options[] = {
    {"image", required_argument, NULL, 'i'},
    {"audio", required_argument, NULL, 'a'},
    {"effort", required_argument, NULL, OPT_EFFORT},
    {"detail", required_argument, NULL, OPT_DETAIL},
    {"max-tokens", required_argument, NULL, OPT_MAX_TOKENS},
    {"temperature", required_argument, NULL, OPT_TEMPERATURE},
    {"top-p", required_argument, NULL, OPT_TOP_P},
    {"seed", required_argument, NULL, OPT_SEED},
    {"precision", required_argument, NULL, OPT_PRECISION},
    {"route", required_argument, NULL, OPT_ROUTE},
    {"threads", required_argument, NULL, 't'},
    {"prefill", required_argument, NULL, 'p'},
    {"decode", required_argument, NULL, 'n'},
    {"depth", required_argument, NULL, OPT_DEPTH},
    {"repeat", required_argument, NULL, 'r'},
    {"output", required_argument, NULL, 'o'},
    {"tokens", required_argument, NULL, OPT_TOKENS},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

static int number_parse(const char *name, const char *text, double min, double max, double *ret)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= min && value <= max))
        return run_error(-EINVAL, "%s takes a number from %g to %g, not '%s'", name, min, max,
                         text);
    *ret = value;
    return 0;
}

static int count_parse(const char *name, const char *text, uint32_t max, uint32_t *ret)
{
    double value = 0;
    int r = number_parse(name, text, 0, max, &value);
    if (r < 0)
        return r;
    if (value != floor(value))
        return run_error(-EINVAL, "%s takes a whole number, not '%s'", name, text);
    *ret = (uint32_t)value;
    return 0;
}

/* The index of a word among two; -EINVAL. */
static int choice_parse(const char *name, const char *text, const char *first, const char *second)
{
    if (strcmp(text, first) == 0)
        return 0;
    if (strcmp(text, second) == 0)
        return 1;
    return run_error(-EINVAL, "%s takes %s or %s, not '%s'", name, first, second, text);
}

static int media_add(RunOptions *o, MediaKind kind, const char *path)
{
    if (o->n_media == RUN_MEDIA_MAX)
        return run_error(-E2BIG, "at most %d files", RUN_MEDIA_MAX);
    o->media[o->n_media++] = (RunMedia){kind, path};
    return 0;
}

static int option_apply(RunOptions *o, int option, const char *value)
{
    double number = 0;
    int r;

    switch (option) {
    case 'i':
        return media_add(o, MEDIA_IMAGE, value);
    case 'a':
        return media_add(o, MEDIA_AUDIO, value);
    case 't':
        return count_parse("--threads", value, 1024, &o->threads);
    case 'p':
        return count_parse("--prefill", value, 1 << 20, &o->prefill);
    case 'n':
        return count_parse("--decode", value, 1 << 20, &o->decode);
    case 'r':
        return count_parse("--repeat", value, 1000, &o->repeat);
    case 'o':
        o->output = value;
        return 0;
    case OPT_EFFORT:
        r = number_parse("--effort", value, -1, 1, &number);
        o->effort = r < 0 ? 0 : (float)number;
        return r;
    case OPT_DETAIL:
        r = choice_parse("--detail", value, "low", "high");
        o->high_detail = r == 1;
        return r;
    case OPT_MAX_TOKENS:
        return count_parse("--max-tokens", value, 1 << 20, &o->max_tokens);
    case OPT_TEMPERATURE:
        r = number_parse("--temperature", value, 0, 100, &number);
        o->sampler.temperature = r < 0 ? 0 : (float)number;
        return r;
    case OPT_TOP_P:
        r = number_parse("--top-p", value, 0, 1, &number);
        o->sampler.top_p = r < 0 ? 1 : (float)number;
        return r;
    case OPT_SEED:
        o->sampler.seed = strtoull(value, NULL, 10);
        return 0;
    case OPT_PRECISION:
        r = choice_parse("--precision", value, "int8", "f32");
        o->precision = r == 1 ? PRECISION_F32 : PRECISION_INT8;
        return r;
    case OPT_ROUTE:
        r = choice_parse("--route", value, "gates", "all");
        o->route = r == 1 ? ROUTE_ALL : ROUTE_GATES;
        return r;
    case OPT_DEPTH:
        return count_parse("--depth", value, 1 << 20, &o->depth);
    case OPT_TOKENS:
        o->tokens = value;
        return 0;
    case OPT_JSON:
        o->json = true;
        return 0;
    default:
        return -EINVAL; /* getopt has said what is wrong */
    }
}

static int options_parse(RunOptions *o, int argc, char **argv)
{
    const char **words[] = {&o->model, &o->command, &o->text};
    int option, n_words = 0;

    while ((option = getopt_long(argc, argv, "i:a:t:p:n:r:o:", long_options, NULL)) != -1) {
        if (option == OPT_HELP) {
            fputs(usage_text, stdout);
            exit(0);
        }
        int r = option_apply(o, option, optarg);
        if (r < 0)
            return r;
    }
    for (; optind < argc; optind++) {
        if (n_words == 3)
            return run_error(-EINVAL, "unexpected '%s'", argv[optind]);
        *words[n_words++] = argv[optind];
    }
    return o->command ? 0 : run_error(-EINVAL, "no command; --help lists them");
}

/* What each command cannot do without. */
static int options_check(RunOptions *o)
{
    if (strcmp(o->command, "generate") == 0 && (!o->text || !*o->text))
        return run_error(-EINVAL, "generate needs a question");
    if (strcmp(o->command, "logits") == 0 && !o->tokens)
        return run_error(-EINVAL, "logits needs --tokens");
    if (strcmp(o->command, "embed") == 0 && (o->text != NULL) + o->n_media != 1)
        return run_error(-EINVAL, "embed takes one text or one file");
    if (strcmp(o->command, "density") == 0 && (!o->text || !o->output))
        return run_error(-EINVAL, "density needs an image and -o FILE");
    if (strcmp(o->command, "bench") == 0 && o->repeat == 0)
        return run_error(-EINVAL, "--repeat is at least 1");
    return 0;
}

int main(int argc, char **argv)
{
    RunOptions options = {
        .max_tokens = 128,
        .sampler = {.top_p = 1},
        .prefill = 512,
        .decode = 128,
        .repeat = 5,
    };

    if (argc == 1) {
        fputs(usage_text, stdout);
        return 0;
    }
    if (options_parse(&options, argc, argv) < 0 || options_check(&options) < 0)
        return 2;
    for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
        if (strcmp(commands[i].name, options.command) == 0)
            return commands[i].run(&options) < 0 ? 1 : 0;
    run_error(-EINVAL, "no command '%s'; --help lists them", options.command);
    return 2;
}
