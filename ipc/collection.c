#include "ipc/collection.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/text.h"

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

void collection_path(const CollectionRef *ref, char path[COLLECTION_PATH_SIZE])
{
    char *end = path + sprintf(path, PERCEPT_COLLECTIONS "u%u/", ref->uid);

    for (const char *c = ref->name; *c; c++)
        if (is_plain(*c))
            *end++ = *c;
        else
            end += sprintf(end, "_%02x", (unsigned char)*c);
    *end = '\0';
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
    char again[COLLECTION_PATH_SIZE], *end;
    CollectionRef ref;
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
    collection_path(&ref, again);
    if (strcmp(again, path) != 0)
        return false;
    *ret_ref = ref;
    return true;
}
