/* dlb_tensor_reshape and dlb_tensor_reinterpret: other shapes and dtypes over the same bytes. */
#include "views.h"

/* --- reshape --- */

/* Whether `sequence` can be walked with one stride per dimension of `shape`. */
static bool is_walkable(const int32_t *sequence, size_t size, const int64_t *shape, int32_t ndim) {
    int64_t strides[4] = {0}, weight = 1;
    for (int32_t axis = ndim - 1; axis >= 0; axis--) {
        strides[axis] = shape[axis] > 1 ? sequence[weight] - sequence[0] : 0;
        weight *= shape[axis];
    }
    for (size_t i = 0; i < size; i++) {
        int64_t rest = (int64_t)i, at = sequence[0];
        for (int32_t axis = ndim - 1; axis >= 0; axis--) {
            at += rest % shape[axis] * strides[axis];
            rest /= shape[axis];
        }
        if (at != sequence[i]) {
            return false;
        }
    }
    return true;
}

static void check_reshape(const dlb_tensor *whole, const int64_t *shape, int32_t ndim) {
    int32_t expected[SIZE];
    size_t size = read_all(whole, expected);
    dlb_tensor *view = NULL;
    if (is_walkable(expected, size, shape, ndim)) {
        CHECK_OK(dlb_tensor_reshape(whole, shape, ndim, &view));
        check_shape(view, shape, ndim);
        check_values(view, expected, size);
    } else {
        CHECK_FAILS(dlb_tensor_reshape(whole, shape, ndim, &view), DLB_ERROR_COPY_REQUIRED, "(dlb_tensor_copy())");
        CHECK(view == NULL);
    }
}

/* Every way to write `size` as a product of four, three, two and one dimensions. */
static void check_all_reshapes(const dlb_tensor *whole) {
    int64_t size = (int64_t)dlb_tensor_size(whole);
    for (int64_t a = 1; a <= size; a++) {
        for (int64_t b = 1; b <= size / a; b++) {
            for (int64_t c = 1; c <= size / a / b; c++) {
                int64_t d = size / a / b / c, shape[] = {a, b, c, d};
                if (a * b * c * d == size) {
                    int32_t leading = a != 1 ? 0 : b != 1 ? 1 : c != 1 ? 2 : 3;
                    for (int32_t skipped = 0; skipped <= leading; skipped++) {
                        check_reshape(whole, shape + skipped, 4 - skipped);
                    }
                }
            }
        }
    }
}

static void reshape_is_a_view_exactly_where_strides_allow(void) {
    static const struct {
        int32_t ndim;
        int64_t shape[4], strides[4];
    } layouts[] = {
        {1, {12}, {1}},           {1, {12}, {-3}},          {1, {12}, {0}},
        {2, {3, 4}, {4, 1}},      {2, {3, 4}, {1, 3}},      {2, {3, 4}, {8, 1}},
        {2, {3, 4}, {8, 2}},      {2, {3, 4}, {-4, -1}},    {2, {3, 4}, {4, -1}},
        {2, {3, 4}, {0, 1}},      {2, {3, 4}, {1, 0}},      {2, {3, 4}, {0, 0}},
        {3, {2, 1, 6}, {6, 99, 1}}, {3, {1, 12, 1}, {-5, 2, 77}}, {3, {2, 3, 2}, {2, 4, 1}},
        {3, {2, 3, 2}, {6, 2, 1}}, {3, {2, 3, 2}, {1, 2, 6}}, {4, {2, 2, 3, 1}, {20, 3, 1, 0}},
        {4, {2, 2, 2, 3}, {24, 6, 3, 1}}, {4, {1, 1, 1, 1}, {9, 8, 7, 6}}, {0, {0}, {0}},
    };
    for (size_t i = 0; i < COUNT(layouts); i++) {
        dlb_tensor *whole = strided(layouts[i].ndim, layouts[i].shape, layouts[i].strides);
        check_all_reshapes(whole);
        dlb_tensor_release(whole);
    }
}

static void reshape_works_out_one_dimension(void) {
    dlb_tensor *whole = ROW_MAJOR(3, 4), *empty = ROW_MAJOR(0, 4), *view = NULL;
    CHECK_OK(dlb_tensor_reshape(whole, LIST(2, -1), &view));
    check_shape(view, LIST(2, 6));
    dlb_tensor_release(view);
    CHECK_OK(dlb_tensor_reshape(whole, LIST(-1), &view));
    check_shape(view, LIST(12));
    dlb_tensor_release(view);
    CHECK_OK(dlb_tensor_reshape(empty, LIST(-1, 4), &view));
    check_shape(view, LIST(0, 4));
    dlb_tensor_release(view);
    dlb_tensor *untouched = whole;
    CHECK_FAILS(dlb_tensor_reshape(empty, LIST(-1, 0), &untouched), DLB_ERROR_INVALID_ARGUMENT, "[-1, 0]");
    CHECK_FAILS(dlb_tensor_reshape(whole, LIST(-1, -1), &untouched), DLB_ERROR_INVALID_ARGUMENT, "2 sizes are left open");
    CHECK_FAILS(dlb_tensor_reshape(whole, LIST(5, -1), &untouched), DLB_ERROR_INVALID_ARGUMENT, "12 elements are no multiple of 5");
    CHECK_FAILS(dlb_tensor_reshape(whole, LIST(-2, -6), &untouched), DLB_ERROR_INVALID_ARGUMENT, "[-2, -6]");
    CHECK_FAILS(dlb_tensor_reshape(whole, LIST(3, 5), &untouched), DLB_ERROR_INVALID_ARGUMENT, "12 elements, not 15");
    CHECK_FAILS(dlb_tensor_reshape(whole, NULL, 0, &untouched), DLB_ERROR_INVALID_ARGUMENT, "[3, 4]");
    CHECK_FAILS(dlb_tensor_reshape(whole, LIST(INT64_MAX, INT64_MAX), &untouched), DLB_ERROR_INVALID_ARGUMENT, "922");
    CHECK_FAILS(dlb_tensor_reshape(whole, (const int64_t[]){0}, INT32_MAX, &untouched), DLB_ERROR_INVALID_ARGUMENT,
                "2147483647");
    CHECK(untouched == whole);
    dlb_tensor_release(whole), dlb_tensor_release(empty);
}

/* --- reinterpret --- */

static dlb_tensor *bytes(int32_t ndim, const int64_t *shape, const int64_t *strides, DLDataType dtype) {
    static sample from;
    sample_init(&from, buffer, ndim, shape);
    from.tensor.dtype = dtype;
    if (strides != NULL) {
        sample_strides(&from, strides);
    }
    return sample_tensor(&from);
}

static const struct {
    const char *from, *to; /* dtypes */
    int32_t ndim;
    int64_t shape[2], strides[2], new_shape[2], new_strides[2];
} FITTING[] = {
    {"float32", "int32", 2, {2, 3}, {-7, 2}, {2, 3}, {-7, 2}},
    {"float32", "uint8", 2, {2, 3}, {3, 1}, {2, 12}, {12, 1}},
    {"float32", "uint8", 2, {2, 3}, {-5, 1}, {2, 12}, {-20, 1}},
    {"uint8", "float32", 2, {2, 12}, {12, 1}, {2, 3}, {3, 1}},
    {"uint8", "float32x3", 2, {2, 12}, {24, 1}, {2, 1}, {2, 1}},
    {"float32", "complex64", 2, {2, 4}, {4, 1}, {2, 2}, {2, 1}},
    {"uint8", "int4", 2, {2, 3}, {3, 1}, {2, 6}, {6, 1}},
    {"float4_e2m1fn", "uint8", 2, {2, 6}, {6, 1}, {2, 3}, {3, 1}},
    {"float4_e2m1fn", "float4_e2m1fnx2", 2, {2, 6}, {8, 1}, {2, 3}, {4, 1}},
    {"float64", "uint16", 2, {3, 1}, {2, 99}, {3, 4}, {8, 1}},
    {"uint8", "float64", 2, {2, 0}, {1, 1}, {2, 0}, {1, 1}},
    {"float32", "uint32", 0, {0}, {0}, {0}, {0}},
};

static void reinterpret_fits_the_last_dimension(void) {
    for (size_t i = 0; i < COUNT(FITTING); i++) {
        DLDataType from, to;
        dlb_tensor *view = NULL;
        MUST(dlb_dtype_parse(FITTING[i].from, &from) == DLB_OK && dlb_dtype_parse(FITTING[i].to, &to) == DLB_OK);
        dlb_tensor *whole = bytes(FITTING[i].ndim, FITTING[i].shape, FITTING[i].strides, from);
        CHECK_OK(dlb_tensor_reinterpret(whole, to, &view));
        MUST(view != NULL);
        check_shape(view, FITTING[i].new_shape, FITTING[i].ndim);
        bool empty = dlb_tensor_size(view) == 0; /* where no stride is ever taken */
        for (int32_t axis = 0; axis < FITTING[i].ndim && !empty; axis++) {
            CHECK_EQUAL(dlb_tensor_view(view)->strides[axis], FITTING[i].new_strides[axis]);
        }
        CHECK(memcmp(&dlb_tensor_view(view)->dtype, &to, sizeof to) == 0);
        CHECK(dlb_tensor_view(view)->data == dlb_tensor_view(whole)->data);
        CHECK_EQUAL(dlb_tensor_nbytes(view), dlb_tensor_nbytes(whole));
        dlb_tensor_release(view), dlb_tensor_release(whole);
    }
}

static void refuse_reinterpret(dlb_tensor *whole, DLDataType to, const char *words) {
    dlb_tensor *untouched = whole;
    CHECK_FAILS(dlb_tensor_reinterpret(whole, to, &untouched), DLB_ERROR_UNSUPPORTED, words);
    CHECK(untouched == whole);
    dlb_tensor_release(whole);
}

static void reinterpret_refuses_what_does_not_fit(void) {
    DLDataType u8 = dtype_of(UINT, 8, 1), f32 = dtype_of(FLOAT, 32, 1), f64 = dtype_of(FLOAT, 64, 1);
    refuse_reinterpret(bytes(0, NULL, NULL, f32), u8, "0-d");
    refuse_reinterpret(bytes(2, (const int64_t[]){2, 3}, NULL, f32), f64, "has 3 elements, which are no whole number of new ones; slice it to a multiple of 2");
    refuse_reinterpret(bytes(2, (const int64_t[]){2, 4}, (const int64_t[]){5, 1}, f32), f64, "a stride");
    refuse_reinterpret(bytes(2, (const int64_t[]){2, 4}, (const int64_t[]){8, 2}, f32), f64, "copy it first (dlb_tensor_copy())");
    refuse_reinterpret(bytes(2, (const int64_t[]){2, 4}, (const int64_t[]){1, 2}, f32), u8, "not packed");
}

static void packed_sub_byte_views_start_on_a_byte(void) {
    int64_t shape[] = {2, 4};
    dlb_tensor *whole = bytes(2, shape, NULL, dtype_of(INT, 4, 1)), *view = NULL, *untouched = whole;
    CHECK_OK(dlb_tensor_slice(whole, 1, 2, 4, 1, &view));
    CHECK(dlb_tensor_view(view)->data == (char *)buffer + 1);
    CHECK_EQUAL(dlb_tensor_nbytes(view), 2);
    dlb_tensor_release(view);
    CHECK_FAILS(dlb_tensor_slice(whole, 1, 1, 4, 1, &untouched), DLB_ERROR_UNSUPPORTED, "bit 4");
    CHECK_FAILS(dlb_tensor_slice(whole, 1, 3, DLB_SLICE_END, -1, &untouched), DLB_ERROR_UNSUPPORTED, "int4");
    CHECK_FAILS(dlb_tensor_select(whole, 1, 3, &untouched), DLB_ERROR_UNSUPPORTED, "bit 4");
    CHECK(untouched == whole);
    CHECK_OK(dlb_tensor_slice(whole, 1, 1, 1, 1, &view)); /* empty: there is nothing to start at */
    dlb_tensor_release(view), dlb_tensor_release(whole);
}

RUN_TESTS(TEST(reshape_is_a_view_exactly_where_strides_allow), TEST(reshape_works_out_one_dimension),
          TEST(reinterpret_fits_the_last_dimension), TEST(reinterpret_refuses_what_does_not_fit),
          TEST(packed_sub_byte_views_start_on_a_byte))
