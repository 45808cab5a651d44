#include "daemon/cache.h"

#include <string.h>

#include "tests/test.h"

/* Keys of one set, so that they have to make room for each other. */
static CacheKey key_of(uint8_t set, uint8_t n)
{
    CacheKey key = {.modality = 1};

    key.content[0] = set;
    key.content[1] = n;
    return key;
}

static void put(Cache *c, uid_t uid, uint8_t set, uint8_t n, float value)
{
    const CacheKey key = key_of(set, n);
    const CacheValue v = {.vector = {value}, .tokens = n, .truncated = n % 2};

    cache_put(c, uid, &key, &v);
}

/* -1: not there. */
static float get(Cache *c, uid_t uid, uint8_t set, uint8_t n)
{
    const CacheKey key = key_of(set, n);
    const CacheValue *v = cache_get(c, uid, &key);

    if (!v)
        return -1;
    ASSERT_EQ(v->tokens, n);
    ASSERT_EQ(v->truncated, n % 2);
    return v->vector[0];
}

static void test_kept(void)
{
    _cleanup_(cache_freep) Cache *c = NULL;
    CacheKey key = key_of(7, 1);

    ASSERT_OK(cache_new(&c));
    ASSERT(get(c, 1000, 7, 1) == -1);
    put(c, 1000, 7, 1, 0.5f);
    ASSERT(get(c, 1000, 7, 1) == 0.5f);
    ASSERT(get(c, 1001, 7, 1) == -1);
    ASSERT(get(c, 0, 7, 1) == -1);
    key.region[3] = 1;
    ASSERT(!cache_get(c, 1000, &key));
    put(c, 1000, 7, 1, 0.25f);
    ASSERT(get(c, 1000, 7, 1) == 0.25f);
}

static void test_oldest_gives_way(void)
{
    _cleanup_(cache_freep) Cache *c = NULL;

    ASSERT_OK(cache_new(&c));
    put(c, 1000, 9, 0, 9); /* of another set */
    for (uint8_t n = 0; n < 4; n++)
        put(c, 1000, 8, n, n);
    ASSERT(get(c, 1000, 8, 0) == 0); /* used again */
    put(c, 1000, 8, 4, 4);
    ASSERT(get(c, 1000, 8, 0) == 0);
    ASSERT(get(c, 1000, 8, 1) == -1);
    ASSERT(get(c, 1000, 8, 2) == 2 && get(c, 1000, 8, 3) == 3 && get(c, 1000, 8, 4) == 4);
    ASSERT(get(c, 1000, 9, 0) == 9);
}

static void test_users(void)
{
    _cleanup_(cache_freep) Cache *c = NULL;

    ASSERT_OK(cache_new(&c));
    for (uid_t uid = 0; uid < CACHE_USERS; uid++)
        put(c, uid, 3, 1, (float)uid);
    ASSERT(get(c, 0, 3, 1) == 0); /* used again */
    put(c, 5000, 3, 1, 7);
    ASSERT(get(c, 0, 3, 1) == 0);
    ASSERT(get(c, 1, 3, 1) == -1); /* the oldest */
    ASSERT(get(c, 2, 3, 1) == 2);
    ASSERT(get(c, 5000, 3, 1) == 7);

    /* The last one's share is empty for the next. */
    put(c, 1, 4, 1, 1);
    ASSERT(get(c, 1, 4, 1) == 1);
    for (uid_t uid = 100; uid < 100 + CACHE_USERS; uid++) {
        put(c, uid, 200, 1, 0);
        for (unsigned set = 0; set < 256; set++)
            ASSERT(get(c, uid, (uint8_t)set, 1) == (set == 200 ? 0 : -1));
    }
}

int main(void)
{
    RUN(test_kept);
    RUN(test_oldest_gives_way);
    RUN(test_users);
    return 0;
}
