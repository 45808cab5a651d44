#include "ipc/text.h"

#include <dbus/dbus.h>

#include "tests/test.h"

static void test_sequence(void)
{
    static const struct {
        const char *bytes;
        size_t left;
        int expected;
    } cases[] = {
        {"a", 1, 1},
        {"\0", 1, 0},
        {"\x7f", 1, 1},
        {"\x80", 1, 0},
        {"\xc1\xbf", 2, 0}, /* overlong */
        {"\xc2\x80", 2, 2},
        {"\xc2", 1, -1},
        {"\xc2\x41", 2, 0},
        {"\xe0\x9f\xbf", 3, 0}, /* overlong */
        {"\xe0\xa0\x80", 3, 3},
        {"\xe0\xa0", 2, -1},
        {"\xed\x9f\xbf", 3, 3},
        {"\xed\xa0\x80", 3, 0}, /* surrogate */
        {"\xed\xa0", 2, 0},
        {"\xef\xbf\xbf", 3, 3},
        {"\xf0\x8f\xbf\xbf", 4, 0}, /* overlong */
        {"\xf0\x90\x80\x80", 4, 4},
        {"\xf0\x90\x80", 3, -1},
        {"\xf4\x8f\xbf\xbf", 4, 4},
        {"\xf4\x90\x80\x80", 4, 0}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", 4, 0},
        {"\xff", 1, 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ASSERT_EQ(utf8_sequence(cases[i].bytes, cases[i].left), cases[i].expected);
}

/* libdbus aborts on what it calls unsound, so nothing it refuses may pass here: all strings of
 * up to four bytes from the edges of every range. */
static void test_as_libdbus(void)
{
    static const uint8_t edges[] = {0x01, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0,
                                    0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef,
                                    0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xff};
    const size_t n = sizeof edges;

    for (size_t i = 0; i < n * n * n * n; i++) {
        char s[5] = {(char)edges[i % n], (char)edges[i / n % n], (char)edges[i / n / n % n],
                     (char)edges[i / n / n / n], '\0'};
        for (size_t length = 1; length <= 4; length++) {
            char saved = s[length];
            s[length] = '\0';
            ASSERT_EQ(utf8_is_sound(s, length), dbus_validate_utf8(s, NULL));
            s[length] = saved;
        }
    }
}

static void check_pieces(const char *bytes, size_t length, const char *expected)
{
    for (size_t step = 1; step <= length; step++) {
        TextBuffer t = {0};
        for (size_t i = 0; i < length; i += step) {
            ASSERT_OK(text_append(&t, bytes + i, length - i < step ? length - i : step));
            ASSERT(!t.data || utf8_is_sound(t.data, t.length));
        }
        ASSERT_OK(text_end(&t));
        ASSERT_STREQ(t.data, expected);
        ASSERT_EQ(t.length, strlen(expected));
        text_deinit(&t);
    }
}

#define CHECK_PIECES(bytes, expected) check_pieces(bytes, sizeof bytes - 1, expected)

static void test_append(void)
{
    CHECK_PIECES("plain", "plain");
    CHECK_PIECES("Gr\xc3\xbc\xc3\x9f \xe4\xb8\x96\xf0\x9f\x8c\x8d",
                 "Gr\xc3\xbc\xc3\x9f \xe4\xb8\x96\xf0\x9f\x8c\x8d");
    CHECK_PIECES("a\xff\xe2\x82z", "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz");
    CHECK_PIECES("a\0b", "a\xef\xbf\xbd"
                         "b");
    CHECK_PIECES("\xf0\x9f\x8c", "\xef\xbf\xbd");
}

static void test_tail_is_held_back(void)
{
    TextBuffer t = {0};

    ASSERT_OK(text_append(&t, "a\xe2\x82", 3));
    ASSERT_STREQ(t.data, "a");
    ASSERT_OK(text_append(&t, "\xac", 1));
    ASSERT_STREQ(t.data, "a\xe2\x82\xac");
    text_deinit(&t);
}

static void test_long_text(void)
{
    TextBuffer t = {0};

    for (int i = 0; i < 100000; i++)
        ASSERT_OK(text_append(&t, "\xc3\xbc", 2));
    ASSERT_EQ(t.length, 200000);
    text_deinit(&t);
}

static void test_prefix(void)
{
    const char *s = "ab\xf0\x9f\x8c\x8d";

    ASSERT_EQ(text_prefix(s, 6, 6), 6);
    ASSERT_EQ(text_prefix(s, 6, 5), 2);
    ASSERT_EQ(text_prefix(s, 6, 4), 2);
    ASSERT_EQ(text_prefix("abcdef", 6, 4), 4);
}

int main(void)
{
    RUN(test_sequence);
    RUN(test_as_libdbus);
    RUN(test_append);
    RUN(test_tail_is_held_back);
    RUN(test_long_text);
    RUN(test_prefix);
    return 0;
}
