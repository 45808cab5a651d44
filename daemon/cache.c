#include "daemon/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Where a key may stand follows from its digest, so that neither look-up nor eviction walks far. */
#define WAYS 4
#define SETS (CACHE_VECTORS / WAYS)

typedef struct Entry {
    CacheKey key;
    CacheValue value;
    uint64_t used; /* turn; 0: free */
} Entry;

typedef struct Share {
    uid_t uid;
    uint64_t used; /* turn; 0: free */
    Entry entries[SETS][WAYS];
} Share;

struct Cache {
    uint64_t turn;
    Share shares[CACHE_USERS];
};

int cache_new(Cache **ret_cache)
{
    Cache *c = calloc(1, sizeof *c);

    if (!c)
        return -ENOMEM;
    *ret_cache = c;
    return 0;
}

Cache *cache_free(Cache *c)
{
    free(c);
    return NULL;
}

static Share *share_find(Cache *c, uid_t uid)
{
    for (size_t i = 0; i < CACHE_USERS; i++)
        if (c->shares[i].used > 0 && c->shares[i].uid == uid)
            return &c->shares[i];
    return NULL;
}

static Share *share_take(Cache *c, uid_t uid)
{
    Share *oldest = &c->shares[0];

    for (size_t i = 1; i < CACHE_USERS; i++)
        if (c->shares[i].used < oldest->used)
            oldest = &c->shares[i];
    if (oldest->used > 0)
        memset(oldest, 0, sizeof *oldest); /* nothing of its user is left to the next */
    oldest->uid = uid;
    return oldest;
}

static Entry *set_of(Share *s, const CacheKey *key)
{
    return s->entries[key->content[0] % SETS];
}

static Entry *entry_find(Entry *set, const CacheKey *key)
{
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].used > 0 && memcmp(&set[i].key, key, sizeof *key) == 0)
            return &set[i];
    return NULL;
}

const CacheValue *cache_get(Cache *c, uid_t uid, const CacheKey *key)
{
    Share *s = share_find(c, uid);
    Entry *e = s ? entry_find(set_of(s, key), key) : NULL;

    if (!e)
        return NULL;
    e->used = s->used = ++c->turn;
    return &e->value;
}

/* Where a new one goes: the place that was used longest ago. */
static Entry *entry_oldest(Entry *set)
{
    Entry *oldest = &set[0];

    for (size_t i = 1; i < WAYS; i++)
        if (set[i].used < oldest->used)
            oldest = &set[i];
    return oldest;
}

void cache_put(Cache *c, uid_t uid, const CacheKey *key, const CacheValue *value)
{
    Share *s = share_find(c, uid);
    Entry *set, *e;

    if (!s)
        s = share_take(c, uid);
    set = set_of(s, key);
    e = entry_find(set, key);
    if (!e)
        e = entry_oldest(set);
    *e = (Entry){*key, *value, ++c->turn};
    s->used = c->turn;
}
