/* Built without SQLite: every call about a collection says so. */

#include "daemon/collections.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/collection.h"

struct Collections {
    Posts posts;
};

int collections_new(const char *folder, unsigned cpu_mask, Collections **ret_collections)
{
    _cleanup_free_ Collections *c = calloc(1, sizeof *c);
    int r;

    (void)folder, (void)cpu_mask;
    if (!c)
        return -ENOMEM;
    r = posts_init(&c->posts);
    if (r < 0)
        return r;
    *ret_collections = steal_ptr(&c);
    return 0;
}

Collections *collections_free(Collections *c)
{
    if (!c)
        return NULL;
    posts_deinit(&c->posts);
    free(c);
    return NULL;
}

void collections_submit(Collections *c, Job *j)
{
    failure_set(&j->failure, ERROR_NOT_SUPPORTED, "This service was built without an index.");
    posts_end(&c->posts, j);
}

Posts *collections_posts(Collections *c)
{
    return &c->posts;
}

/* What the index's own library frees. */
void index_records_free(IndexRecords *r)
{
    *r = (IndexRecords){0};
}

void index_texts_free(IndexText *texts, size_t n)
{
    (void)texts, (void)n;
}
