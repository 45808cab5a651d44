#include "daemon/ctl-terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <termios.h>
#include <time.h>

#include "engine/base/cleanup.h"

#define ANSWER_MSEC 300 /* a terminal at the end of a slow line shows no pictures */
#define ANSWER_MAX  1024
#define KITTY_CHUNK 4096

/* A picture of one pixel that is only to be checked, by the protocol of kitty, and then the device
 * attributes, which every terminal answers: whatever precedes that answer is the whole of it. */
#define QUERY_KITTY  "\033_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\033\\"
#define QUERY_DEVICE "\033[c"

/* Whether `; 4` is among the parameters of "ESC [ ? 62 ; 4 c". */
static bool has_sixel(const char *p, const char *end)
{
    for (int value = -1; p < end && *p != 'c'; p++) {
        if (*p >= '0' && *p <= '9')
            value = (value > 0 ? value : 0) * 10 % 10000 + (*p - '0');
        else
            value = -1;
        if (value == 4 && (p + 1 == end || p[1] == ';' || p[1] == 'c'))
            return true;
    }
    return false;
}

TerminalPictures terminal_answer(const char *answer, size_t n)
{
    static const char good[] = "\033_Gi=31;OK\033\\", device[] = "\033[?";
    const char *attributes = memmem(answer, n, device, sizeof device - 1);

    if (memmem(answer, n, good, sizeof good - 1))
        return PICTURES_KITTY;
    return attributes && has_sixel(attributes + sizeof device - 1, answer + n) ? PICTURES_SIXEL
                                                                               : PICTURES_NONE;
}

static bool is_complete(const char *answer, size_t n)
{
    const char *attributes = memmem(answer, n, "\033[?", 3);

    return attributes && memchr(attributes, 'c', (size_t)(answer + n - attributes));
}

static long now_msec(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static size_t read_answer(int fd, char answer[ANSWER_MAX])
{
    long end = now_msec() + ANSWER_MSEC;
    size_t n = 0;

    while (n < ANSWER_MAX && !is_complete(answer, n)) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        long left = end - now_msec();
        ssize_t got;

        if (left <= 0 || poll(&p, 1, (int)left) <= 0)
            break;
        got = read(fd, answer + n, ANSWER_MAX - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    return n;
}

/* Multiplexers and the console would show the question of kitty, or take it for a title. */
static const char *question(void)
{
    static const char *const none[] = {"", "dumb", "linux", "vt52", "emacs", "eterm-color"};
    const char *term = getenv("TERM");

    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        if (!term || strcmp(term, none[i]) == 0)
            return NULL;
    if (strncmp(term, "tmux", 4) == 0 || strncmp(term, "screen", 6) == 0)
        return QUERY_DEVICE;
    return QUERY_KITTY QUERY_DEVICE;
}

/* The terminal does not echo the answer, and no signal leaves it so: they are blocked for as long
 * as it takes. */
static TerminalPictures ask(int fd, const char *text)
{
    struct termios before, raw;
    sigset_t all, mask;
    char answer[ANSWER_MAX];
    size_t n = 0;

    if (tcgetattr(fd, &before) < 0)
        return PICTURES_NONE;
    raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &mask);
    if (tcsetattr(fd, TCSADRAIN, &raw) == 0) {
        if (write(fd, text, strlen(text)) == (ssize_t)strlen(text))
            n = read_answer(fd, answer);
        tcsetattr(fd, TCSADRAIN, &before);
    }
    sigprocmask(SIG_SETMASK, &mask, NULL);
    return terminal_answer(answer, n);
}

TerminalPictures terminal_pictures(void)
{
    const char *text = question();
    _cleanup_close_ int fd = -1;

    if (!text || !isatty(STDOUT_FILENO))
        return PICTURES_NONE;
    fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    /* In the background the question would stop us. */
    if (fd < 0 || tcgetpgrp(fd) != getpgrp())
        return PICTURES_NONE;
    return ask(fd, text);
}

/* ---- kitty ---- */

static void write_base64(FILE *file, const uint8_t *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)(i + 1 < n ? p[i + 1] : 0) << 8 |
                     (i + 2 < n ? p[i + 2] : 0);
        putc(digits[v >> 18], file);
        putc(digits[v >> 12 & 63], file);
        putc(i + 1 < n ? digits[v >> 6 & 63] : '=', file);
        putc(i + 2 < n ? digits[v & 63] : '=', file);
    }
}

static void draw_kitty(FILE *file, const Thumbnail *t)
{
    size_t size = (size_t)t->width * t->height * 3, chunk = KITTY_CHUNK / 4 * 3;

    for (size_t i = 0; i < size; i += chunk) {
        size_t n = size - i < chunk ? size - i : chunk;
        bool more = i + n < size;

        fputs("\033_G", file);
        if (i == 0) /* transmit and show, without an answer that would become input */
            fprintf(file, "a=T,q=2,f=24,s=%u,v=%u,", t->width, t->height);
        fprintf(file, "m=%d;", more);
        write_base64(file, t->rgb + i, n);
        fputs("\033\\", file);
    }
    putc('\n', file);
}

/* ---- sixel: bands of six rows, in a cube of 6 by 6 by 6 colours ---- */

#define LEVELS  6
#define COLOURS (LEVELS * LEVELS * LEVELS)

static unsigned colour_at(const Thumbnail *t, uint32_t x, uint32_t y)
{
    /* Ordered dithering: thresholds of a 4 by 4 square, sixteenths of a step. */
    static const uint8_t square[4][4] = {
        {0, 8, 2, 10}, {12, 4, 14, 6}, {3, 11, 1, 9}, {15, 7, 13, 5}};
    const uint8_t *p = t->rgb + ((size_t)y * t->width + x) * 3;
    unsigned colour = 0;

    for (unsigned c = 0; c < 3; c++) {
        unsigned scaled = p[c] * (LEVELS - 1) * 16 / 255 + square[y & 3][x & 3];
        unsigned level = scaled / 16;
        colour = colour * LEVELS + (level < LEVELS ? level : LEVELS - 1);
    }
    return colour;
}

static void write_run(FILE *file, int c, unsigned n)
{
    if (n > 3)
        fprintf(file, "!%u%c", n, c);
    else
        while (n-- > 0)
            putc(c, file);
}

/* One colour of a band. */
static void write_band(FILE *file, const uint8_t *colours, uint32_t width, uint32_t rows,
                       unsigned colour)
{
    unsigned run = 0;
    int last = '?';

    fprintf(file, "#%u", colour);
    for (uint32_t x = 0; x < width; x++) {
        int c = '?';
        for (uint32_t y = 0; y < rows; y++)
            if (colours[y * width + x] == colour)
                c += 1 << y;
        if (c != last) {
            write_run(file, last, run);
            run = 0;
        }
        last = c;
        run++;
    }
    if (last != '?')
        write_run(file, last, run);
    putc('$', file);
}

static void draw_sixel(FILE *file, const Thumbnail *t)
{
    _cleanup_free_ uint8_t *band = malloc((size_t)t->width * 6);

    if (!band)
        return;
    fprintf(file, "\033P0;1;0q\"1;1;%u;%u", t->width, t->height);
    for (unsigned i = 0; i < COLOURS; i++)
        fprintf(file, "#%u;2;%u;%u;%u", i, i / 36 * 20, i / 6 % 6 * 20, i % 6 * 20);
    for (uint32_t top = 0; top < t->height; top += 6) {
        uint32_t rows = t->height - top < 6 ? t->height - top : 6;
        bool used[COLOURS] = {false};

        for (uint32_t y = 0; y < rows; y++)
            for (uint32_t x = 0; x < t->width; x++) {
                unsigned colour = colour_at(t, x, top + y);
                band[y * t->width + x] = (uint8_t)colour;
                used[colour] = true;
            }
        for (unsigned i = 0; i < COLOURS; i++)
            if (used[i])
                write_band(file, band, t->width, rows, i);
        putc('-', file);
    }
    fputs("\033\\\n", file);
}

void terminal_draw(FILE *file, TerminalPictures how, const Thumbnail *t)
{
    if (how == PICTURES_KITTY)
        draw_kitty(file, t);
    else if (how == PICTURES_SIXEL)
        draw_sixel(file, t);
}
