#pragma once

/* The few macros the C tests share. A test is a plain program: it stops at the first check that
 * does not hold, says where and what was found, and its exit status is the result. 77 means that
 * something the test needs is not there (a device, a model file); meson counts that as skipped. */

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEST_SKIP 77

__attribute__((noreturn, format(printf, 3, 4))) static inline void
test_fail(const char *file, int line, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s:%d: ", file, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

/* true unless a and b are further apart than `limit` + `relative` * |b|; NaN is never near. */
static inline int test_near(double a, double b, double limit, double relative)
{
    return fabs(a - b) <= limit + relative * fabs(b);
}

#define ASSERT(expr)                                                                               \
    do {                                                                                           \
        if (!(expr))                                                                               \
            test_fail(__FILE__, __LINE__, "not true: %s", #expr);                                  \
    } while (0)

/* Two integers of any type that fits into 64 signed bits. */
#define ASSERT_CMP(a, op, b)                                                                       \
    do {                                                                                           \
        int64_t a_ = (int64_t)(a), b_ = (int64_t)(b);                                              \
        if (!(a_ op b_))                                                                           \
            test_fail(__FILE__, __LINE__, "%s %s %s: %lld and %lld", #a, #op, #b, (long long)a_,   \
                      (long long)b_);                                                              \
    } while (0)

#define ASSERT_EQ(a, b) ASSERT_CMP(a, ==, b)

/* The int results of this project: 0 or more is fine, a failure is one negative errno. */
#define ASSERT_OK(expr)                                                                            \
    do {                                                                                           \
        int r_ = (expr);                                                                           \
        if (r_ < 0)                                                                                \
            test_fail(__FILE__, __LINE__, "%s: %s", #expr, strerror(-r_));                         \
    } while (0)

#define ASSERT_ERROR(expr, error) ASSERT_CMP(expr, ==, -(error))

#define ASSERT_STREQ(a, b)                                                                         \
    do {                                                                                           \
        const char *a_ = (a), *b_ = (b);                                                           \
        if (!a_ || !b_ || strcmp(a_, b_) != 0)                                                     \
            test_fail(__FILE__, __LINE__, "%s == %s: '%s' and '%s'", #a, #b, a_ ? a_ : "(null)",   \
                      b_ ? b_ : "(null)");                                                         \
    } while (0)

#define ASSERT_MEMEQ(a, b, size)                                                                   \
    do {                                                                                           \
        if (memcmp((a), (b), (size)) != 0)                                                         \
            test_fail(__FILE__, __LINE__, "%s and %s differ", #a, #b);                             \
    } while (0)

#define ASSERT_NEAR(a, b, limit)                                                                   \
    do {                                                                                           \
        double a_ = (a), b_ = (b);                                                                 \
        if (!test_near(a_, b_, (limit), 0))                                                        \
            test_fail(__FILE__, __LINE__, "%s near %s: %.9g and %.9g", #a, #b, a_, b_);            \
    } while (0)

#define SKIP(...)                                                                                  \
    do {                                                                                           \
        fprintf(stderr, "skipped: " __VA_ARGS__);                                                  \
        fputc('\n', stderr);                                                                       \
        exit(TEST_SKIP);                                                                           \
    } while (0)

/* Runs one test function under its name, so that the log of a failure says how far it came. */
#define RUN(function)                                                                              \
    do {                                                                                           \
        fprintf(stderr, "%s\n", #function);                                                        \
        function();                                                                                \
    } while (0)
