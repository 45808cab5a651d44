#pragma once

/*
 * The Collection objects: their paths. They are not kept anywhere: a path names a uid and a
 * collection, and whether there is one of that name is known to the index alone.
 */

#include "ipc/names.h"
#include "ipc/work.h"

/* The base, a u, ten digits, a slash, three bytes for each of the name, the end. */
#define COLLECTION_PATH_SIZE (sizeof PERCEPT_COLLECTIONS + 12 + 3 * LIMIT_NAME)

/* "<base>u<uid>/<name>", every byte of the name that is no letter or digit as _xx. Both functions
 * allocate nothing: that memory is short must not read as "there is no such object". */
void collection_path(const CollectionRef *ref, char path[COLLECTION_PATH_SIZE]);
/* Only the paths that collection_path() makes. */
bool collection_parse(const char *path, CollectionRef *ret_ref);
