#include "ipc/collection.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"
#include "ipc/names.h"
#include "ipc/text.h"

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

char *collection_path(const CollectionRef *ref)
{
    char escaped[3 * LIMIT_NAME + 1], *end = escaped, *path;

    for (const char *c = ref->name; *c; c++)
        if (is_plain(*c))
            *end++ = *c;
        else
            end += sprintf(end, "_%02x", (unsigned char)*c);
    *end = '\0';
    return asprintf(&path, PERCEPT_COLLECTIONS "u%u/%s", ref->uid, escaped) < 0 ? NULL : path;
}

static bool unescape(const char *s, char name[LIMIT_NAME + 1])
{
    size_t n = 0;

    for (; *s; n++) {
        unsigned byte;

        if (n == LIMIT_NAME)
            return false;
        if (*s != '_') {
            name[n] = *s++;
            continue;
        }
        if (!isxdigit((unsigned char)s[1]) || sscanf(s + 1, "%2x", &byte) != 1 || byte == 0 ||
            !isxdigit((unsigned char)s[2]))
            return false;
        name[n] = (char)byte;
        s += 3;
    }
    name[n] = '\0';
    return n > 0 && utf8_is_sound(name, n);
}

bool collection_parse(const char *path, CollectionRef *ret_ref)
{
    const char *s = path + strlen(PERCEPT_COLLECTIONS);
    _cleanup_free_ char *again = NULL;
    CollectionRef ref;
    char *end;
    unsigned long uid;

    if (strncmp(path, PERCEPT_COLLECTIONS, strlen(PERCEPT_COLLECTIONS)) != 0 || *s != 'u' ||
        !isdigit((unsigned char)s[1]))
        return false;
    errno = 0;
    uid = strtoul(s + 1, &end, 10);
    ref.uid = (uid_t)uid;
    if (errno || ref.uid != uid || *end != '/' || !unescape(end + 1, ref.name))
        return false;
    /* One object has one path: no leading zeros, no letters written as numbers. */
    again = collection_path(&ref);
    if (!again || strcmp(again, path) != 0)
        return false;
    *ret_ref = ref;
    return true;
}
