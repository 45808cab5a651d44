#pragma once

/*
 * Vectors of what was encoded before: the same label, search or picture often comes again. Bounded,
 * and kept apart by uid, so that nobody can tell by a quick reply what another has asked. It is a
 * loaded model's, and leaves memory with it. The worker's thread only.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/base/cleanup.h"
#include "fusion/space.h"

#define CACHE_USERS    16           /* the one that has used it longest ago gives way */
#define CACHE_VECTORS  512          /* of each */
#define CACHE_FILE_MAX (256u << 10) /* a larger file takes too long to look at for a chance */

/* Everything that a vector follows from, but for the model. Zeroed before it is filled: all of its
 * bytes count. */
typedef struct CacheKey {
    uint8_t content[32]; /* SHA-256 of the text or of the encoded file */
    uint32_t region[4];
    uint32_t modality, truncate, high_detail;
} CacheKey;

typedef struct CacheValue {
    float vector[SPACE_LENGTH]; /* whole */
    uint32_t tokens;
    bool truncated;
} CacheValue;

typedef struct Cache Cache;

/* Memory is taken now, and used as it fills. */
int cache_new(Cache **ret_cache);
Cache *cache_free(Cache *c);
DEFINE_CLEANUP(Cache *, cache_free);

/* NULL: not there. Valid until the next call. */
const CacheValue *cache_get(Cache *c, uid_t uid, const CacheKey *key);
void cache_put(Cache *c, uid_t uid, const CacheKey *key, const CacheValue *value);
