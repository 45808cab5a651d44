#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/run-job.h"
#include "engine/base/detokenizer.h"

#define ANSWER_MAX 2048

static int files_parse(Job *job, const char *key, MediaKind kind, const char **ret_message)
{
    json_t *files = json_object_get(job->line, key), *file;
    size_t i;

    bool sound = !files || json_is_array(files);

    json_array_foreach(files, i, file)
    {
        if (!json_is_string(file) || job->n_media == RUN_MEDIA_MAX) {
            sound = false;
            break;
        }
        job->media[job->n_media++] = (RunMedia){kind, json_string_value(file)};
    }
    if (!sound) {
        *ret_message = "images and audios are lists of at most 16 paths together";
        return -EBADMSG;
    }
    return 0;
}

static int fields_parse(Job *job, const char **ret_message)
{
    const char *op = "ask", *detail = "low", *route = "gates", *text = "";
    double effort = 0;
    int max_tokens = 128;
    json_error_t error;

    int r = json_unpack_ex(job->line, &error, 0, "{s?s, s?s, s?s, s?s, s?F, s?i}", "op", &op,
                           "detail", &detail, "route", &route, "text", &text, "effort", &effort,
                           "max_tokens", &max_tokens);
    if (r < 0 || effort < -1 || effort > 1 || max_tokens < 1 || max_tokens > ANSWER_MAX) {
        *ret_message = "a field has the wrong type or range";
        return -EBADMSG;
    }
    job->text = text;
    job->embed = strcmp(op, "embed") == 0;
    job->high_detail = strcmp(detail, "high") == 0;
    job->route = strcmp(route, "all") == 0 ? ROUTE_ALL : ROUTE_GATES;
    job->effort = (float)effort;
    job->max_tokens = (uint32_t)max_tokens;
    if ((!job->embed && strcmp(op, "ask") != 0) ||
        (!job->high_detail && strcmp(detail, "low") != 0) ||
        (job->route == ROUTE_GATES && strcmp(route, "gates") != 0)) {
        *ret_message = "op is ask or embed, detail low or high, route gates or all";
        return -EBADMSG;
    }
    return 0;
}

int job_parse(Job *job, const char *line, size_t length, const char **ret_message)
{
    json_error_t error;

    job->line = json_loadb(line, length, 0, &error);
    if (!json_is_object(job->line)) {
        *ret_message = "not a JSON object";
        return -EBADMSG;
    }
    job->n_media = job->n_encoded = job->prefilled = 0;
    job->n_answer = 0;
    job->prompt.n = 0;

    int r = fields_parse(job, ret_message);
    if (r >= 0)
        r = files_parse(job, "images", MEDIA_IMAGE, ret_message);
    if (r >= 0)
        r = files_parse(job, "audios", MEDIA_AUDIO, ret_message);
    if (r < 0)
        return r;
    if (job->embed ? job->n_media + (*job->text != 0) != 1 : !*job->text) {
        *ret_message = job->embed ? "embed takes one file or a text" : "ask needs a text";
        return -EBADMSG;
    }
    _cleanup_free_ int32_t *answer = realloc(job->answer, job->max_tokens * sizeof(*answer));
    if (!answer) {
        *ret_message = "out of memory";
        return -ENOMEM;
    }
    job->answer = steal_ptr(&answer);
    job->state = JOB_MEDIA;
    return 0;
}

static void job_print(Job *job, json_t *line)
{
    json_t *id = json_object_get(job->line, "id");

    if (id)
        json_object_set(line, "id", id);
    json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    fputc('\n', stdout);
    fflush(stdout);
    json_decref(line);
    json_decref(job->line);
    job->line = NULL;
    job->session = session_close(job->session);
    job->state = JOB_FREE;
}

void job_print_error(Job *job, const char *message)
{
    job_print(job, json_pack("{s:s}", "error", message));
}

void job_print_vector(Job *job, const float *vector, size_t length)
{
    json_t *values = json_array();
    for (size_t i = 0; i < length; i++)
        json_array_append_new(values, json_real(vector[i]));
    job_print(job, json_pack("{s:o}", "vector", values));
}

/* The answer's text into out, if any; its length. */
static size_t answer_text(const Job *job, const Tokenizer *tokenizer, char *out)
{
    Detokenizer d;
    size_t n = 0, length;

    detokenizer_init(&d, tokenizer);
    for (uint32_t i = 0; i <= job->n_answer; i++) {
        const char *text = i < job->n_answer ? detokenizer_push(&d, job->answer[i], &length)
                                             : detokenizer_finish(&d, &length);
        if (out)
            memcpy(out + n, text, length);
        n += length;
    }
    return n;
}

static json_t *text_of(const Job *job, const Tokenizer *tokenizer)
{
    size_t length = answer_text(job, tokenizer, NULL);
    _cleanup_free_ char *text = malloc(length + 1);

    if (!text)
        return NULL;
    answer_text(job, tokenizer, text);
    return json_stringn(text, length);
}

void job_print_answer(Job *job, const Tokenizer *tokenizer, uint32_t n_layers)
{
    const Counters *c = session_counters(job->session);
    double cells = (double)c->rows * n_layers;
    json_t *text = text_of(job, tokenizer);

    if (!text) {
        job_print_error(job, "out of memory");
        return;
    }
    job_print(job, json_pack("{s:o, s:I, s:I, s:f, s:f, s:f}", "text", text, "rows",
                             (json_int_t)c->rows, "tokens", (json_int_t)job->n_answer,
                             "groups_active", (double)c->group_rows / cells, "experts_active",
                             (double)c->expert_rows / cells, "parameters_active",
                             (double)c->active_parameters / (double)c->rows));
}
