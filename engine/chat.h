#pragma once

/*
 * Conversations as the text that published models were trained on. Which form a model has follows
 * from the tokens of its vocabulary and from its family; the forms are rows of chat.c. What people
 * wrote never becomes a control token.
 */

#include "engine/base/tokenizer.h"

typedef enum ChatRole {
    CHAT_SYSTEM,
    CHAT_USER,
    CHAT_ASSISTANT,
    _CHAT_ROLE_COUNT,
} ChatRole;

typedef struct ChatTurn {
    ChatRole role;
    const char *text;
    size_t length;
} ChatTurn;

#define CHAT_TURNS_MAX 256

typedef struct ChatForm ChatForm;

/* NULL: the model has none that we know. */
const ChatForm *chat_find(const Tokenizer *tokenizer, const char *family);
const char *chat_name(const ChatForm *form);
/* Whether answers may begin with thoughts that can be left out. */
bool chat_can_think(const ChatForm *form, const Tokenizer *tokenizer);

/* Ids of turns and of what an answer begins with. think false: the answer comes at once, where the
 * form has a way to say so. Errors as in tokenizer_encode(); -E2BIG also for too many turns. */
int chat_encode(const ChatForm *form, const Tokenizer *tokenizer, const ChatTurn *turns, size_t n,
                bool think, int32_t *ids, size_t max, size_t *ret_count);
/* The same behind an answer, which the ids end first: without the token that stopped it. */
int chat_encode_next(const ChatForm *form, const Tokenizer *tokenizer, const ChatTurn *turns,
                     size_t n, bool think, int32_t *ids, size_t max, size_t *ret_count);
/* For a model without a form: the text alone, behind the token that its texts begin with. markup:
 * spellings of control tokens become those tokens. */
int chat_encode_plain(const Tokenizer *tokenizer, const char *text, size_t length, bool markup,
                      int32_t *ids, size_t max, size_t *ret_count);
