#include "daemon/collection.h"

#include <stdio.h>
#include <string.h>

static const char *const modality_names[] = {
    [MODALITY_TEXT] = "text", [MODALITY_IMAGE] = "image", [MODALITY_AUDIO] = "audio"};

static WorkRecord record_of(const IndexRecord *r)
{
    bool has_text = r->text && r->modality == MODALITY_TEXT;

    return (WorkRecord){
        .id = r->id,
        .modality = modality_names[r->modality],
        .text = has_text ? r->text : NULL,
        .pairs = (const WordPair *)(const void *)r->pairs,
        .n_pairs = r->n_pairs,
        .stale = r->stale,
        .score = r->score,
        .rank = r->rank,
    };
}

/* Of Get, or of a search with its info. */
static void finish_records(Job *j, const WorkInfo *info)
{
    size_t n = j->index.records.n;
    _cleanup_free_ WorkRecord *list = calloc(n + 1, sizeof *list);

    if (!list) {
        work_fail(j->work, ERROR_NO_MEMORY, "Out of memory.");
        return;
    }
    for (size_t i = 0; i < n; i++)
        list[i] = record_of(&j->index.records.list[i]);
    if (info)
        work_finish_hits(j->work, list, n, info);
    else if (j->kind == WORK_LIST)
        work_finish_names(j->work, list, n);
    else
        work_finish_records(j->work, list, n);
}

static const char *state_of(const IndexCollection *c, const char *digest, const char *loaded)
{
    if (c->n_items == 0 || !*loaded || strcmp(digest, loaded) == 0)
        return c->rebuilding ? "rebuilding" : "ready";
    return "mismatch";
}

/* j->digest is that of the loaded model, if one is. */
static void finish_list(Job *j)
{
    static const char digits[] = "0123456789abcdef";
    char digests[INDEX_COLLECTIONS_MAX][2 * INDEX_DIGEST + 1] = {0};
    WorkCollection list[INDEX_COLLECTIONS_MAX];

    for (size_t i = 0; i < j->index.n_list; i++) {
        const IndexCollection *c = &j->index.list[i];

        for (size_t k = 0; c->has_model && k < INDEX_DIGEST; k++) {
            digests[i][2 * k] = digits[c->digest[k] >> 4];
            digests[i][2 * k + 1] = digits[c->digest[k] & 15];
        }
        list[i] = (WorkCollection){
            .name = c->name,
            .model = digests[i],
            .state = state_of(c, digests[i], j->digest),
            .n_items = c->n_items,
            .n_stale = c->n_stale,
            .progress = c->progress,
        };
    }
    work_finish_collections(j->work, list, j->index.n_list);
}

void collection_finish(Job *j, const WorkInfo *info)
{
    WorkInfo search_info = *info;

    search_info.search = true;
    search_info.more = j->index.more;
    switch (j->kind) {
    case WORK_OPEN_COLLECTION:
        work_finish_opened(j->work);
        return;
    case WORK_LIST_COLLECTIONS:
        finish_list(j);
        return;
    case WORK_ADD_TEXT:
    case WORK_ADD_MEDIA:
        work_finish_statuses(j->work, j->index.statuses);
        return;
    case WORK_ADD_VECTORS:
    case WORK_REMOVE:
        work_finish_count(j->work, j->index.count);
        return;
    case WORK_GET:
    case WORK_LIST:
        finish_records(j, NULL);
        return;
    case WORK_SEARCH:
    case WORK_SEARCH_MEDIA:
    case WORK_SEARCH_VECTOR:
        finish_records(j, &search_info);
        return;
    default:
        work_finish_empty(j->work);
        return;
    }
}

void collection_tell_sources(Job *j)
{
    WorkRecord list[LIMIT_SOURCES];
    size_t n = 0;

    if (j->index.told)
        return;
    j->index.told = true;
    for (size_t i = 0; i < j->index.records.n; i++)
        if (j->index.used[i])
            list[n++] = record_of(&j->index.records.list[i]);
    work_sources(j->work, list, n);
}
