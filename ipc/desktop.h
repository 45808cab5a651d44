#pragma once

/*
 * The searches of desktops, as they come over the session bus: org.gnome.Shell.SearchProvider2 and
 * org.kde.krunner1, both on one object. Calls are served one after the other; of searches that
 * wait, which are what somebody typed meanwhile, only a caller's last one is carried out.
 */

#include <stddef.h>
#include <stdint.h>

#include "ipc/client.h"

#define DESKTOP_BUS_NAME    "org.perceptd.Percept1.Search"
#define DESKTOP_PATH        "/org/perceptd/Percept1/Search"
#define DESKTOP_HITS_MAX    10
#define DESKTOP_LETTERS_MIN 3   /* less says nothing */
#define DESKTOP_IDS_MAX     256 /* described in one call */

/* What was found. Strings are sound UTF-8, on the heap. */
typedef struct DesktopHit {
    char *id;               /* which the desktop gives back */
    char *name, *place;     /* shown in a line each */
    const char *icon;       /* of the desktop's theme */
    const uint8_t *picture; /* [height, width, 3], borrowed until the next search; NULL: the icon */
    uint32_t width, height;
    double score; /* 0 to 1 */
} DesktopHit;

typedef struct DesktopHits {
    DesktopHit items[DESKTOP_IDS_MAX];
    size_t n;
} DesktopHits;

void desktop_hits_clear(DesktopHits *h);

typedef struct DesktopHandlers {
    /* At most DESKTOP_HITS_MAX, the best first, with pictures if so wished; none on failure. */
    void (*search)(void *userdata, const char *text, bool pictures, DesktopHits *ret_hits);
    /* One that was found before. Negative: it cannot be described any more. */
    int (*describe)(void *userdata, const char *id, DesktopHit *ret_hit);
    /* token: of the desktop's, for the window that opens; may be empty. */
    void (*open)(void *userdata, const char *id, bool folder, const char *token);
    /* Shows everything that is found, in a window of its own. */
    void (*show)(void *userdata, const char *text);
    /* The desktop has closed its search. */
    void (*rest)(void *userdata);
} DesktopHandlers;

/* Takes the name on the bus ("session" or an address) and serves until it is idle for so long, or
 * the bus goes away; then 0. */
int desktop_serve(const char *bus, const DesktopHandlers *handlers, void *userdata,
                  unsigned idle_msec, ClientError *ret_error);
