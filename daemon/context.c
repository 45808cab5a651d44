#include "daemon/context.h"

#include <errno.h>
#include <string.h>

#include "daemon/encode.h"
#include "engine/base/detokenizer.h"

#define PIECE_LEAST 16 /* tokens of a text that are worth reading */
#define MARKUP_MOST 32 /* tokens around a question */

/* Hits fill half of what the model reads at most: questions and answers need the rest. */
static size_t context_room(const Runtime *r, const Feed *feed, size_t position,
                           size_t question_tokens)
{
    size_t room = engine_context(r->engine) / 2, markup = r->splice ? 2 : MARKUP_MOST;
    size_t used = position + feed_length(feed) + question_tokens + markup;
    size_t left = feed->capacity > used ? feed->capacity - used : 0;

    return room < left ? room : left;
}

static int count_tokens(const Runtime *r, const char *text, size_t length, size_t *ret_n)
{
    return tokenizer_encode(model_tokenizer(r->model), text, length, r->ids, LIMIT_TEXT_BYTES,
                            ret_n);
}

/* Bytes of the first n tokens in r->ids, whole characters only. */
static size_t bytes_of_tokens(const Runtime *r, const char *text, size_t length, size_t n)
{
    Detokenizer d;
    size_t bytes = 0, piece;

    detokenizer_init(&d, model_tokenizer(r->model));
    for (size_t i = 0; i < n; i++) {
        detokenizer_push(&d, r->ids[i], &piece);
        bytes += piece;
    }
    if (bytes >= length)
        return length;
    while (bytes > 0 && ((unsigned char)text[bytes] & 0xc0) == 0x80)
        bytes--;
    return bytes;
}

/* A text, or as much of its beginning as there is room for, and a line's end. */
static int add_text(Runtime *r, const char *text, char **end, size_t *room, bool *ret_used)
{
    size_t length = text ? strlen(text) : 0, n = 0;
    int e = count_tokens(r, text, length, &n);

    if (e < 0)
        return e;
    if (n == 0 || *room < 2 || (n + 1 > *room && *room < PIECE_LEAST))
        return 0;
    if (n + 1 > *room) {
        n = *room - 1;
        length = bytes_of_tokens(r, text, length, n);
    }
    *end = mempcpy(*end, text, length);
    *(*end)++ = '\n';
    *room -= n + 1;
    *ret_used = true;
    return 0;
}

static int add_hit(Job *j, Runtime *r, size_t i, Feed *feed, char **end, size_t *room)
{
    const IndexRecord *hit = &j->index.records.list[i];
    int e;

    if (hit->modality == MODALITY_TEXT)
        return add_text(r, hit->text, end, room, &j->index.used[i]);
    if (*room < 2 || !r->splice || !j->at_home)
        return 0;
    e = splice_vector(r->splice, &feed->rows, hit->modality, hit->vector);
    if (e < 0)
        return e;
    *room -= 2;
    j->index.used[i] = true;
    return 0;
}

static size_t texts_size(const Job *j)
{
    size_t size = j->args->question.length + 1;

    for (size_t i = 0; i < j->index.records.n; i++)
        if (j->index.records.list[i].text)
            size += strlen(j->index.records.list[i].text) + 1;
    return size;
}

int context_append(Job *j, Runtime *r, Feed *feed, size_t position)
{
    const String *question = &j->args->question;
    _cleanup_free_ char *text = malloc(texts_size(j));
    char *end = text;
    size_t room, n;
    int e;

    if (!text)
        return -ENOMEM;
    e = count_tokens(r, question->data, question->length, &n);
    if (e < 0)
        return e;
    room = context_room(r, feed, position, n);
    for (size_t i = 0; i < j->index.records.n; i++) {
        e = add_hit(j, r, i, feed, &end, &room);
        if (e < 0)
            return e;
    }
    end = mempcpy(end, question->data, question->length);
    return job_encode_words(j, r, feed, text, (size_t)(end - text));
}
