#pragma once

/*
 * The Collection objects: their paths. They are not kept anywhere: a path names a uid and a
 * collection, and whether there is one of that name is known to the index alone.
 */

#include "ipc/work.h"

/* "<base>u<uid>/<name>", every byte of the name that is no letter or digit as _xx. Caller frees;
 * NULL: no memory. */
char *collection_path(const CollectionRef *ref);
/* Only the paths that collection_path() makes. */
bool collection_parse(const char *path, CollectionRef *ret_ref);
