#pragma once

/* The arguments of the calls about collections: what args_read() does with them. */

#include "ipc/args.h"

bool collection_args_kind(WorkKind kind);
int collection_args_read(DBusMessageIter *iter, WorkKind kind, const ServerFacts *facts,
                         WorkArgs *args, Failure *failure);
/* A name, identifier or word: 1 to LIMIT_NAME bytes. */
int args_check_name(const char *name, const char *what, Failure *failure);
/* Options metadata and filter, at an a{ss}. */
int args_read_pairs(DBusMessageIter *iter, const char *what, WordPair **pairs, size_t *n,
                    Failure *failure);
