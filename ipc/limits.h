#pragma once

/*
 * Every ceiling on what a client may ask for, checked before anything is allocated. The Limits
 * property of the Manager publishes those that a client can run into.
 */

#define LIMIT_CALLS_PER_CONNECTION    16 /* calls and requests in flight */
#define LIMIT_CALLS_PER_UID           32
#define LIMIT_CALLS                   256
#define LIMIT_PEERS                   1024 /* connections remembered at a time */
#define LIMIT_SESSIONS_PER_CONNECTION 4
#define LIMIT_SESSIONS_PER_UID        8
#define LIMIT_SESSIONS                16
#define LIMIT_WAITERS                 4           /* unanswered Wait calls of one request */
#define LIMIT_MODELS                  64          /* shown on the bus */
#define LIMIT_MODEL_NAME              127         /* bytes */
#define LIMIT_LOADED_MODELS           4           /* in memory at a time */
#define LIMIT_TEXTS                   4096        /* texts of one EmbedText */
#define LIMIT_BULK_TEXTS              65536       /* of one EmbedBulk... */
#define LIMIT_BULK_BYTES              (16u << 20) /* ... and its memfd */
#define LIMIT_LABELS                  256         /* labels of one Classify */
#define LIMIT_TEXT_BYTES              65536       /* one text, label, question or system text */
#define LIMIT_TEXT_BYTES_ALL          (4u << 20)
#define LIMIT_MEDIA_ITEMS             8
#define LIMIT_MEDIA_TYPE              128          /* characters */
#define LIMIT_MEDIA_BYTES             (64u << 20)  /* of one encoded file */
#define LIMIT_MEDIA_BYTES_PER_UID     (256u << 20) /* queued */
#define LIMIT_INLINE_MEDIA_BYTES      (1u << 20)   /* media sent inside a message */
#define LIMIT_REPLY_BYTES             (1u << 20)   /* vectors sent inside a message */
#define LIMIT_COLLECTIONS             64           /* of one uid */
#define LIMIT_ITEMS                   1000000      /* in all collections of one uid */
#define LIMIT_INDEX_BYTES             (2ull << 30)
#define LIMIT_NAME                    255 /* bytes of a collection's name, an identifier, a word */
#define LIMIT_VALUE                   4096
#define LIMIT_PAIRS                   32
#define LIMIT_ITEMS_PER_CALL          4096
#define LIMIT_HITS                    1000 /* offset and limit of a search together */
#define LIMIT_SOURCES                 16   /* of an answer */
#define LIMIT_OPTIONS                 32
#define LIMIT_FOREIGN_BYTES           65536 /* of all x- options of a call */
#define LIMIT_HANDLE_TOKEN            64
#define LIMIT_ANSWER_TOKENS           1024
#define LIMIT_DEADLINE_MSEC           600000u
#define LIMIT_READERS_PER_UID         4 /* threads that read descriptors */
#define LIMIT_READERS                 32
/* Of the process: LIMIT_CALLS times what a message may hold, twice. */
#define LIMIT_DESCRIPTORS 8192

#define INPUT_DEADLINE_MSEC 10000u /* to read one pipe, socket or file */
#define REQUEST_KEEP_SEC    600u   /* see ServerFacts, as the next */
#define STREAM_STALL_SEC    60u
#define STREAM_PAYLOAD_MAX  4096 /* bytes of text in one frame */
