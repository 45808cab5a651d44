#include "daemon/ctl-progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define DRAW_MSEC   100
#define SAMPLE_MSEC 250

static uint64_t now_msec(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static size_t columns_of_terminal(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* "3:07", or "1:02:03" */
static void write_time(char *ret_text, size_t size, double seconds)
{
    unsigned long s = (unsigned long)(seconds + 0.5);

    if (s >= 3600)
        snprintf(ret_text, size, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(ret_text, size, "%lu:%02lu", s / 60, s % 60);
}

void progress_line(char *ret_line, size_t size, size_t columns, size_t done, size_t total,
                   double rate)
{
    char numbers[128], left[32] = "";
    size_t width, filled, at = 0;
    int n;

    if (total == 0) {
        snprintf(ret_line, size, "looking: %zu files", done);
        return;
    }
    if (rate > 0)
        write_time(left, sizeof left, (double)(total - done) / rate);
    n = snprintf(numbers, sizeof numbers, " %zu/%zu %3zu%%", done, total, done * 100 / total);
    if (rate > 0)
        snprintf(numbers + n, sizeof numbers - (size_t)n, "  %.1f/s  %s left", rate, left);
    /* The last column stays free: some terminals break the line when it is written. */
    width = columns > strlen(numbers) + 4 ? columns - strlen(numbers) - 3 : 0;
    width = width > 40 ? 40 : width;
    filled = done * width / total;
    if (width > 0 && width + strlen(numbers) + 3 < size) {
        ret_line[at++] = '[';
        memset(ret_line + at, '#', filled);
        memset(ret_line + at + filled, '.', width - filled);
        at += width;
        ret_line[at++] = ']';
    }
    snprintf(ret_line + at, size - at, "%s", at > 0 ? numbers : numbers + 1);
}

static void progress_sample(Progress *p, uint64_t now)
{
    size_t last = (p->n_samples + PROGRESS_SAMPLES - 1) % PROGRESS_SAMPLES;

    if (p->n_samples > 0 && now - p->samples[last].msec < SAMPLE_MSEC)
        return;
    p->samples[p->n_samples % PROGRESS_SAMPLES].msec = now;
    p->samples[p->n_samples++ % PROGRESS_SAMPLES].done = p->done;
}

static double progress_rate(const Progress *p, uint64_t now)
{
    size_t oldest = p->n_samples > PROGRESS_SAMPLES ? p->n_samples % PROGRESS_SAMPLES : 0;
    uint64_t msec = now - p->samples[oldest].msec;

    return msec < DRAW_MSEC ? 0 : (double)(p->done - p->samples[oldest].done) * 1000 / (double)msec;
}

static void progress_draw(Progress *p)
{
    uint64_t now = now_msec();
    char line[512];

    if (!p->shown || (p->drawn && now - p->drawn_msec < DRAW_MSEC && p->done != p->total))
        return;
    progress_sample(p, now);
    progress_line(line, sizeof line, columns_of_terminal(), p->done, p->total,
                  progress_rate(p, now));
    fprintf(stderr, "\r\033[K%s", line);
    fflush(stderr);
    p->drawn = true;
    p->drawn_msec = now;
}

void progress_begin(Progress *p, size_t total)
{
    bool shown = isatty(STDERR_FILENO);

    progress_clear(p);
    *p = (Progress){.shown = shown, .total = total};
    if (total > 0)
        progress_draw(p);
}

void progress_advance(Progress *p, size_t n)
{
    p->done += n;
    progress_draw(p);
}

void progress_clear(Progress *p)
{
    if (p->drawn)
        fputs("\r\033[K", stderr);
    p->drawn = false;
}
