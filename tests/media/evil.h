#pragma once

/* Lies of evil-helper.c. */

typedef enum Evil {
    EVIL_NONE, /* a picture of 2 x 2 black pixels */
    EVIL_GIANT,
    EVIL_OVERFLOW,
    EVIL_SHORT_RESULT,
    EVIL_NO_RESULT,
    EVIL_WRITABLE, /* keeps a mapping through which it could change the result afterwards */
    EVIL_REASON,
    EVIL_KIND,
    EVIL_OTHER_KIND,
    EVIL_SILENT,
    EVIL_SHORT_REPLY,
    EVIL_LONG_REPLY,
} Evil;
