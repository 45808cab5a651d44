#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "daemon/ctl-indexer.h"
#include "daemon/ctl.h"

const char ctl_help[] =
    "usage: perceptctl [OPTION…] COMMAND\n"
    "\n"
    "  status                    how the service is\n"
    "  ask [-i FILE] [-a FILE] [ASK OPTION…] QUESTION\n"
    "                            ask about pictures and recordings, or nothing but the question\n"
    "  embed [-i FILE] [-a FILE] [TEXT…]\n"
    "                            print the vector of each\n"
    "  classify FILE LABEL…      which label fits best\n"
    "  similar THING THING…      compare files and texts with each other\n"
    "  index FOLDER…             make pictures and recordings findable, or bring that up to date\n"
    "  watch [FOLDER…]           index, and go on whenever a file changes\n"
    "  search [-i FILE] [-a FILE] [WORD…]\n"
    "                            find files by what is in them\n"
    "  purge --uid=UID           remove all that was indexed for a user\n"
    "  doctor                    try everything once and say what is broken, and what helps\n"
    "\n"
    "  -i, --image=FILE          a picture; may be given again\n"
    "  -a, --audio=FILE          a recording; may be given again\n"
    "  --user, --system, --address=ADDRESS\n"
    "                            which bus; without one, the session's and then the system's\n"
    "  --json                    for programs\n"
    "  -h, --help, --version\n"
    "\n"
    "ask options:\n"
    "  --detail                  look more closely at pictures\n"
    "  --effort=NUMBER           -1 to 1: less or more computing for each word\n"
    "  --max-tokens=NUMBER       longest answer\n"
    "  --temperature=NUMBER      0 always takes the likeliest word\n"
    "  --seed=NUMBER             same seed, same answer\n"
    "  --instructions=TEXT       what the model is told before everything else\n"
    "  --model=NAME              another installed model than the selected one\n"
    "  --think                   let a model that can think before it answers\n"
    "\n"
    "index, watch and search options:\n"
    "  --collection=NAME         which collection of the service, " INDEXER_COLLECTION
    " if not given\n"
    "  --limit=NUMBER            search: at most so many files, 10 if not given\n"
    "  --open                    search: open the best one\n"
    "  --prompt                  search: ask for the next words, until there are none\n"
    "\n"
    "purge options:\n"
    "  --uid=UID                 the number of the user, who may be gone already\n"
    "  --state=FOLDER            where the service keeps what it remembers\n";

enum {
    OPTION_USER = 256,
    OPTION_SYSTEM,
    OPTION_ADDRESS,
    OPTION_JSON,
    OPTION_DETAIL,
    OPTION_EFFORT,
    OPTION_MAX_TOKENS,
    OPTION_TEMPERATURE,
    OPTION_SEED,
    OPTION_INSTRUCTIONS,
    OPTION_MODEL,
    OPTION_THINK,
    OPTION_COLLECTION,
    OPTION_LIMIT,
    OPTION_OPEN,
    OPTION_PROMPT,
    OPTION_UID,
    OPTION_STATE,
    OPTION_VERSION,
};

static const struct option known[] = {
    {"image", required_argument, NULL, 'i'},
    {"audio", required_argument, NULL, 'a'},
    {"user", no_argument, NULL, OPTION_USER},
    {"system", no_argument, NULL, OPTION_SYSTEM},
    {"address", required_argument, NULL, OPTION_ADDRESS},
    {"json", no_argument, NULL, OPTION_JSON},
    {"detail", no_argument, NULL, OPTION_DETAIL},
    {"effort", required_argument, NULL, OPTION_EFFORT},
    {"max-tokens", required_argument, NULL, OPTION_MAX_TOKENS},
    {"temperature", required_argument, NULL, OPTION_TEMPERATURE},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"instructions", required_argument, NULL, OPTION_INSTRUCTIONS},
    {"model", required_argument, NULL, OPTION_MODEL},
    {"think", no_argument, NULL, OPTION_THINK},
    {"collection", required_argument, NULL, OPTION_COLLECTION},
    {"limit", required_argument, NULL, OPTION_LIMIT},
    {"open", no_argument, NULL, OPTION_OPEN},
    {"prompt", no_argument, NULL, OPTION_PROMPT},
    {"uid", required_argument, NULL, OPTION_UID},
    {"state", required_argument, NULL, OPTION_STATE},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPTION_VERSION},
    {0},
};

static int add_medium(CtlOptions *o, const char *path, const char *type)
{
    if (o->n_media == CTL_MEDIA_MAX)
        return ctl_error(-E2BIG, "at most %d files", CTL_MEDIA_MAX);
    o->media[o->n_media] = path;
    o->types[o->n_media++] = type;
    return 0;
}

static int number(const char *option, const char *text, double low, double high, double *ret_value)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end || !(value >= low && value <= high))
        return ctl_error(-EINVAL, "--%s takes a number from %.10g to %.10g", option, low, high);
    *ret_value = value;
    return 0;
}

/* Of numbers that are counted or name something. */
static int whole(const char *option, const char *text, double low, double high, double *ret_value)
{
    double value = 0;
    int r = number(option, text, low, high, &value);

    if (r >= 0 && value != (double)(uint64_t)value)
        return ctl_error(-EINVAL, "--%s takes a whole number", option);
    if (r >= 0)
        *ret_value = value;
    return r;
}

static int apply_number(CtlOptions *o, int c, const char *text)
{
    double value = 0;
    int r;

    switch (c) {
    case OPTION_EFFORT:
        return number("effort", text, -1, 1, &o->ask.effort);
    case OPTION_TEMPERATURE:
        return number("temperature", text, 0, 100, &o->ask.temperature);
    case OPTION_MAX_TOKENS:
        r = whole("max-tokens", text, 1, 1024, &value);
        o->ask.max_tokens = (uint32_t)value;
        return r;
    case OPTION_SEED:
        r = whole("seed", text, 0, 9e15, &value);
        o->ask.seed = (uint64_t)value;
        return r;
    case OPTION_LIMIT:
        r = whole("limit", text, 1, 1000, &value);
        o->limit = (uint32_t)value;
        return r;
    default:
        r = whole("uid", text, 0, UINT32_MAX - 1, &value);
        o->uid = (uint32_t)value;
        o->has_uid = true;
        return r;
    }
}

/* -EINVAL after saying why. */
static int apply(CtlOptions *o, int c)
{
    switch (c) {
    case 'i':
        return add_medium(o, optarg, "image/*");
    case 'a':
        return add_medium(o, optarg, "audio/*");
    case OPTION_USER:
        o->bus = "session";
        return 0;
    case OPTION_SYSTEM:
        o->bus = "system";
        return 0;
    case OPTION_ADDRESS:
        o->bus = optarg;
        return 0;
    case OPTION_JSON:
        o->json = true;
        return 0;
    case OPTION_DETAIL:
        o->ask.high_detail = true;
        return 0;
    case OPTION_EFFORT:
    case OPTION_MAX_TOKENS:
    case OPTION_TEMPERATURE:
    case OPTION_SEED:
    case OPTION_LIMIT:
    case OPTION_UID:
        return apply_number(o, c, optarg);
    case OPTION_INSTRUCTIONS:
        o->ask.system = optarg;
        return 0;
    case OPTION_MODEL:
        o->ask.model = optarg;
        return 0;
    case OPTION_THINK:
        o->ask.think = true;
        return 0;
    case OPTION_COLLECTION:
        o->collection = optarg;
        return 0;
    case OPTION_OPEN:
        o->open = true;
        return 0;
    case OPTION_PROMPT:
        o->prompt = true;
        return 0;
    case OPTION_STATE:
        o->state = optarg;
        return 0;
    default:
        return -EINVAL;
    }
}

int ctl_options(int argc, char **argv, CtlOptions *ret_options)
{
    CtlOptions o = {.collection = INDEXER_COLLECTION, .limit = 10};
    int c;

    while ((c = getopt_long(argc, argv, "i:a:h", known, NULL)) >= 0) {
        if (c == 'h') {
            fputs(ctl_help, stdout);
            return 1;
        }
        if (c == OPTION_VERSION) {
            puts("perceptctl " PERCEPTD_VERSION);
            return 1;
        }
        int r = apply(&o, c);
        if (r < 0)
            return r;
    }
    o.arguments = (const char **)argv + optind;
    o.n_arguments = (size_t)(argc - optind);
    *ret_options = o;
    return 0;
}
