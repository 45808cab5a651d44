#include "daemon/ctl-file.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/sha256.h"
#include "ipc/text.h"

#define SCHEME "file://"

const char *file_media_type(const char *name)
{
    static const struct {
        const char *ending, *type;
    } known[] = {
        {"jpg", "image/jpeg"},  {"jpeg", "image/jpeg"}, {"jpe", "image/jpeg"},
        {"jfif", "image/jpeg"}, {"png", "image/png"},   {"webp", "image/webp"},
        {"wav", "audio/wav"},   {"wave", "audio/wav"},  {"flac", "audio/flac"},
        {"ogg", "audio/ogg"},   {"oga", "audio/ogg"},   {"opus", "audio/ogg"},
        {"mp3", "audio/mpeg"},
    };
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; dot && i < sizeof known / sizeof *known; i++)
        if (strcasecmp(dot + 1, known[i].ending) == 0)
            return known[i].type;
    return NULL;
}

/* Left as they are by GLib and Qt, too, so that all of us give a file the same URI. */
static bool is_plain(unsigned char c)
{
    return c < 0x80 && (isalnum(c) || strchr("-._~/!$&'()*+,:=@", c));
}

char *file_uri(const char *path)
{
    static const char digits[] = "0123456789ABCDEF";
    char *uri = malloc(sizeof SCHEME + 3 * strlen(path)), *end;

    if (!uri)
        return NULL;
    end = stpcpy(uri, SCHEME);
    for (const unsigned char *p = (const unsigned char *)path; *p; p++)
        if (is_plain(*p))
            *end++ = (char)*p;
        else {
            *end++ = '%';
            *end++ = digits[*p >> 4];
            *end++ = digits[*p & 15];
        }
    *end = '\0';
    return uri;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

char *file_path(const char *uri)
{
    char *path, *end;

    if (strncmp(uri, SCHEME "/", strlen(SCHEME "/")) != 0)
        return NULL;
    uri += strlen(SCHEME);
    path = end = malloc(strlen(uri) + 1);
    if (!path)
        return NULL;
    for (; *uri; uri++) {
        int c = (unsigned char)*uri;
        if (c == '%') {
            int high = hex(uri[1]), low = high < 0 ? -1 : hex(uri[2]);
            c = high * 16 + low;
            if (low < 0 || c == 0) { /* no path holds a NUL */
                free(path);
                return NULL;
            }
            uri += 2;
        }
        *end++ = (char)c;
    }
    *end = '\0';
    return path;
}

void file_id(const char *uri, char ret_id[FILE_ID_SIZE])
{
    uint8_t digest[32];
    size_t n = strlen(uri);
    char *end = ret_id;

    if (n < FILE_ID_SIZE) {
        memcpy(ret_id, uri, n + 1);
        return;
    }
    sha256(uri, n, digest);
    end = stpcpy(end, FILE_HASHED);
    for (size_t i = 0; i < sizeof digest; i++)
        end += sprintf(end, "%02x", digest[i]);
}

/* s [n] is one code point. Controls, and what turns the direction in which the rest is written. */
static bool is_command(const char *s, int n)
{
    const unsigned char *p = (const unsigned char *)s;

    if (n == 1)
        return p[0] < 0x20 || p[0] == 0x7f;
    if (n == 2) /* U+0080 to U+009F, U+061C */
        return (p[0] == 0xc2 && p[1] < 0xa0) || (p[0] == 0xd8 && p[1] == 0x9c);
    if (n == 3 && p[0] == 0xe2 && p[1] == 0x80) /* U+200E and U+200F, U+2028 to U+202E */
        return p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xa8 && p[2] <= 0xae);
    /* U+2066 to U+2069 */
    return n == 3 && p[0] == 0xe2 && p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9;
}

char *file_printable(const char *name)
{
    size_t left = strlen(name);
    char *text = malloc(left + 1), *end = text;

    if (!text)
        return NULL;
    while (left > 0) {
        int n = utf8_sequence(name, left);
        if (n <= 0 || is_command(name, n)) {
            *end++ = '?';
            n = n > 0 ? n : 1;
        } else
            end = mempcpy(end, name, (size_t)n);
        name += n;
        left -= (size_t)n;
    }
    *end = '\0';
    return text;
}

void file_print(FILE *file, const char *name)
{
    char *text = file_printable(name);

    fputs(text ? text : "?", file);
    free(text);
}
