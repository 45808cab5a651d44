#pragma once

/*
 * What AddVectors takes: a memfd, sealed against change.
 *
 *     u8  magic[8]   "perceptv"
 *     u32 count      little-endian, as all numbers
 *     u32 zero
 *     vectors        count times 256 numbers of the option dtype
 *     texts          count times: identifier, NUL, text, NUL; UTF-8
 *
 * Nothing stands behind the last NUL.
 */

#include "ipc/handlers.h"

#define VECTORS_MAGIC       "perceptv"
#define VECTORS_HEADER_SIZE 16

/* Of the content in args->bulk, NUL-terminated besides, once the options are read: the items, their
 * texts and vectors. -EBADMSG with the failure set, or -ENOMEM. */
int vectors_parse(size_t space_length, WorkArgs *args, Failure *failure);
