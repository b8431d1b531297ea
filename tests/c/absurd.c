/* Absurd descriptions: every mix of extreme shapes, strides and addresses is either refused as malformed or told the
 * truth about, and every view of what was accepted still makes sense. No element is ever touched. */
#include "sample.h"

__extension__ typedef __int128 wide;

static const int64_t EXTENTS[] = {INT64_MIN, -1, 0, 1, 2, 3, (int64_t)1 << 31, (int64_t)1 << 62, INT64_MAX};
static const int64_t STEPS[] = {INT64_MIN, INT64_MIN + 1, -((int64_t)1 << 61), -3, -1, 0, 1, 2, (int64_t)1 << 32,
                                (int64_t)1 << 62, INT64_MAX};
static const uint64_t ADDRESSES[] = {1, 4096, (uint64_t)1 << 47, (uint64_t)1 << 63, UINT64_MAX - 4095, UINT64_MAX};
static const char *const DTYPES[] = {"uint1", "int4", "uint8", "float32", "complex128", "float64x65535"};

/* What a description covers, in arithmetic that cannot overflow. */
typedef struct {
    bool negative, empty, fits;
} verdict;

static verdict judge(const sample *from) {
    wide size = 1, low = 0, high = 1, bits = (wide)from->tensor.dtype.bits * from->tensor.dtype.lanes;
    verdict is = {false, false, false};
    bool narrow = true; /* a product of two int64_t fits `wide`, three may not */
    for (int32_t axis = 0; axis < from->tensor.ndim; axis++) {
        is.negative |= from->shape[axis] < 0, is.empty |= from->shape[axis] == 0;
    }
    for (int32_t axis = 0; axis < from->tensor.ndim && !is.negative && !is.empty; axis++) {
        wide extent = from->shape[axis], reach = (extent - 1) * from->strides[axis];
        size = narrow ? size * extent : size;
        narrow = narrow && size <= INT64_MAX;
        low += reach < 0 ? reach : 0, high += reach > 0 ? reach : 0;
    }
    if (is.negative || is.empty || !narrow || low < INT64_MIN || high > INT64_MAX) {
        return is;
    }
    wide bytes = (size * bits + 7) / 8, first = (low * bits - 7) / 8, end = (high * bits + 7) / 8;
    wide start = (wide)(uintptr_t)from->tensor.data + from->tensor.byte_offset;
    is.fits = bytes <= INT64_MAX && end - first <= INT64_MAX && start + first > 0 && start + end <= UINT64_MAX;
    return is;
}

static void check_truth(const sample *from, const dlb_tensor *tensor, bool empty) {
    uint64_t bits = (uint64_t)from->tensor.dtype.bits * from->tensor.dtype.lanes, size = empty ? 0 : 1;
    for (int32_t axis = 0; axis < from->tensor.ndim; axis++) {
        size *= (uint64_t)from->shape[axis];
    }
    CHECK_EQUAL(dlb_tensor_size(tensor), size);
    CHECK_EQUAL(dlb_tensor_nbytes(tensor), (int64_t)(((wide)size * bits + 7) / 8));
    CHECK((dlb_tensor_view(tensor)->data == NULL) == empty);
}

/* What a view of a well-formed tensor may answer; where it is DLB_OK, the view is released. */
static void check_view(const char *what, dlb_status status, dlb_tensor **view) {
    if (status == DLB_OK) {
        dlb_tensor_release(*view);
    } else if (status != DLB_ERROR_INVALID_ARGUMENT && status != DLB_ERROR_UNSUPPORTED &&
               status != DLB_ERROR_COPY_REQUIRED) {
        check_failed(__FILE__, __LINE__, "%s is %s", what, dlb_status_name(status));
    }
}

#define VIEW(call) check_view(#call, call, &view)

static void view_every_way(const dlb_tensor *tensor) {
    static const int64_t flat[] = {-1}, swapped[] = {1, 0};
    static const int64_t bounds[] = {DLB_SLICE_END, INT64_MIN + 1, -1, 0, 1, INT64_MAX};
    dlb_tensor *view = NULL;
    for (size_t i = 0; i < COUNT(bounds); i++) {
        VIEW(dlb_tensor_slice(tensor, -1, bounds[i], DLB_SLICE_END, -1, &view));
        VIEW(dlb_tensor_slice(tensor, -1, bounds[i], DLB_SLICE_END, INT64_MAX, &view));
        VIEW(dlb_tensor_slice(tensor, 0, DLB_SLICE_END, bounds[i], 1, &view));
        VIEW(dlb_tensor_slice(tensor, 0, DLB_SLICE_END, bounds[i], INT64_MIN, &view));
        VIEW(dlb_tensor_select(tensor, -1, bounds[i], &view));
    }
    VIEW(dlb_tensor_reshape(tensor, flat, 1, &view));
    VIEW(dlb_tensor_permute(tensor, swapped, 2, &view));
    VIEW(dlb_tensor_unsqueeze(tensor, 1, &view));
    VIEW(dlb_tensor_squeeze(tensor, 0, &view));
    VIEW(dlb_tensor_reinterpret(tensor, dtype_of(UINT, 8, 1), &view));
    VIEW(dlb_tensor_reinterpret(tensor, dtype_of(UINT, 1, 1), &view));
    VIEW(dlb_tensor_reinterpret(tensor, dtype_of(FLOAT, 128, 65535), &view));
}

static void try_description(sample *from, size_t *accepted, size_t *refused) {
    dlb_tensor *tensor = NULL;
    verdict is = judge(from);
    dlb_status status = dlb_tensor_wrap(&from->tensor, 0, sample_release, from, &tensor);
    if (status == DLB_OK) {
        CHECK(!is.negative && (is.empty || is.fits));
        check_truth(from, tensor, is.empty);
        view_every_way(tensor);
        dlb_tensor_release(tensor);
        ++*accepted;
    } else {
        CHECK_EQUAL(status, DLB_ERROR_INVALID_TENSOR);
        CHECK(is.negative || is.empty || !is.fits);
        ++*refused;
    }
}

static size_t next(size_t *rest, size_t count) {
    size_t index = *rest % count;
    *rest /= count;
    return index;
}

/* The `number`-th of all descriptions with two dimensions. */
static void describe(sample *from, size_t number) {
    void *address = (void *)(uintptr_t)ADDRESSES[next(&number, COUNT(ADDRESSES))];
    SAMPLE(from, address, 1, 1);
    MUST(dlb_dtype_parse(DTYPES[next(&number, COUNT(DTYPES))], &from->tensor.dtype) == DLB_OK);
    for (int axis = 0; axis < 2; axis++) {
        from->shape[axis] = EXTENTS[next(&number, COUNT(EXTENTS))];
        from->strides[axis] = STEPS[next(&number, COUNT(STEPS))];
    }
}

static void every_mix_is_refused_or_true(void) {
    size_t axes = COUNT(EXTENTS) * COUNT(STEPS), all = axes * axes * COUNT(ADDRESSES) * COUNT(DTYPES);
    size_t skip = getenv("CHECK_QUICK") == NULL ? 7 : 211; /* primes, so that every value meets every other */
    size_t accepted = 0, refused = 0;
    for (size_t number = 0; number < all; number += skip) {
        sample from;
        describe(&from, number);
        try_description(&from, &accepted, &refused);
    }
    CHECK(accepted > 100 && refused > 100);
}

/* The words of a refusal must not grow with the argument: memory that cannot be had for them ends the process. */
static void an_absurd_count_of_axes_is_refused_briefly(void) {
    enum { AXES = 1000000 };
    float data[6] = {0};
    sample from;
    SAMPLE(&from, data, 2, 3);
    dlb_tensor *tensor = sample_tensor(&from), *untouched = tensor;
    int64_t *axes = calloc(AXES, sizeof *axes);
    MUST(axes != NULL);
    CHECK_FAILS(dlb_tensor_permute(tensor, axes, AXES, &untouched), DLB_ERROR_INVALID_ARGUMENT, "2 axes");
    CHECK(strlen(dlb_error_message()) < 4096);
    CHECK_FAILS(dlb_tensor_expand(tensor, axes, AXES, &untouched), DLB_ERROR_INVALID_ARGUMENT, "1000000");
    CHECK(strlen(dlb_error_message()) < 4096);
    CHECK_FAILS(dlb_tensor_reshape(tensor, axes, AXES, &untouched), DLB_ERROR_INVALID_ARGUMENT, "1000000");
    CHECK(strlen(dlb_error_message()) < 4096);
    CHECK(untouched == tensor);
    free(axes);
    dlb_tensor_release(tensor);
}

/* DLB_ERROR_INVALID_TENSOR is for malformed DLPack structures; here the argument is at fault. */
static void an_absurd_view_is_an_invalid_argument(void) {
    static const int64_t wide_row[] = {INT64_MAX, 1}, empty_first[] = {0, INT64_MAX, INT64_MAX};
    static const int64_t empty_last[] = {INT64_MAX, INT64_MAX, 0};
    float data[6] = {0};
    sample one, none;
    SAMPLE(&one, data, 1);
    SAMPLE(&none, data, 0);
    dlb_tensor *tensor = sample_tensor(&one), *empty = sample_tensor(&none), *untouched = tensor;
    CHECK_FAILS(dlb_tensor_expand(tensor, wide_row, 2, &untouched), DLB_ERROR_INVALID_ARGUMENT, "9223372036854775807");
    CHECK_FAILS(dlb_tensor_reshape(empty, empty_last, 3, &untouched), DLB_ERROR_INVALID_ARGUMENT, "9223372036854775807");
    CHECK_FAILS(dlb_tensor_reshape(empty, empty_first, 3, &untouched), DLB_ERROR_INVALID_ARGUMENT, "9223372036854775807");
    CHECK_FAILS(dlb_tensor_reinterpret(tensor, dtype_of(BOOL, 1, 1), &untouched), DLB_ERROR_INVALID_ARGUMENT, "bits=1");
    CHECK(untouched == tensor);
    dlb_tensor_release(tensor), dlb_tensor_release(empty);
}

RUN_TESTS(TEST(every_mix_is_refused_or_true), TEST(an_absurd_count_of_axes_is_refused_briefly),
          TEST(an_absurd_view_is_an_invalid_argument))
