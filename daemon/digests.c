#include "daemon/digests.h"

#include <assert.h>
#include <string.h>

const char *digests_find(const Digests *d, const ModelFiles *files)
{
    for (size_t i = 0; i < d->n; i++)
        if (model_files_same(&d->list[i].files, files))
            return d->list[i].digest;
    return NULL;
}

void digests_keep(Digests *d, const ModelFiles *files, const char *digest)
{
    DigestEntry *e = &d->list[d->n < LIMIT_MODELS ? d->n : d->next];

    assert(strlen(digest) < DIGEST_SIZE);
    if (d->n < LIMIT_MODELS)
        d->n++;
    else
        d->next = (d->next + 1) % LIMIT_MODELS;
    e->files = *files;
    strcpy(e->digest, digest);
}
