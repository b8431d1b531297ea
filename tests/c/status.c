/* dlb_version, dlb_status_name, dlb_error_message. */
#include "check.h"

#include <pthread.h>

static dlb_status fail_with(const char *name) {
    DLDataType dtype;
    return dlb_dtype_parse(name, &dtype);
}

static void the_version_is_that_of_the_header(void) {
    CHECK_TEXT(dlb_version(), DLB_VERSION);
    char numbers[32];
    snprintf(numbers, sizeof numbers, "%d.%d.%d", DLB_VERSION_MAJOR, DLB_VERSION_MINOR, DLB_VERSION_PATCH);
    CHECK_TEXT(dlb_version(), numbers);
}

static void every_status_has_its_name(void) {
#define NAMED(status) CHECK_TEXT(dlb_status_name(status), #status)
    NAMED(DLB_OK);
    NAMED(DLB_ERROR_INVALID_ARGUMENT);
    NAMED(DLB_ERROR_INVALID_TENSOR);
    NAMED(DLB_ERROR_UNSUPPORTED);
    NAMED(DLB_ERROR_READ_ONLY);
    NAMED(DLB_ERROR_COPY_REQUIRED);
    NAMED(DLB_ERROR_LOSSY);
    NAMED(DLB_ERROR_OUT_OF_MEMORY);
    NAMED(DLB_ERROR_DEVICE);
    NAMED(DLB_ERROR_UNAVAILABLE);
    NAMED(DLB_ERROR_TIMEOUT);
    NAMED(DLB_ERROR_CLOSED);
    NAMED(DLB_ERROR_PYTHON);
    NAMED(DLB_ERROR_INTERNAL);
#undef NAMED
}

static void any_other_number_is_unknown(void) {
    static const dlb_status others[] = {-1, 14, 1000, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < COUNT(others); i++) {
        CHECK_TEXT(dlb_status_name(others[i]), "DLB_ERROR_UNKNOWN");
    }
}

static void the_numbers_are_frozen(void) {
    _Static_assert(DLB_OK == 0 && DLB_ERROR_INVALID_ARGUMENT == 1 && DLB_ERROR_INVALID_TENSOR == 2, "frozen");
    _Static_assert(DLB_ERROR_UNSUPPORTED == 3 && DLB_ERROR_READ_ONLY == 4 && DLB_ERROR_COPY_REQUIRED == 5, "frozen");
    _Static_assert(DLB_ERROR_LOSSY == 6 && DLB_ERROR_OUT_OF_MEMORY == 7 && DLB_ERROR_DEVICE == 8, "frozen");
    _Static_assert(DLB_ERROR_UNAVAILABLE == 9 && DLB_ERROR_TIMEOUT == 10 && DLB_ERROR_CLOSED == 11, "frozen");
    _Static_assert(DLB_ERROR_PYTHON == 12 && DLB_ERROR_INTERNAL == 13, "frozen");
    _Static_assert(sizeof(dlb_status) == 4, "an int32_t");
}

static void the_message_starts_empty_and_survives_success(void) {
    CHECK_TEXT(dlb_error_message(), "");
    CHECK_FAILS(fail_with("nonsense7"), DLB_ERROR_INVALID_ARGUMENT, "nonsense7");
    CHECK_OK(fail_with("float32"));
    CHECK(strstr(dlb_error_message(), "nonsense7") != NULL);
}

static void each_failure_replaces_the_message(void) {
    CHECK_FAILS(fail_with("first"), DLB_ERROR_INVALID_ARGUMENT, "first");
    CHECK_FAILS(fail_with("second"), DLB_ERROR_INVALID_ARGUMENT, "second");
    CHECK(strstr(dlb_error_message(), "first") == NULL);
}

static void a_hostile_name_is_quoted_safely(void) {
    CHECK_FAILS(fail_with("\xff\xfe\n"), DLB_ERROR_INVALID_ARGUMENT, "names no dtype");
    for (const char *letter = dlb_error_message(); *letter != '\0'; letter++) {
        CHECK((unsigned char)*letter >= ' ');
    }
}

static void *fail_on_this_thread(void *name) {
    CHECK_TEXT(dlb_error_message(), "");
    for (int i = 0; i < 1000; i++) {
        CHECK_FAILS(fail_with(name), DLB_ERROR_INVALID_ARGUMENT, name);
    }
    return NULL;
}

static void each_thread_has_its_own_message(void) {
    static char names[4][8] = {"alpha", "beta", "gamma", "delta"};
    pthread_t threads[4];
    CHECK_FAILS(fail_with("main"), DLB_ERROR_INVALID_ARGUMENT, "main");
    for (size_t i = 0; i < COUNT(threads); i++) {
        MUST(pthread_create(&threads[i], NULL, fail_on_this_thread, names[i]) == 0);
    }
    for (size_t i = 0; i < COUNT(threads); i++) {
        MUST(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(strstr(dlb_error_message(), "\"main\"") != NULL);
}

RUN_TESTS(TEST(the_message_starts_empty_and_survives_success), TEST(each_failure_replaces_the_message),
          TEST(a_hostile_name_is_quoted_safely), TEST(each_thread_has_its_own_message),
          TEST(the_version_is_that_of_the_header), TEST(every_status_has_its_name),
          TEST(any_other_number_is_unknown), TEST(the_numbers_are_frozen))
