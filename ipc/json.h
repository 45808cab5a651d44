#pragma once

/* Values of the bus as JSON: what clients print with --json. */

#include <stdio.h>

#include <dbus/dbus.h>

/* What is no UTF-8 becomes U+FFFD. */
void json_string(FILE *file, const char *s);
/* The value that iter stands on. Variants are what they hold, arrays of bytes are arrays of
 * numbers. */
void json_value(FILE *file, DBusMessageIter *iter);
