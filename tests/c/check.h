/* check.h: the test harness. A test is a function that CHECKs; run_tests() names each one, prints what failed with
 * the library's own words, and looks after every test whether a tensor or an export was left behind. */
#ifndef CHECK_H
#define CHECK_H

#include "dlbridge.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Goes on after a failure, so that one run shows all of them. */
#define CHECK(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, "%s", #condition))
/* Ends the program: for what the rest of a test stands on. */
#define MUST(condition) ((condition) ? (void)0 : check_fatal(__FILE__, __LINE__, #condition))
#define CHECK_EQUAL(actual, expected) \
    check_equal(__FILE__, __LINE__, #actual, (int64_t)(actual), (int64_t)(expected))
#define CHECK_TEXT(actual, expected) check_text(__FILE__, __LINE__, #actual, actual, expected)
#define CHECK_OK(call) check_status(__FILE__, __LINE__, #call, call, DLB_OK, "")
/* The call fails with this status, and its message contains these words. */
#define CHECK_FAILS(call, status, words) check_status(__FILE__, __LINE__, #call, call, status, words)

typedef struct {
    const char *name;
    void (*run)(void);
} check_test;

#define TEST(function) {#function, function}
#define RUN_TESTS(...)                                        \
    int main(void) {                                          \
        static const check_test tests[] = {__VA_ARGS__};      \
        return check_run(tests, sizeof tests / sizeof *tests); \
    }

enum { CHECK_SHOWN = 5 }; /* failures of one test that are printed */

static atomic_int check_failures; /* of the test that is running */
static int check_passed, check_broken;

__attribute__((format(printf, 3, 4))) static inline void check_failed(const char *file, int line,
                                                                      const char *format, ...) {
    char words[1024];
    __builtin_va_list arguments;
    if (atomic_fetch_add(&check_failures, 1) >= CHECK_SHOWN) {
        return;
    }
    __builtin_va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    __builtin_va_end(arguments);
    printf("%s:%d: %s\n    dlb_error_message(): %.1000s\n", file, line, words, dlb_error_message());
}

static inline int check_summary(void) {
    printf("%d passed, %d failed\n", check_passed, check_broken);
    fflush(stdout);
    return check_broken == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static inline void check_fatal(const char *file, int line, const char *condition) {
    check_failed(file, line, "%s; the tests after this one were not run", condition);
    check_broken++;
    check_summary();
    exit(EXIT_FAILURE);
}

static inline void check_equal(const char *file, int line, const char *what, int64_t actual, int64_t expected) {
    if (actual != expected) {
        check_failed(file, line, "%s is %" PRId64 ", not %" PRId64, what, actual, expected);
    }
}

static inline void check_text(const char *file, int line, const char *what, const char *actual,
                              const char *expected) {
    if (strcmp(actual, expected) != 0) {
        check_failed(file, line, "%s is \"%s\", not \"%s\"", what, actual, expected);
    }
}

static inline void check_status(const char *file, int line, const char *call, dlb_status actual,
                                dlb_status expected, const char *words) {
    if (actual != expected) {
        check_failed(file, line, "%s is %s, not %s", call, dlb_status_name(actual), dlb_status_name(expected));
    } else if (expected != DLB_OK && strstr(dlb_error_message(), words) == NULL) {
        check_failed(file, line, "%s: the message lacks \"%s\"", call, words);
    }
}

static inline void check_run_one(const check_test *test) {
    size_t tensors = dlb_live_tensors(), exports = dlb_live_exports();
    atomic_store(&check_failures, 0);
    test->run();
    CHECK_EQUAL(dlb_live_tensors(), tensors);
    CHECK_EQUAL(dlb_live_exports(), exports);
    int failures = atomic_load(&check_failures);
    if (failures == 0) {
        printf("ok     %s\n", test->name);
    } else {
        printf("FAILED %s: %d of its checks\n", test->name, failures);
    }
    check_passed += failures == 0;
    check_broken += failures != 0;
}

static inline int check_run(const check_test *tests, size_t count) {
    setvbuf(stdout, NULL, _IOLBF, 0); /* what was printed before a crash is seen */
    for (size_t i = 0; i < count; i++) {
        check_run_one(&tests[i]);
    }
    return check_summary();
}

#endif /* CHECK_H */
