#include "daemon/encode.h"

#include <errno.h>
#include <string.h>

#include "daemon/context.h"
#include "engine/base/sha256.h"

static int fail_model(Failure *f, int error)
{
    if (error == -EIO)
        return failure_set(f, ERROR_DEVICE_LOST, "The device failed: try again.");
    if (error == -EDOM)
        return failure_set(f, ERROR_DECODE_FAILED, "There is nothing in it to go by.");
    if (error == -E2BIG)
        return failure_set(f, ERROR_TOO_LARGE,
                           "The question and its media are too long for the model.");
    if (error == -ENOMEM)
        return failure_set(f, ERROR_NO_MEMORY, "Out of memory.");
    return failure_set(f, ERROR_FAILED, "The model cannot encode this: %s.", strerror(-error));
}

/* Tokens of a text, cut to what the encoder reads if the client allows it. */
static int text_tokens(Job *j, Runtime *r, const String *s, Truncate truncate, size_t text,
                       const int32_t **ret_ids, size_t *ret_n)
{
    size_t n, most = ENCODER_TEXT_TOKENS;
    int e = tokenizer_encode(model_tokenizer(r->model), s->data, s->length, r->ids,
                             LIMIT_TEXT_BYTES, &n);

    if (e < 0)
        return fail_model(&j->failure, e);
    *ret_ids = r->ids;
    *ret_n = n;
    if (n <= most)
        return 0;
    if (truncate == TRUNCATE_ERROR)
        return failure_set(&j->failure, ERROR_TRUNCATED,
                           "Text %zu has %zu tokens, %zu are read: shorten it or set truncate.",
                           text, n, most);
    *ret_ids += truncate == TRUNCATE_TAIL ? n - most : 0;
    *ret_n = most;
    j->truncated[j->n_encoded] = true;
    return 0;
}

/* Whether the same user has had the same encoded before. */
static bool recall(Job *j, Runtime *r, const CacheKey *key, float *vector)
{
    const CacheValue *v =
        r->cache && !job_is_bulk(j) ? cache_get(r->cache, j->account->uid, key) : NULL;

    if (!v)
        return false;
    memcpy(vector, v->vector, sizeof v->vector);
    j->tokens += v->tokens;
    j->truncated[j->n_encoded] = v->truncated;
    return true;
}

static void keep(const Job *j, Runtime *r, const CacheKey *key, const float *vector, size_t n)
{
    CacheValue v = {.tokens = (uint32_t)n, .truncated = j->truncated[j->n_encoded]};

    if (!r->cache || job_is_bulk(j))
        return;
    memcpy(v.vector, vector, sizeof v.vector);
    cache_put(r->cache, j->account->uid, key, &v);
}

static int encode_string(Job *j, Runtime *r, const String *s, Truncate truncate, size_t text,
                         float *vector)
{
    CacheKey key = {.modality = MODALITY_TEXT, .truncate = truncate};
    const int32_t *ids = NULL;
    Encoded encoded;
    size_t n = 0;
    int e;

    sha256(s->data, s->length, key.content);
    if (recall(j, r, &key, vector))
        return 0;
    e = text_tokens(j, r, s, truncate, text, &ids, &n);
    if (e < 0)
        return e;
    e = encoders_text(r->encoders, ids, n, &encoded);
    if (e >= 0)
        e = space_project(r->space, &encoded, vector);
    if (e < 0)
        return fail_model(&j->failure, e);
    j->tokens += n;
    j->weight_bytes += r->encoder_bytes[MODALITY_TEXT];
    keep(j, r, &key, vector, n);
    return 0;
}

/* Of a collection's items, one that cannot be encoded is left out. */
static int encode_text(Job *j, Runtime *r, size_t text, float *vector)
{
    ErrorCode *status = &j->index.statuses[text];
    int e;

    if (job_is_batch(j) && *status != ERROR_NONE)
        return 0;
    e = encode_string(j, r, &j->args->texts[text], job_truncate(j, text), text, vector);
    if (e >= 0 || !job_is_batch(j) || j->failure.code == ERROR_DEVICE_LOST)
        return e;
    *status = j->failure.code;
    j->failure.code = ERROR_NONE;
    return 0;
}

/* What is searched for to answer a question; of a long one, its beginning. */
int job_encode_question(Job *j, Runtime *r)
{
    return encode_string(j, r, &j->args->question, TRUNCATE_HEAD, 0, j->index.question);
}

/* The medium's; a question needs its rows besides the vector. False: it is not to be kept. */
static bool media_key(const Job *j, const Media *m, const Prompt *prompt, CacheKey *ret_key)
{
    size_t i = j->n_encoded;

    if (prompt || !j->hashed[i])
        return false;
    *ret_key = (CacheKey){
        .modality = m->kind == MEDIA_IMAGE ? MODALITY_IMAGE : MODALITY_AUDIO,
        .truncate = job_truncate(j, i),
        .high_detail = job_high_detail(j, i),
    };
    memcpy(ret_key->content, j->contents[i], sizeof ret_key->content);
    memcpy(ret_key->region, job_region(j, i), sizeof ret_key->region);
    return true;
}

static int encode_media(Job *j, Runtime *r, Prompt *prompt, Media *m, float *vector)
{
    ImageView image = {m->rgb, m->width, m->height};
    AudioView audio = {m->samples, m->n_samples};
    Encoded encoded;
    CacheKey key;
    bool kept = media_key(j, m, prompt, &key);
    int e;

    if (kept && recall(j, r, &key, vector))
        return 0;
    e = m->kind == MEDIA_IMAGE
            ? encoders_image(r->encoders, &image, job_high_detail(j, j->n_encoded), &encoded)
            : encoders_audio(r->encoders, &audio, &encoded);
    if (e >= 0)
        e = space_project(r->space, &encoded, vector);
    if (e >= 0 && prompt)
        e = splice_media(r->splice, prompt, &encoded, vector);
    if (e < 0)
        return e;
    j->tokens += encoded.n;
    j->weight_bytes += r->encoder_bytes[encoded.modality];
    j->truncated[j->n_encoded] = m->truncated;
    if (kept)
        keep(j, r, &key, vector, encoded.n);
    return 0;
}

/* One bad item spoils a question, but not a batch. */
static int encode_medium(Job *j, Runtime *r, Prompt *prompt, size_t i, float *vector)
{
    Failure *failure = job_is_batch(j) ? &j->failures[i] : &j->failure;
    int e;

    if (j->failures[i].code != ERROR_NONE)
        return 0;
    e = encode_media(j, r, prompt, &j->media[i], vector);
    if (e >= 0)
        return 0;
    fail_model(failure, e);
    return failure == &j->failure ? -EBADMSG : 0;
}

int job_encode_next(Job *j, Runtime *r, Feed *feed)
{
    size_t i = j->n_encoded, n_media = j->args->n_media;
    Prompt *prompt = feed ? &feed->rows : NULL;
    float *vector = j->vectors + i * SPACE_LENGTH;
    int e = i < n_media ? encode_medium(j, r, prompt, i, vector)
                        : encode_text(j, r, i - n_media, vector);

    if (e < 0)
        return e;
    /* All zeros, which cannot be cut, stand for an item that has no vector. */
    (void)space_truncate(vector, j->args->options.dimension);
    j->n_encoded++;
    return 0;
}

static int score_compare(const void *a, const void *b)
{
    const WorkScore *x = a, *y = b;

    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->label < y->label ? -1 : 1;
}

/* Ranked by cosine: the probabilities of two sure matches may be the same number. */
static void score_labels(Job *j, const Runtime *r)
{
    size_t n = j->args->n_texts;

    for (size_t i = 0; i < n; i++)
        j->scores[i] = (WorkScore){
            i, space_cosine(j->vectors, j->vectors + (i + 1) * SPACE_LENGTH, SPACE_LENGTH)};
    qsort(j->scores, n, sizeof *j->scores, score_compare);
    for (size_t i = 0; i < n; i++)
        j->scores[i].score = space_match(r->space, (float)j->scores[i].score);
}

/* Whether questions were answered before it. */
static bool goes_on(const Job *j)
{
    return j->conversation && conversation_has_begun(j->conversation);
}

/* What a model that reads text alone cannot do. */
static int check_text_alone(Job *j, const Runtime *r)
{
    if (j->args->n_media > 0)
        return failure_set(&j->failure, ERROR_NOT_SUPPORTED,
                           "This model reads text alone: leave the media out, or name a model "
                           "with encoders by the option model.");
    if (j->args->options.effort != 0)
        return failure_set(&j->failure, ERROR_NOT_SUPPORTED,
                           "This model always computes as much: leave the option effort out.");
    if (j->args->options.system.data && !r->form)
        return failure_set(&j->failure, ERROR_NOT_SUPPORTED,
                           "This model knows no system text: leave the option system out.");
    return 0;
}

int job_encode_begin(Job *j, Runtime *r, Feed *feed)
{
    const String *system = &j->args->options.system;
    int e;

    feed_clear(feed);
    if (goes_on(j) && system->data)
        return failure_set(&j->failure, ERROR_INVALID_ARGS,
                           "The option system is for a session's first question.");
    if (!r->splice)
        return check_text_alone(j, r);
    e = goes_on(j) ? splice_token(r->splice, &feed->rows, j->conversation->last)
                   : splice_begin(r->splice, &feed->rows, system->data, system->length);
    return e < 0 ? fail_model(&j->failure, e) : 0;
}

/* The turns of a conversation, or the words alone where the model knows none. */
static int encode_turns(const Job *j, const Runtime *r, Feed *f, const ChatTurn *turns, size_t n,
                        size_t *ret_n)
{
    const Tokenizer *tokenizer = model_tokenizer(r->model);
    const ChatTurn *words = &turns[n - 1];
    int32_t *ids = f->ids + f->n_ids;
    size_t room = feed_room(f);
    bool think = j->args->options.think;

    if (!r->form && goes_on(j))
        return tokenizer_encode(tokenizer, words->text, words->length, ids, room, ret_n);
    if (!r->form)
        return chat_encode_plain(tokenizer, words->text, words->length, false, ids, room, ret_n);
    if (goes_on(j))
        return chat_encode_next(r->form, tokenizer, turns, n, think, ids, room, ret_n);
    return chat_encode(r->form, tokenizer, turns, n, think, ids, room, ret_n);
}

static int encode_text_alone(const Job *j, const Runtime *r, Feed *f, const char *words,
                             size_t length)
{
    const String *system = &j->args->options.system;
    ChatTurn turns[2];
    size_t n = 0, n_ids = 0;
    int e;

    if (goes_on(j) && j->conversation->last >= 0) {
        if (feed_room(f) == 0)
            return -E2BIG;
        f->ids[f->n_ids++] = j->conversation->last;
    }
    if (system->data)
        turns[n++] = (ChatTurn){CHAT_SYSTEM, system->data, system->length};
    turns[n++] = (ChatTurn){CHAT_USER, words, length};
    e = encode_turns(j, r, f, turns, n, &n_ids);
    if (e < 0)
        return e;
    f->n_ids += n_ids;
    return n_ids > 0 ? 0 : -EINVAL;
}

int job_encode_words(const Job *j, Runtime *r, Feed *feed, const char *words, size_t length)
{
    return r->splice ? splice_question(r->splice, &feed->rows, words, length)
                     : encode_text_alone(j, r, feed, words, length);
}

int job_encode_end(Job *j, Runtime *r, Feed *feed, size_t position)
{
    const String *question = &j->args->question;
    size_t before;
    int e;

    if (j->kind == WORK_CLASSIFY)
        score_labels(j, r);
    if (j->kind != WORK_ASK)
        return 0;
    before = feed_length(feed);
    e = *j->args->collection.name ? context_append(j, r, feed, position)
                                  : job_encode_words(j, r, feed, question->data, question->length);
    if (e < 0)
        return fail_model(&j->failure, e);
    j->tokens += feed_length(feed) - before;
    return 0;
}
