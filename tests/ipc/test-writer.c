#include "ipc/writer.h"

#include "tests/test.h"

static DBusMessage *message_new(void)
{
    DBusMessage *m = dbus_message_new_signal("/a", "a.b", "C");

    ASSERT(m);
    return m;
}

static void test_unsound_strings(void)
{
    DBusMessage *m = message_new();
    const char *s;
    Writer w;

    writer_init(&w, m);
    writer_string(&w, "a\xffz\xc3");
    ASSERT_OK(writer_end(&w));
    ASSERT(dbus_message_get_args(m, NULL, DBUS_TYPE_STRING, &s, DBUS_TYPE_INVALID));
    ASSERT_STREQ(s, "a\xef\xbf\xbdz\xef\xbf\xbd");
    dbus_message_unref(m);
}

static void test_nested(void)
{
    DBusMessage *m = message_new();
    Writer w;

    writer_init(&w, m);
    writer_open(&w, DBUS_TYPE_ARRAY, "(uay)");
    for (dbus_uint32_t i = 0; i < 3; i++) {
        writer_open(&w, DBUS_TYPE_STRUCT, NULL);
        writer_basic(&w, DBUS_TYPE_UINT32, &i);
        writer_bytes(&w, "abc", i);
        writer_close(&w);
    }
    writer_close(&w);
    writer_open(&w, DBUS_TYPE_ARRAY, "{sv}");
    writer_entry_bool(&w, "b", true);
    writer_entry_u32(&w, "u", 1);
    writer_entry_u64(&w, "t", 2);
    writer_entry_double(&w, "d", 3);
    writer_entry_string(&w, "s", "text");
    writer_close(&w);
    ASSERT_OK(writer_end(&w));
    ASSERT_STREQ(dbus_message_get_signature(m), "a(uay)a{sv}");
    dbus_message_unref(m);
}

/* A descriptor that cannot be duplicated is an append that fails, inside open containers. */
static void test_failure_sticks(void)
{
    DBusMessage *m = message_new();
    int bad = 1 << 20;
    Writer w;

    writer_init(&w, m);
    writer_open(&w, DBUS_TYPE_ARRAY, "(hs)");
    writer_open(&w, DBUS_TYPE_STRUCT, NULL);
    writer_basic(&w, DBUS_TYPE_UNIX_FD, &bad);
    writer_string(&w, "never");
    writer_close(&w);
    writer_close(&w);
    ASSERT(!writer_end_message(&w, m));
}

int main(void)
{
    RUN(test_unsound_strings);
    RUN(test_nested);
    RUN(test_failure_sticks);
    dbus_shutdown();
    return 0;
}
