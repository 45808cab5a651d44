#pragma once

/*
 * The texts of EmbedBulk: a memfd, sealed against change, of a header and the texts.
 *
 *     u8  magic[8]   "percept1"
 *     u32 count      little-endian, as is the next
 *     u32 zero
 *     texts          count times: UTF-8 and a NUL
 *
 * Nothing stands behind the last NUL.
 */

#include "ipc/handlers.h"

#define BULK_MAGIC       "percept1"
#define BULK_HEADER_SIZE 16

/* Reads what fd holds into args->bulk, NUL-terminated besides. -EBADMSG with the failure set, or
 * -ENOMEM. */
int bulk_read(int fd, WorkArgs *args, Failure *failure);
/* args->texts of the content. */
int bulk_parse(size_t size, WorkArgs *args, Failure *failure);
