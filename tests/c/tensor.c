/* A tensor: asked, read, written, shared. How it comes in is in dlpack.c, how it goes out in export.c. */
#include "sample.h"

static float buffer[64];

/* --- questions --- */

static void sizes_count_what_a_copy_would_need(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    STRIDES(&from, 16, 2);
    dlb_tensor *tensor = sample_tensor(&from);
    CHECK_EQUAL(dlb_tensor_size(tensor), 6);
    CHECK_EQUAL(dlb_tensor_nbytes(tensor), 24);
    dlb_tensor_release(tensor);
    SAMPLE(&from, buffer, 3, 5);
    from.tensor.dtype = dtype_of(INT, 4, 1); /* 60 bits */
    tensor = sample_tensor(&from);
    CHECK_EQUAL(dlb_tensor_size(tensor), 15);
    CHECK_EQUAL(dlb_tensor_nbytes(tensor), 8);
    dlb_tensor_release(tensor);
}

static void check_contiguous(const int64_t *shape, const int64_t *strides, bool row_major, bool column_major) {
    sample from;
    sample_init(&from, buffer + 32, 2, shape);
    sample_strides(&from, strides);
    dlb_tensor *tensor = sample_tensor(&from);
    CHECK_EQUAL(dlb_tensor_is_contiguous(tensor, 'C'), row_major);
    CHECK_EQUAL(dlb_tensor_is_contiguous(tensor, 'F'), column_major);
    CHECK(!dlb_tensor_is_contiguous(tensor, 'A') && !dlb_tensor_is_contiguous(tensor, '\0'));
    dlb_tensor_release(tensor);
}

static void contiguous_in_either_order(void) {
#define PAIR(a, b) ((const int64_t[]){a, b})
    check_contiguous(PAIR(2, 3), PAIR(3, 1), true, false);
    check_contiguous(PAIR(2, 3), PAIR(1, 2), false, true);
    check_contiguous(PAIR(2, 3), PAIR(4, 1), false, false);
    check_contiguous(PAIR(2, 3), PAIR(-3, -1), false, false);
    check_contiguous(PAIR(2, 3), PAIR(0, 1), false, false);
    check_contiguous(PAIR(1, 3), PAIR(77, 1), true, true);
    check_contiguous(PAIR(3, 1), PAIR(1, -9), true, true);
    check_contiguous(PAIR(1, 3), PAIR(1, 2), false, false);
    check_contiguous(PAIR(0, 3), PAIR(5, 7), true, true);
#undef PAIR
}

static void alignment_is_that_of_the_first_element(void) {
    _Alignas(64) static char bytes[128];
    for (uint64_t offset = 1; offset < 64; offset++) {
        sample from;
        SAMPLE(&from, bytes, 1);
        from.tensor.dtype = dtype_of(UINT, 8, 1);
        from.tensor.byte_offset = offset;
        dlb_tensor *tensor = sample_tensor(&from);
        CHECK_EQUAL(dlb_tensor_alignment(tensor), offset & -offset);
        dlb_tensor_release(tensor);
    }
}

/* --- access --- */

static dlb_status read_status(sample *from, DLDataType dtype) {
    const void *const untouched = from, *out = from;
    dlb_tensor *tensor = sample_tensor(from);
    dlb_status status = dlb_tensor_data(tensor, dtype, &out);
    CHECK((status == DLB_OK) == (out != untouched));
    dlb_tensor_release(tensor);
    return status;
}

static dlb_status write_status(sample *from) {
    void *const untouched = from, *out = from;
    dlb_tensor *tensor = sample_tensor(from);
    dlb_status status = dlb_tensor_mutable_data(tensor, from->tensor.dtype, &out);
    CHECK((status == DLB_OK) == (out != untouched));
    dlb_tensor_release(tensor);
    return status;
}

static void another_dtype_is_refused(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    CHECK_OK(read_status(&from, dtype_of(FLOAT, 32, 1)));
    CHECK_FAILS(read_status(&from, dtype_of(FLOAT, 64, 1)), DLB_ERROR_INVALID_ARGUMENT, "float32, not float64");
    CHECK_FAILS(read_status(&from, dtype_of(INT, 32, 1)), DLB_ERROR_INVALID_ARGUMENT, "int32");
    CHECK_FAILS(read_status(&from, dtype_of(FLOAT, 32, 2)), DLB_ERROR_INVALID_ARGUMENT, "float32x2");
}

static void a42_read_only_refuses_mutable_access(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    from.flags = DLPACK_FLAG_BITMASK_READ_ONLY;
    for (int door = VERSIONED; door <= WRAP; door += WRAP - VERSIONED) { /* the legacy struct cannot say it */
        dlb_tensor *tensor = NULL;
        const void *data = NULL;
        void *untouched = &from;
        MUST(sample_open(&from, door, &tensor) == DLB_OK);
        CHECK_EQUAL(dlb_tensor_flags(tensor), DLPACK_FLAG_BITMASK_READ_ONLY);
        CHECK_FAILS(dlb_tensor_mutable_data(tensor, from.tensor.dtype, &untouched), DLB_ERROR_READ_ONLY, "read-only");
        CHECK(untouched == &from);
        CHECK_OK(dlb_tensor_data(tensor, from.tensor.dtype, &data));
        CHECK(data == buffer);
        dlb_tensor_release(tensor);
    }
}

static void a43_bool_bytes_other_than_0_and_1(void) {
    unsigned char bytes[256];
    sample from;
    const void *data = NULL;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)i;
    }
    SAMPLE(&from, bytes, 256);
    from.tensor.dtype = dtype_of(BOOL, 8, 1);
    dlb_tensor *tensor = sample_tensor(&from);
    CHECK_OK(dlb_tensor_data(tensor, from.tensor.dtype, &data));
    CHECK(data == bytes && memcmp(data, bytes, sizeof bytes) == 0 && bytes[255] == 255);
    dlb_tensor_release(tensor);
}

static void r56_an_unknown_code_passes_but_is_not_accessed(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    from.tensor.dtype = dtype_of(UNKNOWN_CODE, 32, 1);
    CHECK_FAILS(read_status(&from, from.tensor.dtype), DLB_ERROR_UNSUPPORTED, "code=42");
    CHECK_FAILS(read_status(&from, dtype_of(FLOAT, 32, 1)), DLB_ERROR_UNSUPPORTED, "code=42");
    CHECK_FAILS(write_status(&from), DLB_ERROR_UNSUPPORTED, "code=42");
    DLManagedTensorVersioned *export = NULL;
    dlb_tensor *tensor = sample_tensor(&from);
    CHECK_OK(dlb_tensor_export(tensor, &export));
    CHECK_EQUAL(export->dl_tensor.dtype.code, UNKNOWN_CODE);
    export->deleter(export);
    dlb_tensor_release(tensor);
}

static void r58_misaligned_access(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    from.tensor.byte_offset = 2;
    CHECK_FAILS(read_status(&from, from.tensor.dtype), DLB_ERROR_UNSUPPORTED, "not a multiple of 4");
    CHECK_FAILS(write_status(&from), DLB_ERROR_UNSUPPORTED, "float32");
    from.tensor.dtype = dtype_of(FLOAT, 16, 2); /* a lane is what needs aligning */
    CHECK_OK(read_status(&from, from.tensor.dtype));
    from.tensor.dtype = dtype_of(COMPLEX, 64, 1);
    CHECK_FAILS(read_status(&from, from.tensor.dtype), DLB_ERROR_UNSUPPORTED, "not a multiple of 4");
    from.tensor.byte_offset = 4;
    CHECK_OK(read_status(&from, from.tensor.dtype));
}

static void r60_overlapping_strides_are_not_written(void) {
    static const int64_t overlapping[][2] = {{0, 1}, {1, 1}, {2, 1}, {-1, 1}, {3, 0}};
    static const int64_t apart[][2] = {{3, 1}, {1, 2}, {8, 2}, {-3, -1}, {-1, 8}};
    sample from;
    SAMPLE(&from, buffer + 32, 2, 3);
    for (size_t i = 0; i < COUNT(overlapping); i++) {
        sample_strides(&from, overlapping[i]);
        CHECK_FAILS(write_status(&from), DLB_ERROR_UNSUPPORTED, "may share one element");
        CHECK_OK(read_status(&from, from.tensor.dtype));
        sample_strides(&from, apart[i]);
        CHECK_OK(write_status(&from));
    }
}

/* --- references --- */

static void retain_counts(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    dlb_tensor *tensor = sample_tensor(&from);
    for (int i = 0; i < 1000; i++) {
        CHECK(dlb_tensor_retain(tensor) == tensor);
    }
    CHECK_EQUAL(dlb_live_tensors(), 1);
    for (int i = 0; i < 1000; i++) {
        dlb_tensor_release(tensor);
    }
    CHECK_EQUAL(from.released, 0);
    dlb_tensor_release(tensor);
    CHECK_EQUAL(from.released, 1);
}

static void release_that_calls_dlbridge(void *context) {
    float data = 0;
    sample inner;
    SAMPLE(&inner, &data, 1);
    dlb_tensor_release(sample_tensor(&inner));
    CHECK_EQUAL(inner.released, 1);
    CHECK_EQUAL(dlb_live_tensors(), 0);
    inner.tensor.ndim = -5;
    sample_refused(&inner, EVERY_DOOR, DLB_ERROR_INVALID_TENSOR, "ndim is -5");
    sample_release(context);
}

static void a_release_function_may_call_dlbridge(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    dlb_tensor *tensor = NULL;
    CHECK_OK(dlb_tensor_wrap(&from.tensor, 0, release_that_calls_dlbridge, &from, &tensor));
    dlb_tensor_release(tensor);
    CHECK_EQUAL(from.released, 1);
}

static void delete_that_fails_at_something_else(DLManagedTensorVersioned *managed) {
    DLDataType dtype;
    CHECK_FAILS(dlb_dtype_parse("something else", &dtype), DLB_ERROR_INVALID_ARGUMENT, "something else");
    managed->manager_ctx = NULL;
}

static void a_deleter_does_not_spoil_the_message(void) {
    sample from;
    dlb_tensor *tensor = NULL;
    SAMPLE(&from, buffer, 2, 3);
    DLManagedTensorVersioned managed = {.version = {1, 3}, .manager_ctx = &from, .dl_tensor = from.tensor,
                                        .deleter = delete_that_fails_at_something_else};
    managed.dl_tensor.ndim = -5;
    CHECK_FAILS(dlb_tensor_import(&managed, &tensor), DLB_ERROR_INVALID_TENSOR, "ndim is -5");
    CHECK(managed.manager_ctx == NULL);
}

static void null_arguments(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    dlb_tensor *tensor = sample_tensor(&from);
    DLDataType dtype = from.tensor.dtype;
    const void *data = &from;
    void *writable = &from;
    DLManagedTensorVersioned *export = NULL;
    DLManagedTensor *legacy = NULL;
    dlb_tensor_release(NULL);
    CHECK(dlb_tensor_retain(NULL) == NULL && dlb_tensor_view(NULL) == NULL);
    CHECK(dlb_tensor_flags(NULL) == 0 && dlb_tensor_size(NULL) == 0 && dlb_tensor_nbytes(NULL) == 0);
    CHECK(!dlb_tensor_is_contiguous(NULL, 'C') && dlb_tensor_alignment(NULL) == 0);
    CHECK_FAILS(dlb_tensor_export(NULL, &export), DLB_ERROR_INVALID_ARGUMENT, "tensor is NULL");
    CHECK_FAILS(dlb_tensor_export_legacy(NULL, &legacy), DLB_ERROR_INVALID_ARGUMENT, "tensor is NULL");
    CHECK_FAILS(dlb_tensor_export_legacy(tensor, NULL), DLB_ERROR_INVALID_ARGUMENT, "out is NULL");
    CHECK_FAILS(dlb_tensor_data(NULL, dtype, &data), DLB_ERROR_INVALID_ARGUMENT, "tensor is NULL");
    CHECK_FAILS(dlb_tensor_data(tensor, dtype, NULL), DLB_ERROR_INVALID_ARGUMENT, "out is NULL");
    CHECK_FAILS(dlb_tensor_mutable_data(NULL, dtype, &writable), DLB_ERROR_INVALID_ARGUMENT, "tensor is NULL");
    CHECK_FAILS(dlb_tensor_mutable_data(tensor, dtype, NULL), DLB_ERROR_INVALID_ARGUMENT, "out is NULL");
    CHECK(export == NULL && legacy == NULL && data == &from && writable == &from);
    dlb_tensor_release(tensor);
}

RUN_TESTS(TEST(sizes_count_what_a_copy_would_need), TEST(contiguous_in_either_order),
          TEST(alignment_is_that_of_the_first_element), TEST(another_dtype_is_refused),
          TEST(a42_read_only_refuses_mutable_access), TEST(a43_bool_bytes_other_than_0_and_1),
          TEST(r56_an_unknown_code_passes_but_is_not_accessed), TEST(r58_misaligned_access),
          TEST(r60_overlapping_strides_are_not_written), TEST(retain_counts),
          TEST(a_release_function_may_call_dlbridge), TEST(a_deleter_does_not_spoil_the_message),
          TEST(null_arguments))
