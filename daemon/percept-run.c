/* percept-run MODEL COMMAND …: runs, scores and times a model file without a bus. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/run.h"

static const char usage_text[] =
    "Usage: percept-run MODEL COMMAND [OPTIONS] [TEXT]\n"
    "       percept-run MODEL -p QUESTION [OPTIONS]\n"
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
    "  -p, --prompt QUESTION    generate: the question; without a command, generate is meant\n"
    "      --system TEXT        generate: what the model is told before the question\n"
    "      --raw                generate: the question is the whole prompt, tokens and all\n"
    "      --think on|off       generate: off lets a model that thinks answer at once (on)\n"
    "      --max-tokens N       longest answer (128)\n"
    "      --temperature T      0 takes the likeliest token (0)\n"
    "      --top-p P            draw from the likeliest tokens that make up P (1)\n"
    "      --seed N             of the draw (0)\n"
    "      --precision int8|f32 (int8)\n"
    "      --route gates|all    all: every head and four experts for every token (gates)\n"
    "      --context N          most tokens of prompt and answer (the model's, or 32768)\n"
    "      --cache auto|f32|f16|q8\n"
    "                           how keys and values are kept (auto: as the precision has it)\n"
    "  -t, --threads N          (the CPUs that this process may use)\n"
    "      --isa NAME           plain, avx2, avx512, avx512vnni, avx512bf16:\n"
    "                           no better kernels than these\n"
    "      --memory BYTES       budget of weights and buffers, as 500M or 2G: experts that do not\n"
    "                           fit are read when they are needed (no budget)\n"
    "  -p, --prefill N          bench: rows of the prompt (512)\n"
    "  -n, --decode N           bench: tokens of the answer (128)\n"
    "      --depth N            bench: context at the end of the answer (prefill + decode)\n"
    "      --sessions N         bench: that many decode together, at most 16 (1)\n"
    "  -r, --repeat N           bench: runs, of which the fastest counts (5)\n"
    "  -o, --output FILE        density: the picture\n"
    "      --json               bench, info: as JSON\n"
    "  -h, --help\n";

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
    if (strcmp(o->command, "bench") == 0 && o->n_media > 1)
        return run_error(-EINVAL, "bench takes one image");
    return 0;
}

static const Command *command_find(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    run_error(-EINVAL, "no command '%s'; --help lists them", name);
    return NULL;
}

int main(int argc, char **argv)
{
    RunOptions options = {
        .max_tokens = 128,
        .sampler = {.top_p = 1},
        .prefill = 512,
        .decode = 128,
        .sessions = 1,
        .repeat = 5,
        .help = argc == 1,
    };

    if (!options.help && run_options_parse(&options, argc, argv) < 0)
        return 2;
    if (options.help) {
        fputs(usage_text, stdout);
        return 0;
    }
    const Command *command = command_find(options.command);
    if (!command || options_check(&options) < 0)
        return 2;
    return command->run(&options) < 0 ? 1 : 0;
}
