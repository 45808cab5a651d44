/*
 * What a call costs besides the engine's own time: EmbedText of one word, the round trip as a C
 * client sees it, less what the reply says was computed. Pings between them, which libdbus answers
 * inside the service, show what of it is the bus.
 *
 * usage: bench-call ADDRESS [CALLS]; prints medians in microseconds: ping, round trip, computed,
 * round trip less computed.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <dbus/dbus.h>

#include "ipc/names.h"

#define CALLS_MAX 100000
#define WARM_UP   20

static double now_usec(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void need(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "bench-call: %s\n", what);
    exit(EXIT_FAILURE);
}

static DBusMessage *message_new(const char *interface, const char *member)
{
    DBusMessage *m =
        dbus_message_new_method_call(PERCEPT_BUS_NAME, PERCEPT_PATH, interface, member);

    need(m, "out of memory");
    return m;
}

/* Takes the message. */
static DBusMessage *round_trip(DBusConnection *bus, DBusMessage *m, double *ret_usec)
{
    double begin = now_usec();
    DBusMessage *reply = dbus_connection_send_with_reply_and_block(bus, m, 30000, NULL);

    *ret_usec = now_usec() - begin;
    need(reply, "the call failed");
    dbus_message_unref(m);
    return reply;
}

/* computed_ms of the info that iter stands on, in microseconds. */
static double computed_usec(DBusMessageIter *info)
{
    DBusMessageIter entries, entry, value;
    double ms = -1;

    dbus_message_iter_recurse(info, &entries);
    for (; dbus_message_iter_get_arg_type(&entries) != DBUS_TYPE_INVALID;
         dbus_message_iter_next(&entries)) {
        const char *key;
        dbus_message_iter_recurse(&entries, &entry);
        dbus_message_iter_get_basic(&entry, &key);
        if (strcmp(key, "computed_ms") != 0)
            continue;
        dbus_message_iter_next(&entry);
        dbus_message_iter_recurse(&entry, &value);
        dbus_message_iter_get_basic(&value, &ms);
    }
    need(ms >= 0, "the info says not how long it was computed");
    return ms * 1e3;
}

static void embed(DBusConnection *bus, unsigned n, double *ret_wall, double *ret_computed)
{
    static const char *const words[] = {"circle", "square", "red", "blue", "bell", "dog", "two"};
    const char *word[] = {words[n % (sizeof words / sizeof *words)]}, **texts = word;
    DBusMessage *m = message_new(PERCEPT_MANAGER, "EmbedText"), *reply;
    DBusMessageIter iter, options;

    need(dbus_message_append_args(m, DBUS_TYPE_ARRAY, DBUS_TYPE_STRING, &texts, 1,
                                  DBUS_TYPE_INVALID),
         "out of memory");
    dbus_message_iter_init_append(m, &iter);
    need(dbus_message_iter_open_container(&iter, DBUS_TYPE_ARRAY, "{sv}", &options) &&
             dbus_message_iter_close_container(&iter, &options),
         "out of memory");
    reply = round_trip(bus, m, ret_wall);
    need(dbus_message_iter_init(reply, &iter) && dbus_message_iter_next(&iter), "an empty reply");
    *ret_computed = computed_usec(&iter);
    dbus_message_unref(reply);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare);
    return values[n / 2];
}

int main(int argc, char **argv)
{
    static double ping[CALLS_MAX], wall[CALLS_MAX], computed[CALLS_MAX], more[CALLS_MAX];
    long n = argc > 2 ? atol(argv[2]) : 500;
    DBusConnection *bus;

    need(argc > 1 && n > 0 && n <= CALLS_MAX, "usage: bench-call ADDRESS [CALLS]");
    bus = dbus_connection_open_private(argv[1], NULL);
    need(bus && dbus_bus_register(bus, NULL), "no bus");
    for (long i = -WARM_UP; i < n; i++) {
        size_t k = i < 0 ? 0 : (size_t)i;
        dbus_message_unref(
            round_trip(bus, message_new("org.freedesktop.DBus.Peer", "Ping"), &ping[k]));
        embed(bus, (unsigned)k, &wall[k], &computed[k]);
        more[k] = wall[k] - computed[k];
    }
    printf("%.1f %.1f %.1f %.1f\n", median(ping, (size_t)n), median(wall, (size_t)n),
           median(computed, (size_t)n), median(more, (size_t)n));
    dbus_connection_close(bus);
    dbus_connection_unref(bus);
    return EXIT_SUCCESS;
}
