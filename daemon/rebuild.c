#include "daemon/rebuild.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct Rebuild {
    WorkArgs args;
    Job *job;
};

static int alloc_args(WorkArgs *args)
{
    args->texts = calloc(REBUILD_TEXTS, sizeof *args->texts);
    args->collection.items = calloc(REBUILD_TEXTS, sizeof *args->collection.items);
    return args->texts && args->collection.items ? 0 : -ENOMEM;
}

int rebuild_new(const CollectionArgs *collection, const char *digest, Account *account,
                Rebuild **ret_rebuild)
{
    Rebuild *r = calloc(1, sizeof *r);
    int e;

    if (!r)
        return -ENOMEM;
    r->args.kind = WORK_REBUILD;
    r->args.options.dimension = SPACE_LENGTH;
    r->args.collection.uid = collection->uid;
    strcpy(r->args.collection.name, collection->name);
    e = alloc_args(&r->args);
    if (e >= 0) { /* the job is made for as many items as there may be */
        r->args.n_texts = r->args.collection.n_items = REBUILD_TEXTS;
        e = job_new_own(&r->args, account, &r->job);
    }
    if (e < 0) {
        rebuild_free(r);
        return e;
    }
    strcpy(r->job->digest, digest);
    *ret_rebuild = r;
    return 0;
}

Rebuild *rebuild_free(Rebuild *r)
{
    if (!r)
        return NULL;
    job_free(r->job);
    free(r->args.texts);
    free(r->args.collection.items);
    free(r);
    return NULL;
}

Job *rebuild_job(Rebuild *r)
{
    return r->job;
}
