#pragma once

/* Memory that can be handed over: memfds, sealed so that neither side can change them any more. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What makes the content safe to use while a client holds the same descriptor. */
#define MEMORY_SEALS_REQUIRED (F_SEAL_SHRINK | F_SEAL_WRITE)

/* A memfd that takes seals and cannot be executed, or a negative errno. */
int memory_new(void);
int memory_write(int fd, const void *data, size_t size);
/* All four seals. */
int memory_seal(int fd);
/* Whether neither size nor content can be changed by anybody. */
int memory_is_sealed(int fd);
