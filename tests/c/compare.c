/* dlb_equal and dlb_allclose: what is equal, what is close, what is reported, what is refused. */
#include "check.h"

#include <math.h>

static const DLDataType FLOAT32 = {kDLFloat, 32, 1}, FLOAT64 = {kDLFloat, 64, 1}, INT64 = {kDLInt, 64, 1};

static dlb_tensor *wrap(void *data, DLDataType dtype, int32_t ndim, int64_t *shape, int64_t *strides) {
    DLTensor description = {data, {kDLCPU, 0}, ndim, dtype, shape, strides, 0};
    dlb_tensor *tensor = NULL;
    MUST(dlb_tensor_wrap(&description, 0, NULL, NULL, &tensor) == DLB_OK);
    return tensor;
}

static int32_t equal(const dlb_tensor *a, const dlb_tensor *b, const dlb_compare_options *options) {
    int32_t answer = -1;
    CHECK_OK(dlb_equal(a, b, options, NULL, &answer));
    return answer;
}

static int32_t close_to(const dlb_tensor *a, const dlb_tensor *b, const dlb_compare_options *options) {
    int32_t answer = -1;
    CHECK_OK(dlb_allclose(a, b, options, NULL, &answer));
    return answer;
}

static void values_are_compared_whatever_dtype_and_strides_hold_them(void) {
    float floats[] = {1, 2, 3, 4, 5, 6};
    int64_t turned[] = {1, 4, 2, 5, 3, 6}, shape[] = {2, 3}, strides[] = {1, 2}, other[] = {3, 2};
    dlb_tensor *a = wrap(floats, FLOAT32, 2, shape, NULL), *b = wrap(turned, INT64, 2, shape, strides);
    dlb_tensor *c = wrap(floats, FLOAT32, 2, other, NULL);
    dlb_compare_options strict = {.struct_size = sizeof strict, .strict = 1};
    CHECK_EQUAL(equal(a, b, NULL), 1);
    CHECK_EQUAL(equal(a, b, &strict), 0);
    CHECK_EQUAL(equal(a, a, &strict), 1);
    CHECK_EQUAL(equal(a, c, NULL), 0);
    turned[3] = 6;
    CHECK_EQUAL(equal(a, b, NULL), 0);
    CHECK_EQUAL(close_to(a, b, NULL), 0);
    dlb_compare_options loose = {.struct_size = sizeof loose, .atol = 1};
    CHECK_EQUAL(close_to(a, b, &loose), 1);
    dlb_tensor_release(a);
    dlb_tensor_release(b);
    dlb_tensor_release(c);
}

static void nan_is_equal_where_that_is_asked_for(void) {
    double left[] = {1, NAN, INFINITY, -0.0}, right[] = {1, NAN, INFINITY, 0.0};
    int64_t shape[] = {4};
    dlb_tensor *a = wrap(left, FLOAT64, 1, shape, NULL), *b = wrap(right, FLOAT64, 1, shape, NULL);
    dlb_compare_options nan = {.struct_size = sizeof nan, .equal_nan = 1};
    CHECK_EQUAL(equal(a, b, NULL), 0);
    CHECK_EQUAL(equal(a, b, &nan), 1);
    CHECK_EQUAL(close_to(a, b, NULL), 0);
    CHECK_EQUAL(close_to(a, b, &nan), 1);
    right[2] = -INFINITY;
    CHECK_EQUAL(close_to(a, b, &nan), 0);
    dlb_tensor_release(a);
    dlb_tensor_release(b);
}

static void a_report_has_the_first_and_the_worst(void) {
    double left[] = {1, 2, 3, 4, 5, 6}, right[] = {1, 2, 3.5, 4, 105, 6.1};
    int64_t shape[] = {2, 3};
    dlb_tensor *a = wrap(left, FLOAT64, 2, shape, NULL), *b = wrap(right, FLOAT64, 2, shape, NULL);
    dlb_comparison report = {.struct_size = sizeof report};
    int32_t answer = -1;
    CHECK_OK(dlb_equal(a, b, NULL, &report, &answer));
    CHECK_EQUAL(answer, 0);
    CHECK_EQUAL(report.compared, 6);
    CHECK_EQUAL(report.differing, 3);
    CHECK(report.first.place == 2 && report.first.a[0] == 3 && report.first.b[0] == 3.5 && report.first.error == 0.5);
    CHECK(report.absolute.place == 4 && report.absolute.error == 100 && report.absolute.b[0] == 105);
    CHECK(report.relative.place == 4 && report.relative.error == 100.0 / 105);
    CHECK_OK(dlb_allclose(a, a, NULL, &report, &answer));
    CHECK_EQUAL(answer, 1);
    CHECK(report.differing == 0 && report.first.place == -1 && report.absolute.place == -1);
    CHECK_EQUAL(report.struct_size, sizeof report);
    dlb_tensor_release(a);
    dlb_tensor_release(b);
}

static void shapes_broadcast_for_allclose(void) {
    float row[] = {1, 2, 3}, both[] = {1, 2, 3, 1, 2, 3};
    int64_t three[] = {3}, shape[] = {2, 3}, four[] = {2, 2};
    dlb_tensor *a = wrap(row, FLOAT32, 1, three, NULL), *b = wrap(both, FLOAT32, 2, shape, NULL);
    dlb_tensor *c = wrap(both, FLOAT32, 2, four, NULL);
    int32_t answer = 7;
    CHECK_EQUAL(close_to(a, b, NULL), 1);
    CHECK_EQUAL(equal(a, b, NULL), 0);
    CHECK_FAILS(dlb_allclose(a, c, NULL, NULL, &answer), DLB_ERROR_INVALID_ARGUMENT, "[3] and [2, 2] do not broadcast");
    CHECK_EQUAL(answer, 7);
    dlb_tensor_release(a);
    dlb_tensor_release(b);
    dlb_tensor_release(c);
}

static void what_has_no_answer_is_refused(void) {
    float data[] = {1, 2};
    int64_t shape[] = {2};
    dlb_tensor *a = wrap(data, FLOAT32, 1, shape, NULL);
    DLTensor elsewhere = {data, {kDLCUDA, 0}, 1, FLOAT32, shape, NULL, 0};
    dlb_tensor *b = NULL;
    MUST(dlb_tensor_wrap(&elsewhere, 0, NULL, NULL, &b) == DLB_OK);
    dlb_tensor *packed = wrap(data, (DLDataType){kDLInt, 4, 1}, 1, shape, NULL);
    int32_t answer = 7;
    CHECK_FAILS(dlb_equal(NULL, a, NULL, NULL, &answer), DLB_ERROR_INVALID_ARGUMENT, "a is NULL");
    CHECK_FAILS(dlb_equal(a, NULL, NULL, NULL, &answer), DLB_ERROR_INVALID_ARGUMENT, "b is NULL");
    CHECK_FAILS(dlb_equal(a, a, NULL, NULL, NULL), DLB_ERROR_INVALID_ARGUMENT, "out is NULL");
    CHECK_FAILS(dlb_equal(a, b, NULL, NULL, &answer), DLB_ERROR_UNSUPPORTED, "cuda:0");
    CHECK_FAILS(dlb_equal(packed, packed, NULL, NULL, &answer), DLB_ERROR_UNSUPPORTED, "view both as uint8 (dlb_tensor_reinterpret())");
    dlb_compare_options nan = {.struct_size = sizeof nan, .rtol = NAN};
    CHECK_FAILS(dlb_allclose(a, a, &nan, NULL, &answer), DLB_ERROR_INVALID_ARGUMENT, "rtol is NaN");
    dlb_compare_options small = {.struct_size = 4};
    CHECK_FAILS(dlb_equal(a, a, &small, NULL, &answer), DLB_ERROR_INVALID_ARGUMENT, "struct_size");
    dlb_comparison report = {.struct_size = 8};
    CHECK_FAILS(dlb_equal(a, a, NULL, &report, &answer), DLB_ERROR_INVALID_ARGUMENT, "struct_size");
    CHECK_EQUAL(answer, 7);
    dlb_tensor_release(a);
    dlb_tensor_release(b);
    dlb_tensor_release(packed);
}

static void a_megabyte_is_shared_among_threads(void) {
    enum { SIZE = 700001 };
    float *left = malloc(SIZE * sizeof *left), *right = malloc(SIZE * sizeof *right);
    MUST(left != NULL && right != NULL);
    for (int i = 0; i < SIZE; i++) {
        left[i] = right[i] = (float)i;
    }
    int64_t shape[] = {SIZE};
    dlb_tensor *a = wrap(left, FLOAT32, 1, shape, NULL), *b = wrap(right, FLOAT32, 1, shape, NULL);
    CHECK_EQUAL(equal(a, b, NULL), 1);
    right[SIZE - 1] += 1;
    CHECK_EQUAL(equal(a, b, NULL), 0);
    CHECK_EQUAL(close_to(a, b, NULL), 1);
    dlb_comparison report = {.struct_size = sizeof report};
    int32_t answer = -1;
    CHECK_OK(dlb_equal(a, b, NULL, &report, &answer));
    CHECK(report.differing == 1 && report.first.place == SIZE - 1);
    dlb_tensor_release(a);
    dlb_tensor_release(b);
    free(left);
    free(right);
}

RUN_TESTS(TEST(values_are_compared_whatever_dtype_and_strides_hold_them), TEST(nan_is_equal_where_that_is_asked_for),
          TEST(a_report_has_the_first_and_the_worst), TEST(shapes_broadcast_for_allclose),
          TEST(what_has_no_answer_is_refused), TEST(a_megabyte_is_shared_among_threads))
