/* dlb_copy, dlb_copy_plan, dlb_tensor_copy, and the threads that share the work. */
#include "check.h"

#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static const DLDataType FLOAT32 = {kDLFloat, 32, 1};
static const DLDataType UINT8 = {kDLUInt, 8, 1};

static dlb_tensor *empty(const int64_t *shape, int32_t ndim, DLDataType dtype) {
    dlb_tensor_options options = {.struct_size = sizeof options, .shape = shape, .ndim = ndim, .dtype = dtype};
    dlb_tensor *tensor = NULL;
    MUST(dlb_tensor_empty(&options, &tensor) == DLB_OK);
    return tensor;
}

static void *elements(dlb_tensor *tensor, DLDataType dtype) {
    void *data = NULL;
    MUST(dlb_tensor_mutable_data(tensor, dtype, &data) == DLB_OK);
    return data;
}

static dlb_tensor *counting(const int64_t *shape, int32_t ndim) {
    dlb_tensor *tensor = empty(shape, ndim, FLOAT32);
    float *values = elements(tensor, FLOAT32);
    for (size_t i = 0; i < dlb_tensor_size(tensor); i++) values[i] = (float)i;
    return tensor;
}

static void a_transposed_source_arrives_packed(void) {
    int64_t shape[] = {2, 3}, turned[] = {3, 2}, axes[] = {1, 0};
    float expected[] = {0, 3, 1, 4, 2, 5};
    dlb_tensor *source = counting(shape, 2), *view = NULL, *destination = empty(turned, 2, FLOAT32);
    dlb_copy_report report = {.struct_size = sizeof report};
    MUST(dlb_tensor_permute(source, axes, 2, &view) == DLB_OK);
    CHECK_OK(dlb_copy(view, destination, NULL, &report));
    CHECK(memcmp(elements(destination, FLOAT32), expected, sizeof expected) == 0);
    CHECK_EQUAL(report.bytes, 24);
    CHECK_EQUAL(report.passes, 1);
    CHECK_EQUAL(report.temporary, 0);
    CHECK_EQUAL(report.threads, 1);
    CHECK(report.kernel != NULL && report.kernel[0] != '\0');
    dlb_tensor_release(destination);
    dlb_tensor_release(view);
    dlb_tensor_release(source);
}

static void a_plan_moves_nothing_and_says_what_a_copy_will(void) {
    int64_t shape[] = {1024, 1024}, axes[] = {1, 0};
    dlb_tensor *source = counting(shape, 2), *view = NULL, *destination = empty(shape, 2, FLOAT32);
    float *values = elements(destination, FLOAT32);
    dlb_copy_report plan = {.struct_size = sizeof plan}, report = {.struct_size = sizeof report};
    memset(values, 0, 4 * MIB);
    MUST(dlb_tensor_permute(source, axes, 2, &view) == DLB_OK);
    CHECK_OK(dlb_copy_plan(view, destination, NULL, &plan));
    CHECK(values[1] == 0 && values[MIB - 1] == 0);
    CHECK_OK(dlb_copy(view, destination, NULL, &report));
    CHECK(values[1] == 1024 && values[MIB - 1] == MIB - 1);
    CHECK_TEXT(plan.kernel, "transposed");
    CHECK(memcmp(&plan, &report, sizeof plan) == 0);
    dlb_tensor_release(destination);
    dlb_tensor_release(view);
    dlb_tensor_release(source);
}

static void overlaps_go_through_a_temporary_that_is_told(void) {
    int64_t shape[] = {4};
    float expected[] = {3, 2, 1, 0};
    dlb_tensor *all = counting(shape, 1), *reversed = NULL;
    dlb_copy_report report = {.struct_size = sizeof report};
    MUST(dlb_tensor_slice(all, 0, DLB_SLICE_END, DLB_SLICE_END, -1, &reversed) == DLB_OK);
    CHECK_OK(dlb_copy(reversed, all, NULL, &report));
    CHECK(memcmp(elements(all, FLOAT32), expected, sizeof expected) == 0);
    CHECK_EQUAL(report.passes, 2);
    CHECK_EQUAL(report.temporary, 16);
    dlb_tensor_release(reversed);
    dlb_tensor_release(all);
}

static void a_view_that_goes_backward_on_both_sides_stays_within_its_memory(void) {
    int64_t shape[] = {8};
    float expected[] = {0, 1, 0, 1, 2, 3, 4, 5};
    dlb_tensor *all = counting(shape, 1), *source = NULL, *destination = NULL;
    dlb_copy_report report = {.struct_size = sizeof report};
    MUST(dlb_tensor_slice(all, 0, 5, DLB_SLICE_END, -1, &source) == DLB_OK);
    MUST(dlb_tensor_slice(all, 0, 7, 1, -1, &destination) == DLB_OK);
    CHECK_OK(dlb_copy(source, destination, NULL, &report));
    CHECK(memcmp(elements(all, FLOAT32), expected, sizeof expected) == 0);
    CHECK_EQUAL(report.passes, 1);
    CHECK_EQUAL(report.temporary, 0);
    dlb_tensor_release(destination);
    dlb_tensor_release(source);
    dlb_tensor_release(all);
}

static void a_new_tensor_has_the_order_that_was_asked_for(void) {
    int64_t shape[] = {2, 3};
    dlb_tensor *source = counting(shape, 2), *copy = NULL;
    dlb_copy_options options = {.struct_size = sizeof options, .order = DLB_ORDER_F};
    CHECK_OK(dlb_tensor_copy(source, &options, NULL, &copy));
    CHECK(dlb_tensor_is_contiguous(copy, 'F'));
    CHECK(((const float *)dlb_tensor_view(copy)->data)[1] == 3);
    dlb_tensor_release(copy);
    options.order = 7;
    copy = NULL;
    CHECK_FAILS(dlb_tensor_copy(source, &options, NULL, &copy), DLB_ERROR_INVALID_ARGUMENT, "order is 7; pass DLB_ORDER_C, ");
    CHECK(copy == NULL);
    CHECK_OK(dlb_tensor_copy(source, NULL, NULL, &copy));
    CHECK(dlb_tensor_is_contiguous(copy, 'C'));
    dlb_tensor_release(copy);
    dlb_tensor_release(source);
}

static void bytes_are_swapped_on_request(void) {
    int64_t shape[] = {2};
    DLDataType uint32 = {kDLUInt, 32, 1};
    dlb_tensor *source = empty(shape, 1, uint32), *swapped = NULL;
    dlb_copy_options options = {.struct_size = sizeof options, .swap_bytes = 1};
    uint32_t *values = elements(source, uint32);
    values[0] = 0x01020304;
    values[1] = 0xa0b0c0d0;
    CHECK_OK(dlb_tensor_copy(source, &options, NULL, &swapped));
    CHECK_EQUAL(((uint32_t *)elements(swapped, uint32))[0], 0x04030201);
    CHECK_EQUAL(((uint32_t *)elements(swapped, uint32))[1], 0xd0c0b0a0);
    dlb_tensor_release(swapped);
    dlb_tensor_release(source);
}

static void what_cannot_be_copied_is_refused_in_words(void) {
    int64_t shape[] = {2, 2}, other[] = {4};
    dlb_tensor *source = counting(shape, 2), *flat = empty(other, 1, FLOAT32), *bytes = empty(shape, 2, UINT8);
    dlb_tensor *read_only = NULL, *row = NULL;
    dlb_copy_report report = {.struct_size = 1};
    dlb_copy_options options = {.struct_size = 1};
    MUST(dlb_tensor_read_only(source, &read_only) == DLB_OK);
    CHECK_FAILS(dlb_copy(NULL, source, NULL, NULL), DLB_ERROR_INVALID_ARGUMENT, "source");
    CHECK_FAILS(dlb_copy(source, NULL, NULL, NULL), DLB_ERROR_INVALID_ARGUMENT, "destination");
    CHECK_FAILS(dlb_copy(source, flat, NULL, NULL), DLB_ERROR_INVALID_ARGUMENT, "make the destination [2, 2]");
    CHECK(strstr(dlb_error_message(), "expand") == NULL);
    CHECK_OK(dlb_tensor_select(source, 0, 0, &row));
    CHECK_FAILS(dlb_copy(row, source, NULL, NULL), DLB_ERROR_INVALID_ARGUMENT, "expand the source first (dlb_tensor_expand())");
    dlb_tensor_release(row);
    CHECK_FAILS(dlb_copy(source, bytes, NULL, NULL), DLB_ERROR_INVALID_ARGUMENT, "does not convert");
    CHECK_FAILS(dlb_copy(source, read_only, NULL, NULL), DLB_ERROR_READ_ONLY, "the destination is read-only");
    CHECK_FAILS(dlb_copy(source, source, NULL, &report), DLB_ERROR_INVALID_ARGUMENT, "dlb_copy_report");
    CHECK_FAILS(dlb_copy(source, source, &options, NULL), DLB_ERROR_INVALID_ARGUMENT, "dlb_copy_options");
    CHECK_FAILS(dlb_copy_plan(source, source, NULL, NULL), DLB_ERROR_INVALID_ARGUMENT, "report");
    CHECK_FAILS(dlb_tensor_copy(source, NULL, NULL, NULL), DLB_ERROR_INVALID_ARGUMENT, "out");
    dlb_tensor_release(read_only);
    dlb_tensor_release(bytes);
    dlb_tensor_release(flat);
    dlb_tensor_release(source);
}

/* Transposes an array that is large enough for all threads; whether every element arrived. */
static int large_copy_arrives(void) {
    int64_t shape[] = {1500, 1001}, turned[] = {1001, 1500}, axes[] = {1, 0};
    dlb_tensor *source = counting(shape, 2), *view = NULL, *destination = empty(turned, 2, FLOAT32);
    int right = dlb_tensor_permute(source, axes, 2, &view) == DLB_OK && dlb_copy(view, destination, NULL, NULL) == DLB_OK;
    const float *values = elements(destination, FLOAT32);
    for (int64_t row = 0; row < 1001; row++) {
        for (int64_t column = 0; column < 1500; column++) {
            right &= values[row * 1500 + column] == (float)(column * 1001 + row);
        }
    }
    dlb_tensor_release(destination);
    dlb_tensor_release(view);
    dlb_tensor_release(source);
    return right;
}

static void threads_share_large_copies_also_in_a_child_of_a_fork(void) {
    size_t usual = dlb_threads_get();
    CHECK(usual >= 1);
    for (size_t count = 1; count <= 3; count++) {
        dlb_threads_set(count);
        CHECK_EQUAL(dlb_threads_get(), count);
        CHECK(large_copy_arrives());
    }
    pid_t child = fork();
    if (child == 0) _exit(large_copy_arrives() ? 0 : 1);
    int status = -1;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    dlb_threads_set(0);
    CHECK_EQUAL(dlb_threads_get(), usual);
    CHECK(large_copy_arrives());
}

static void the_instructions_have_a_name(void) {
    const char *level = dlb_simd_level();
    CHECK(strcmp(level, "portable") == 0 || strcmp(level, "avx2") == 0 || strcmp(level, "avx512") == 0);
}

RUN_TESTS(TEST(a_transposed_source_arrives_packed), TEST(a_plan_moves_nothing_and_says_what_a_copy_will),
          TEST(overlaps_go_through_a_temporary_that_is_told),
          TEST(a_view_that_goes_backward_on_both_sides_stays_within_its_memory),
          TEST(a_new_tensor_has_the_order_that_was_asked_for),
          TEST(bytes_are_swapped_on_request), TEST(what_cannot_be_copied_is_refused_in_words),
          TEST(threads_share_large_copies_also_in_a_child_of_a_fork), TEST(the_instructions_have_a_name))
