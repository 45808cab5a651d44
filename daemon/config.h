#pragma once

/*
 * perceptd.conf: sections of Key=Value lines, comments after # or ;. A file is read into a new
 * Config, which replaces the old one only if all of it is sound.
 *
 *     [Model]
 *     Name=percept-spark     file name in the model folders, without .gguf, or a path
 *     Precision=int8         int8 or f32
 *     Cache=yes              keep vectors for when the same user hands in the same again; or no
 *     IdleUnloadSec=300      seconds without a call until the weights are let go; 0: never
 *     Context=8192           most tokens of a conversation, of models that read text alone
 *     [Engine]
 *     Threads=0              0: as many as the process may use
 *     Cpu=native             or plain, avx2, avx512, avx512vnni, avx512bf16
 *     MemoryBudget=0         bytes of weights and buffers, K, M, G, T allowed; 0: no limit
 *     [Answers]
 *     MaxTokens=256          where a question says nothing
 *     [Log]
 *     Level=info             error, warning, notice, info or debug
 */

#include <stdbool.h>
#include <stdint.h>

#include "engine/backend.h"
#include "engine/base/cleanup.h"
#include "engine/base/log.h"

#define CONFIG_NAME_MAX  4096
#define CONFIG_ERROR_MAX 256

typedef struct Config {
    char model[CONFIG_NAME_MAX];
    Precision precision;
    unsigned threads, cpu_mask;
    uint64_t memory_budget; /* 0: none */
    uint32_t context;       /* tokens of a conversation, of models that read text alone */
    uint32_t max_tokens;
    bool cache;               /* of vectors */
    unsigned idle_unload_sec; /* 0: never */
    LogLevel log_level;
} Config;

void config_init(Config *c);
/* Reads a file over the defaults. -ENOENT: no such file; -EBADMSG: ret_error says which line and
 * why. */
int config_load(const char *path, Config *ret_config, char ret_error[CONFIG_ERROR_MAX]);
/* Whether models that are loaded by the one serve the other as well; which one is selected does not
 * matter. */
bool config_same_engine(const Config *a, const Config *b);
