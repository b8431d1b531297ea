/* dlb_tensor_slice and its kin, against models that know nothing of strides. */
#include "views.h"

/* --- slice and select --- */

static int64_t python_bound(int64_t position, int64_t length, int64_t omitted, bool forward) {
    if (position == DLB_SLICE_END) {
        return omitted;
    }
    if (position < 0) {
        position += length;
    }
    int64_t lowest = forward ? 0 : -1, highest = forward ? length : length - 1;
    return position < lowest ? lowest : position > highest ? highest : position;
}

/* range(length)[start:stop:step], by asking every position whether it belongs. */
static size_t python_slice(int64_t length, int64_t start, int64_t stop, int64_t step, int32_t *values) {
    bool forward = step > 0;
    int64_t first = python_bound(start, length, forward ? 0 : length - 1, forward);
    int64_t end = python_bound(stop, length, forward ? length : -1, forward);
    size_t count = 0;
    for (int64_t i = 0; i < length; i++) {
        int64_t at = forward ? i : length - 1 - i;
        bool inside = forward ? first <= at && at < end : first >= at && at > end;
        if (inside && (at - first) % step == 0) {
            values[count++] = (int32_t)(MIDDLE + at);
        }
    }
    return count;
}

static void slice_agrees_with_python(void) {
    static const int64_t bounds[] = {-9, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 9,
                                     INT64_MAX, INT64_MAX - 1, INT64_MIN + 1, DLB_SLICE_END};
    static const int64_t steps[] = {1, 2, 3, 4, 7, INT64_MAX, -1, -2, -3, -4, -7, INT64_MIN + 1, INT64_MIN};
    for (int64_t length = 0; length <= 6; length++) {
        dlb_tensor *whole = ROW_MAJOR(length);
        for (size_t i = 0; i < COUNT(bounds) * COUNT(bounds) * COUNT(steps); i++) {
            int64_t start = bounds[i % COUNT(bounds)], stop = bounds[i / COUNT(bounds) % COUNT(bounds)];
            int64_t step = steps[i / COUNT(bounds) / COUNT(bounds)];
            int32_t expected[8];
            dlb_tensor *view = NULL;
            size_t count = python_slice(length, start, stop, step, expected);
            CHECK_OK(dlb_tensor_slice(whole, 0, start, stop, step, &view));
            check_values(view, expected, count);
        }
        dlb_tensor_release(whole);
    }
}

static void slice_along_each_axis(void) {
    for (int32_t axis = -3; axis < 3; axis++) {
        dlb_tensor *whole = ROW_MAJOR(4, 5, 6), *view = NULL;
        int32_t kept = (axis + 3) % 3, extents[] = {4, 5, 6}, expected[SIZE];
        size_t count = 0;
        CHECK_OK(dlb_tensor_slice(whole, axis, 3, 0, -2, &view)); /* positions 3 and 1 */
        extents[kept] = 2;
        for (int32_t i = 0; i < extents[0] * extents[1] * extents[2]; i++) {
            int32_t at[] = {i / extents[2] / extents[1], i / extents[2] % extents[1], i % extents[2]};
            at[kept] = at[kept] == 0 ? 3 : 1;
            expected[count++] = MIDDLE + at[0] * 30 + at[1] * 6 + at[2];
        }
        check_values(view, expected, count);
        dlb_tensor_release(whole);
    }
}

static void select_drops_the_axis(void) {
    dlb_tensor *whole = ROW_MAJOR(2, 3), *view = NULL;
    for (int64_t index = -3; index < 3; index++) {
        int32_t column = MIDDLE + (int32_t)((index + 3) % 3);
        CHECK_OK(dlb_tensor_select(whole, 1, index, &view));
        check_shape(view, LIST(2));
        check_values(view, (const int32_t[]){column, column + 3}, 2);
    }
    CHECK_OK(dlb_tensor_select(whole, -2, -1, &view));
    check_values(view, (const int32_t[]){MIDDLE + 3, MIDDLE + 4, MIDDLE + 5}, 3);
    dlb_tensor *untouched = whole;
    CHECK_FAILS(dlb_tensor_select(whole, 1, 3, &untouched), DLB_ERROR_INVALID_ARGUMENT, "index 3");
    CHECK_FAILS(dlb_tensor_select(whole, 1, -4, &untouched), DLB_ERROR_INVALID_ARGUMENT, "index -4");
    CHECK_FAILS(dlb_tensor_select(whole, 1, INT64_MIN, &untouched), DLB_ERROR_INVALID_ARGUMENT, "-9223372036854775808");
    CHECK(untouched == whole);
    dlb_tensor_release(whole);
}

/* --- permute, expand, squeeze --- */

static void permute_moves_every_element(void) {
    static const int64_t orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const int32_t steps[] = {12, 4, 1}, extents[] = {2, 3, 4};
    dlb_tensor *whole = ROW_MAJOR(2, 3, 4), *view = NULL;
    for (size_t i = 0; i < COUNT(orders); i++) {
        const int64_t *order = orders[i];
        int32_t expected[24], *next = expected;
        for (int32_t a = 0; a < extents[order[0]]; a++) {
            for (int32_t b = 0; b < extents[order[1]]; b++) {
                for (int32_t c = 0; c < extents[order[2]]; c++) {
                    *next++ = MIDDLE + a * steps[order[0]] + b * steps[order[1]] + c * steps[order[2]];
                }
            }
        }
        CHECK_OK(dlb_tensor_permute(whole, order, 3, &view));
        check_values(view, expected, 24);
    }
    dlb_tensor_release(whole);
}

static void permute_names_each_axis_once(void) {
    dlb_tensor *whole = ROW_MAJOR(2, 3, 4), *untouched = whole;
    CHECK_FAILS(dlb_tensor_permute(whole, LIST(0, 1), &untouched), DLB_ERROR_INVALID_ARGUMENT, "2 axes");
    CHECK_FAILS(dlb_tensor_permute(whole, LIST(0, 1, 1), &untouched), DLB_ERROR_INVALID_ARGUMENT, "[0, 1, 1]");
    CHECK_FAILS(dlb_tensor_permute(whole, LIST(0, 1, 3), &untouched), DLB_ERROR_INVALID_ARGUMENT, "[0, 1, 3]");
    CHECK_FAILS(dlb_tensor_permute(whole, LIST(0, 1, 2, 3), &untouched), DLB_ERROR_INVALID_ARGUMENT, "4 axes");
    CHECK_FAILS(dlb_tensor_permute(whole, LIST(INT64_MIN, 1, 2), &untouched), DLB_ERROR_INVALID_ARGUMENT, "-92");
    CHECK_FAILS(dlb_tensor_permute(whole, NULL, 0, &untouched), DLB_ERROR_INVALID_ARGUMENT, "0 axes");
    CHECK_FAILS(dlb_tensor_permute(whole, (const int64_t[]){0}, -3, &untouched), DLB_ERROR_INVALID_ARGUMENT, "-3");
    CHECK(untouched == whole);
    dlb_tensor_release(whole);
}

static void expand_repeats_and_is_read_only(void) {
    dlb_tensor *row = ROW_MAJOR(1, 2), *view = NULL;
    CHECK_OK(dlb_tensor_expand(row, LIST(2, 3, 2), &view));
    check_shape(view, LIST(2, 3, 2));
    CHECK_EQUAL(dlb_tensor_flags(view), DLPACK_FLAG_BITMASK_READ_ONLY);
    check_values(view, (const int32_t[]){128, 129, 128, 129, 128, 129, 128, 129, 128, 129, 128, 129}, 12);
    CHECK_OK(dlb_tensor_expand(row, LIST(1, 1, 2), &view)); /* nothing grows, nothing is shared */
    CHECK_EQUAL(dlb_tensor_flags(view), 0);
    check_values(view, (const int32_t[]){128, 129}, 2);
    CHECK_OK(dlb_tensor_expand(row, LIST(0, 2), &view));
    check_values(view, NULL, 0);
    dlb_tensor_release(row);
}

static void expand_refuses_what_does_not_broadcast(void) {
    dlb_tensor *whole = ROW_MAJOR(2, 3), *untouched = whole;
    CHECK_FAILS(dlb_tensor_expand(whole, LIST(3), &untouched), DLB_ERROR_INVALID_ARGUMENT, "[3]");
    CHECK_FAILS(dlb_tensor_expand(whole, LIST(4, 3), &untouched), DLB_ERROR_INVALID_ARGUMENT, "[4, 3]");
    CHECK_FAILS(dlb_tensor_expand(whole, LIST(2, 6), &untouched), DLB_ERROR_INVALID_ARGUMENT, "[2, 6]");
    CHECK_FAILS(dlb_tensor_expand(whole, LIST(2, 1), &untouched), DLB_ERROR_INVALID_ARGUMENT, "[2, 1]");
    CHECK_FAILS(dlb_tensor_expand(whole, LIST(-1, 2, 3), &untouched), DLB_ERROR_INVALID_ARGUMENT, "[-1, 2, 3]");
    CHECK_FAILS(dlb_tensor_expand(whole, NULL, 0, &untouched), DLB_ERROR_INVALID_ARGUMENT, "[]");
    CHECK_FAILS(dlb_tensor_expand(whole, (const int64_t[]){0}, INT32_MAX, &untouched), DLB_ERROR_INVALID_ARGUMENT,
                "2147483647");
    CHECK(untouched == whole);
    dlb_tensor_release(whole);
}

static void squeeze_undoes_unsqueeze(void) {
    static const int64_t shapes[][3] = {{1, 2, 3}, {2, 1, 3}, {2, 3, 1}};
    dlb_tensor *whole = ROW_MAJOR(2, 3);
    for (int32_t axis = -3; axis < 3; axis++) {
        dlb_tensor *wider = NULL, *back = NULL;
        CHECK_OK(dlb_tensor_unsqueeze(whole, axis, &wider));
        check_shape(wider, shapes[(axis + 3) % 3], 3);
        CHECK(dlb_tensor_is_contiguous(wider, 'C'));
        CHECK_OK(dlb_tensor_squeeze(wider, axis, &back));
        check_shape(back, LIST(2, 3));
        check_values(back, (const int32_t[]){128, 129, 130, 131, 132, 133}, 6);
        dlb_tensor_release(wider);
    }
    dlb_tensor *untouched = whole;
    CHECK_FAILS(dlb_tensor_squeeze(whole, 1, &untouched), DLB_ERROR_INVALID_ARGUMENT, "axis 1 has size 3");
    CHECK(untouched == whole);
    dlb_tensor_release(whole);
}

/* --- what holds for all of them --- */

static const int64_t SHAPE[] = {2, 3}, AXES[] = {1, 0};

/* Every view function, with arguments that a tensor of shape [2, 3] of int32 can take (squeeze wants [1, 2, 3]). */
static dlb_status slice(const dlb_tensor *t, dlb_tensor **out) { return dlb_tensor_slice(t, 0, 0, 2, 1, out); }
static dlb_status pick(const dlb_tensor *t, dlb_tensor **out) { return dlb_tensor_select(t, 0, 1, out); }
static dlb_status permute(const dlb_tensor *t, dlb_tensor **out) { return dlb_tensor_permute(t, AXES, 2, out); }
static dlb_status expand(const dlb_tensor *t, dlb_tensor **out) { return dlb_tensor_expand(t, SHAPE, 2, out); }
static dlb_status unsqueeze(const dlb_tensor *t, dlb_tensor **out) { return dlb_tensor_unsqueeze(t, 0, out); }
static dlb_status reshape(const dlb_tensor *t, dlb_tensor **out) { return dlb_tensor_reshape(t, SHAPE, 2, out); }
static dlb_status read_only(const dlb_tensor *t, dlb_tensor **out) { return dlb_tensor_read_only(t, out); }
static dlb_status as_uint(const dlb_tensor *t, dlb_tensor **out) {
    return dlb_tensor_reinterpret(t, dtype_of(UINT, 32, 1), out);
}
static dlb_status squeeze(const dlb_tensor *t, dlb_tensor **out) {
    dlb_tensor *wider = NULL;
    dlb_status status = t == NULL ? DLB_OK : dlb_tensor_unsqueeze(t, 0, &wider);
    status = status == DLB_OK ? dlb_tensor_squeeze(wider, 0, out) : status;
    dlb_tensor_release(wider);
    return status;
}

typedef dlb_status (*view_function)(const dlb_tensor *, dlb_tensor **);
static const view_function VIEWS[] = {slice, pick, permute, expand, squeeze, unsqueeze, reshape, read_only, as_uint};

static void every_view_keeps_the_owner_and_inherits_read_only(void) {
    for (size_t i = 0; i < 2 * COUNT(VIEWS); i++) {
        bool locked = i % 2 == 1;
        sample from;
        dlb_tensor *view = NULL;
        SAMPLE(&from, buffer, 2, 3);
        from.flags = locked ? DLPACK_FLAG_BITMASK_READ_ONLY : 0;
        dlb_tensor *tensor = sample_tensor(&from);
        CHECK_OK(VIEWS[i / 2](tensor, &view));
        CHECK_EQUAL(dlb_tensor_flags(view) != 0, locked || VIEWS[i / 2] == read_only);
        CHECK_EQUAL(dlb_tensor_flags(tensor) != 0, locked);
        dlb_tensor_release(tensor);
        CHECK_EQUAL(from.released, 0);
        dlb_tensor_release(view);
        CHECK_EQUAL(from.released, 1);
    }
}

static void read_only_is_refused_and_told(void) {
    dlb_tensor *whole = ROW_MAJOR(2, 3), *locked = NULL;
    DLManagedTensorVersioned *export = NULL;
    DLManagedTensor *legacy = NULL;
    void *data = NULL;
    CHECK_OK(dlb_tensor_read_only(whole, &locked));
    CHECK_FAILS(dlb_tensor_mutable_data(locked, dtype_of(INT, 32, 1), &data), DLB_ERROR_READ_ONLY, "write to a copy (dlb_tensor_copy())");
    CHECK_FAILS(dlb_tensor_export_legacy(locked, &legacy), DLB_ERROR_READ_ONLY, "read-only");
    CHECK_OK(dlb_tensor_export(locked, &export));
    CHECK_EQUAL(export->flags, DLPACK_FLAG_BITMASK_READ_ONLY);
    export->deleter(export);
    CHECK_OK(dlb_tensor_mutable_data(whole, dtype_of(INT, 32, 1), &data));
    dlb_tensor_release(whole), dlb_tensor_release(locked);
}

static void null_arguments(void) {
    dlb_tensor *whole = ROW_MAJOR(2, 3), *untouched = whole;
    for (size_t i = 0; i < COUNT(VIEWS); i++) {
        CHECK_FAILS(VIEWS[i](NULL, &untouched), DLB_ERROR_INVALID_ARGUMENT, "tensor is NULL");
        CHECK_FAILS(VIEWS[i](whole, NULL), DLB_ERROR_INVALID_ARGUMENT, "out is NULL");
    }
    CHECK_FAILS(dlb_tensor_permute(whole, NULL, 2, &untouched), DLB_ERROR_INVALID_ARGUMENT, "axes is NULL although its count is 2");
    CHECK_FAILS(dlb_tensor_expand(whole, NULL, 2, &untouched), DLB_ERROR_INVALID_ARGUMENT, "shape is NULL");
    CHECK_FAILS(dlb_tensor_reshape(whole, NULL, 2, &untouched), DLB_ERROR_INVALID_ARGUMENT, "shape is NULL");
    CHECK(untouched == whole);
    dlb_tensor_release(whole);
}

static void an_axis_that_is_not_there(void) {
    static const int32_t axes[] = {2, -3, INT32_MAX, INT32_MIN};
    dlb_tensor *whole = ROW_MAJOR(2, 3), *untouched = whole;
    for (size_t i = 0; i < COUNT(axes); i++) {
        char words[32];
        snprintf(words, sizeof words, "axis %" PRId32, axes[i]);
        CHECK_FAILS(dlb_tensor_slice(whole, axes[i], 0, 1, 1, &untouched), DLB_ERROR_INVALID_ARGUMENT, words);
        CHECK_FAILS(dlb_tensor_select(whole, axes[i], 0, &untouched), DLB_ERROR_INVALID_ARGUMENT, words);
        CHECK_FAILS(dlb_tensor_squeeze(whole, axes[i], &untouched), DLB_ERROR_INVALID_ARGUMENT, words);
    }
    CHECK_FAILS(dlb_tensor_unsqueeze(whole, 3, &untouched), DLB_ERROR_INVALID_ARGUMENT, "axis 3");
    CHECK_FAILS(dlb_tensor_unsqueeze(whole, -4, &untouched), DLB_ERROR_INVALID_ARGUMENT, "axis -4");
    CHECK_FAILS(dlb_tensor_slice(whole, 0, 0, 2, 0, &untouched), DLB_ERROR_INVALID_ARGUMENT, "step is 0");
    CHECK(untouched == whole);
    dlb_tensor_release(whole);
}

static void no_view_exceeds_the_largest_rank(void) {
    int64_t ones[DLB_MAX_NDIM + 1];
    for (size_t i = 0; i < COUNT(ones); i++) {
        ones[i] = 1;
    }
    dlb_tensor *whole = strided(DLB_MAX_NDIM, ones, NULL), *untouched = whole;
    CHECK_FAILS(dlb_tensor_unsqueeze(whole, 0, &untouched), DLB_ERROR_INVALID_ARGUMENT, "129");
    CHECK_FAILS(dlb_tensor_expand(whole, ones, DLB_MAX_NDIM + 1, &untouched), DLB_ERROR_INVALID_ARGUMENT, "129");
    CHECK_FAILS(dlb_tensor_reshape(whole, ones, DLB_MAX_NDIM + 1, &untouched), DLB_ERROR_INVALID_ARGUMENT, "129");
    CHECK(untouched == whole);
    dlb_tensor_release(whole);
}

static void a_view_of_a_handle_moves_its_byte_offset(void) {
    sample from;
    dlb_tensor *view = NULL;
    SAMPLE(&from, buffer, 4, 3);
    from.tensor.device = device_of(VULKAN, 0), from.tensor.byte_offset = 100;
    dlb_tensor *tensor = sample_tensor(&from);
    CHECK_OK(dlb_tensor_slice(tensor, 0, DLB_SLICE_END, DLB_SLICE_END, -1, &view));
    CHECK(dlb_tensor_view(view)->data == buffer);
    CHECK_EQUAL(dlb_tensor_view(view)->byte_offset, 100 + 3 * 3 * 4);
    CHECK_EQUAL(dlb_tensor_view(view)->strides[0], -3);
    dlb_tensor_release(view), dlb_tensor_release(tensor);
}

/* A view of a view of a view...: each parent is let go at once, and the last takes the owner with it. */
static void a_long_chain_of_views_is_released_without_recursion(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    dlb_tensor *tensor = sample_tensor(&from);
    for (long left = getenv("CHECK_QUICK") == NULL ? 1000000 : 10000; left > 0; left--) {
        dlb_tensor *next = NULL;
        MUST(dlb_tensor_slice(tensor, 1, DLB_SLICE_END, DLB_SLICE_END, -1, &next) == DLB_OK);
        dlb_tensor_release(tensor);
        tensor = next;
    }
    CHECK_EQUAL(from.released, 0);
    dlb_tensor_release(tensor);
    CHECK_EQUAL(from.released, 1);
}

RUN_TESTS(TEST(slice_agrees_with_python), TEST(slice_along_each_axis), TEST(select_drops_the_axis),
          TEST(permute_moves_every_element), TEST(permute_names_each_axis_once), TEST(expand_repeats_and_is_read_only),
          TEST(expand_refuses_what_does_not_broadcast), TEST(squeeze_undoes_unsqueeze),
          TEST(every_view_keeps_the_owner_and_inherits_read_only), TEST(read_only_is_refused_and_told),
          TEST(null_arguments), TEST(an_axis_that_is_not_there), TEST(no_view_exceeds_the_largest_rank),
          TEST(a_view_of_a_handle_moves_its_byte_offset), TEST(a_long_chain_of_views_is_released_without_recursion))
