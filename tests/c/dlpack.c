/* What comes in through dlb_tensor_import, dlb_tensor_import_legacy and dlb_tensor_wrap: what is accepted (a33 to a45)
 * and what is refused (r46 to r59). */
#include "sample.h"

#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

static float buffer[64];

/* --- accepted --- */

static void looks_as_described(const sample *from, const dlb_tensor *tensor) {
    const DLTensor *view = dlb_tensor_view(tensor);
    CHECK(view->data == (char *)from->tensor.data + from->tensor.byte_offset);
    CHECK_EQUAL(view->byte_offset, 0);
    CHECK_EQUAL(view->ndim, from->tensor.ndim);
    CHECK(memcmp(&view->dtype, &from->tensor.dtype, sizeof view->dtype) == 0);
    for (int32_t axis = 0; axis < view->ndim; axis++) {
        CHECK_EQUAL(view->shape[axis], from->shape[axis]);
        CHECK_EQUAL(view->strides[axis], from->strides[axis]);
    }
}

static void writes_reach_the_buffer(const sample *from, const dlb_tensor *tensor) {
    void *data = NULL;
    looks_as_described(from, tensor);
    CHECK_OK(dlb_tensor_mutable_data(tensor, from->tensor.dtype, &data));
    CHECK(data == from->tensor.data);
    ((float *)data)[5] += 1;
}

static void a33_versioned_and_legacy(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    sample_accepted(&from, EVERY_DOOR, looks_as_described);
}

static void a34_a_higher_minor_version(void) {
    static const uint32_t minors[] = {0, 1, 2, 3, 4, 99, UINT32_MAX};
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    for (size_t i = 0; i < COUNT(minors); i++) {
        from.version.minor = minors[i];
        sample_accepted(&from, VERSIONED, looks_as_described);
    }
}

static void a35_null_strides_are_row_major(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3, 4);
    from.tensor.strides = NULL; /* from.strides holds the row-major ones to compare with */
    for (uint32_t minor = 0; minor <= 3; minor++) {
        from.version.minor = minor;
        sample_accepted(&from, EVERY_DOOR, looks_as_described);
    }
}

static void a36_byte_offset(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    from.tensor.byte_offset = 20;
    sample_accepted(&from, EVERY_DOOR, looks_as_described);
}

static void keeps_the_offset(const sample *from, const dlb_tensor *tensor) {
    CHECK(dlb_tensor_view(tensor)->data == from->tensor.data);
    CHECK_EQUAL(dlb_tensor_view(tensor)->byte_offset, 20);
    CHECK_EQUAL(dlb_tensor_alignment(tensor), 0);
}

static void a36_byte_offset_stays_beside_a_handle(void) {
    static const int handles[] = {OPENCL, VULKAN, METAL, WEBGPU};
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    from.tensor.byte_offset = 20;
    for (size_t i = 0; i < COUNT(handles); i++) {
        from.tensor.device = device_of(handles[i], 1);
        sample_accepted(&from, EVERY_DOOR, keeps_the_offset);
    }
}

static void a37_negative_strides(void) {
    sample from;
    SAMPLE(&from, buffer + 5, 2, 3);
    STRIDES(&from, -3, -1);
    sample_accepted(&from, EVERY_DOOR, looks_as_described);
}

static void a37_zero_strides(void) {
    sample from;
    SAMPLE(&from, buffer, 5, 3);
    STRIDES(&from, 0, 1);
    sample_accepted(&from, EVERY_DOOR, looks_as_described);
}

static void a38_any_stride_on_size_1(void) {
    static const int64_t odd[] = {0, -1, 77, INT64_MAX, INT64_MIN};
    sample from;
    SAMPLE(&from, buffer, 1, 3, 1);
    for (size_t i = 0; i < COUNT(odd); i++) {
        STRIDES(&from, odd[i], 1, odd[COUNT(odd) - 1 - i]);
        sample_accepted(&from, EVERY_DOOR, looks_as_described);
    }
}

static void is_empty(const sample *from, const dlb_tensor *tensor) {
    const void *data = &data;
    CHECK(dlb_tensor_view(tensor)->data == NULL);
    CHECK_EQUAL(dlb_tensor_view(tensor)->byte_offset, 0);
    CHECK_EQUAL(dlb_tensor_size(tensor), 0);
    CHECK_EQUAL(dlb_tensor_nbytes(tensor), 0);
    CHECK_EQUAL(dlb_tensor_alignment(tensor), 0);
    CHECK(dlb_tensor_is_contiguous(tensor, 'C') && dlb_tensor_is_contiguous(tensor, 'F'));
    CHECK_OK(dlb_tensor_data(tensor, from->tensor.dtype, &data));
    CHECK(data == NULL);
}

static void a38_any_stride_on_size_0(void) {
    static void *const addresses[] = {NULL, buffer, (void *)UINTPTR_MAX};
    sample from;
    SAMPLE(&from, NULL, 4, 0, 5);
    STRIDES(&from, INT64_MAX, INT64_MIN, INT64_MIN);
    from.tensor.byte_offset = UINT64_MAX;
    for (size_t i = 0; i < COUNT(addresses); i++) {
        from.tensor.data = addresses[i];
        sample_accepted(&from, EVERY_DOOR, is_empty);
    }
}

static void a39_null_deleter(void) {
    sample from;
    dlb_tensor *tensor = NULL;
    SAMPLE(&from, buffer, 2, 3);
    DLManagedTensorVersioned versioned = {.version = {1, 3}, .dl_tensor = from.tensor};
    DLManagedTensor legacy = {.dl_tensor = from.tensor};
    CHECK_OK(dlb_tensor_import(&versioned, &tensor));
    looks_as_described(&from, tensor);
    dlb_tensor_release(tensor);
    CHECK_OK(dlb_tensor_import_legacy(&legacy, &tensor));
    dlb_tensor_release(tensor);
    CHECK_OK(dlb_tensor_wrap(&from.tensor, 0, NULL, &from, &tensor));
    dlb_tensor_release(tensor);
    CHECK_EQUAL(from.released, 0);
    versioned.version.major = 2; /* refused, and still without one */
    CHECK_FAILS(dlb_tensor_import(&versioned, &tensor), DLB_ERROR_UNSUPPORTED, "2.3");
}

static void a41_fortran_order_and_slices(void) {
    static const int64_t layouts[][2] = {{1, 4}, {8, 2}, {-12, 1}, {16, -5}};
    sample from;
    SAMPLE(&from, buffer + 32, 4, 3);
    for (size_t i = 0; i < COUNT(layouts); i++) {
        sample_strides(&from, layouts[i]);
        sample_accepted(&from, EVERY_DOOR, looks_as_described);
    }
}

static void a45_zero_copy(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    buffer[5] = 0;
    sample_accepted(&from, EVERY_DOOR, writes_reach_the_buffer);
    CHECK(buffer[5] == 3);
    buffer[5] = 0;
}

static void has_no_flags(const sample *from, const dlb_tensor *tensor) {
    DLManagedTensorVersioned *export = NULL;
    (void)from;
    CHECK_EQUAL(dlb_tensor_flags(tensor), 0);
    MUST(dlb_tensor_export(tensor, &export) == DLB_OK);
    CHECK_EQUAL(export->flags, 0);
    export->deleter(export);
}

/* IS_COPIED is about how the sample came to be, not about what is exported from here. */
static void unknown_flags_and_is_copied_are_dropped(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    from.flags = ~(uint64_t)(DLPACK_FLAG_BITMASK_READ_ONLY);
    sample_accepted(&from, VERSIONED, has_no_flags);
}

static void the_largest_rank_is_accepted(void) {
    int64_t ones[DLB_MAX_NDIM];
    sample from;
    for (size_t i = 0; i < COUNT(ones); i++) {
        ones[i] = 1;
    }
    sample_init(&from, buffer, DLB_MAX_NDIM, ones);
    sample_accepted(&from, EVERY_DOOR, looks_as_described);
}

/* --- refused --- */

static void r46_another_major_version(void) {
    static const struct {
        DLPackVersion version;
        const char *words;
    } versions[] = {{{0, 8}, "0.8"}, {{2, 0}, "2.0"}, {{UINT32_MAX, 3}, "4294967295.3"}};
    sample bad;
    SAMPLE(&bad, buffer, 2, 3);
    for (size_t i = 0; i < COUNT(versions); i++) {
        bad.version = versions[i].version;
        sample_refused(&bad, VERSIONED, DLB_ERROR_UNSUPPORTED, versions[i].words);
    }
}

static void count_deletion(DLManagedTensorVersioned *managed) { ++*(int *)managed->manager_ctx; }

/* Everything behind the prefix lies in a page that faults when touched. */
static void r46_only_the_stable_prefix_is_touched(void) {
    enum { PREFIX = offsetof(DLManagedTensorVersioned, dl_tensor) };
    _Static_assert(PREFIX == 32, "version, manager_ctx, deleter, flags");
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(pages != MAP_FAILED && mprotect(pages + page, page, PROT_NONE) == 0);
    DLManagedTensorVersioned *managed = (void *)(pages + page - PREFIX);
    int deletions = 0;
    managed->version = (DLPackVersion){2, 7};
    managed->manager_ctx = &deletions;
    managed->deleter = count_deletion;
    managed->flags = UINT64_MAX;
    dlb_tensor *tensor = NULL;
    CHECK_FAILS(dlb_tensor_import(managed, &tensor), DLB_ERROR_UNSUPPORTED, "2.7");
    CHECK(tensor == NULL);
    CHECK_EQUAL(deletions, 1);
    MUST(munmap(pages, 2 * page) == 0);
}

static void r47_ndim(int32_t ndim, const char *words) {
    sample bad;
    SAMPLE(&bad, buffer, 1, 1);
    bad.tensor.ndim = ndim;
    sample_refused(&bad, EVERY_DOOR, DLB_ERROR_INVALID_TENSOR, words);
}

static void r47_negative_ndim(void) {
    r47_ndim(-1, "ndim is -1");
    r47_ndim(INT32_MIN, "ndim is -2147483648");
}

static void r47_ndim_above_the_limit(void) {
    r47_ndim(DLB_MAX_NDIM + 1, "ndim is 129");
    r47_ndim(INT32_MAX, "ndim is 2147483647");
}

static void r48_null_shape(void) {
    sample bad;
    SAMPLE(&bad, buffer, 2, 3);
    bad.tensor.shape = NULL;
    sample_refused(&bad, EVERY_DOOR, DLB_ERROR_INVALID_TENSOR, "shape is NULL although ndim is 2");
    bad.tensor.strides = NULL;
    sample_refused(&bad, EVERY_DOOR, DLB_ERROR_INVALID_TENSOR, "shape is NULL");
}

static void r49_a_negative_dimension(void) {
    static const struct {
        int64_t shape[2];
        const char *words;
    } shapes[] = {{{-1, 3}, "dimension 0 is -1"}, {{3, -5}, "dimension 1 is -5"}, {{0, -5}, "dimension 1 is -5"},
                  {{INT64_MIN, INT64_MIN}, "dimension 0 is -9223372036854775808"}};
    for (size_t i = 0; i < COUNT(shapes); i++) {
        sample bad;
        sample_init(&bad, buffer, 2, shapes[i].shape);
        sample_refused(&bad, EVERY_DOOR, DLB_ERROR_INVALID_TENSOR, shapes[i].words);
    }
}

/* A shape whose elements, or their bytes, do not fit 63 bits, with strides and without. */
static void r50(const int64_t *shape, DLDataType dtype, const char *words) {
    sample bad;
    sample_init(&bad, buffer, 3, shape);
    bad.tensor.dtype = dtype;
    STRIDES(&bad, 0, 0, 0);
    sample_refused(&bad, EVERY_DOOR, DLB_ERROR_INVALID_TENSOR, words);
    bad.tensor.strides = NULL;
    sample_refused(&bad, EVERY_DOOR, DLB_ERROR_INVALID_TENSOR, words);
}

static void r50_the_dimensions_overflow(void) {
    r50((const int64_t[]){INT64_MAX, INT64_MAX, INT64_MAX}, dtype_of(UINT, 8, 1), "9223372036854775807");
    r50((const int64_t[]){(int64_t)1 << 32, (int64_t)1 << 32, 1}, dtype_of(UINT, 8, 1), "4294967296");
    r50((const int64_t[]){(int64_t)1 << 62, 2, 1}, dtype_of(UINT, 1, 1), "4611686018427387904");
}

static void r50_the_bytes_overflow(void) {
    r50((const int64_t[]){(int64_t)1 << 61, 1, 1}, dtype_of(FLOAT, 32, 1), "2305843009213693952");
    r50((const int64_t[]){1, INT64_MAX, 1}, dtype_of(FLOAT, 64, 1), "64-bit");
    r50((const int64_t[]){1, 1, (int64_t)1 << 50}, dtype_of(FLOAT, 64, 65535), "4194240-bit");
}

static void r51(const int64_t *shape, const int64_t *strides, const char *words) {
    sample bad;
    sample_init(&bad, buffer, 2, shape);
    sample_strides(&bad, strides);
    sample_refused(&bad, EVERY_DOOR, DLB_ERROR_INVALID_TENSOR, words);
}

static void r51_the_span_of_the_strides_overflows(void) {
    r51((const int64_t[]){2, 3}, (const int64_t[]){INT64_MAX, 1}, "9223372036854775807");
    r51((const int64_t[]){2, 3}, (const int64_t[]){INT64_MIN, 1}, "-9223372036854775808");
    r51((const int64_t[]){3, 2}, (const int64_t[]){(int64_t)1 << 62, 1}, "4611686018427387904");
    r51((const int64_t[]){2, 2}, (const int64_t[]){(int64_t)1 << 60, (int64_t)1 << 60}, "1152921504606846976");
    r51((const int64_t[]){2, 2}, (const int64_t[]){-((int64_t)1 << 60), -((int64_t)1 << 61)}, "-1152921504606846976");
    r51((const int64_t[]){2, 2}, (const int64_t[]){-((int64_t)1 << 60), (int64_t)1 << 60}, "-1152921504606846976");
}

static void r52_the_address_overflows(void) {
    sample bad;
    SAMPLE(&bad, buffer, 2, 3);
    bad.tensor.byte_offset = UINT64_MAX;
    sample_refused(&bad, EVERY_DOOR, DLB_ERROR_INVALID_TENSOR, "byte_offset 18446744073709551615");
    bad.tensor.data = (void *)(UINTPTR_MAX - 15), bad.tensor.byte_offset = 0;
    sample_refused(&bad, EVERY_DOOR, DLB_ERROR_INVALID_TENSOR, "0xfffffffffffffff0");
    bad.tensor.data = (void *)16;
    STRIDES(&bad, -3, -1);
    sample_refused(&bad, EVERY_DOOR, DLB_ERROR_INVALID_TENSOR, "0x10");
    bad.tensor.device = device_of(VULKAN, 0); /* a handle: only the offset counts, and it is too small */
    bad.tensor.byte_offset = 8;
    sample_refused(&bad, EVERY_DOOR, DLB_ERROR_INVALID_TENSOR, "byte_offset 8");
}

static void r53_null_data(void) {
    sample bad;
    SAMPLE(&bad, NULL, 2, 3);
    sample_refused(&bad, EVERY_DOOR, DLB_ERROR_INVALID_TENSOR, "data is NULL although shape [2, 3]");
    bad.tensor.byte_offset = 64;
    sample_refused(&bad, EVERY_DOOR, DLB_ERROR_INVALID_TENSOR, "data is NULL");
    bad.tensor.ndim = 0;
    sample_refused(&bad, EVERY_DOOR, DLB_ERROR_INVALID_TENSOR, "data is NULL");
}

static void refuse_dtype(uint8_t code, uint8_t bits, uint16_t lanes) {
    sample bad;
    char words[64];
    SAMPLE(&bad, buffer, 2, 3);
    bad.tensor.dtype = dtype_of(code, bits, lanes);
    snprintf(words, sizeof words, "dtype(code=%u, bits=%u, lanes=%u)", code, bits, lanes);
    sample_refused(&bad, EVERY_DOOR, DLB_ERROR_INVALID_TENSOR, words);
}

static void r54_bits_or_lanes_0(void) {
    refuse_dtype(FLOAT, 0, 1);
    refuse_dtype(FLOAT, 32, 0);
    refuse_dtype(UNKNOWN_CODE, 0, 1);
    refuse_dtype(UNKNOWN_CODE, 8, 0);
}

static void r55_impossible_code_and_bits(void) {
    static const uint8_t pairs[][2] = {{BOOL, 1}, {BOOL, 16}, {FLOAT4_E2M1FN, 8}, {FLOAT, 7}, {FLOAT, 8},
                                       {FLOAT6_E2M3FN, 8}, {FLOAT8_E4M3FN, 16}, {BFLOAT, 32}, {COMPLEX, 16}, {INT, 9}};
    for (size_t i = 0; i < COUNT(pairs); i++) {
        refuse_dtype(pairs[i][0], pairs[i][1], 1);
    }
}

static void r57_padded_sub_byte(void) {
    sample bad;
    SAMPLE(&bad, buffer, 2, 3);
    bad.flags = DLPACK_FLAG_BITMASK_IS_SUBBYTE_TYPE_PADDED;
    bad.tensor.dtype = dtype_of(INT, 4, 1);
    sample_refused(&bad, VERSIONED | WRAP, DLB_ERROR_UNSUPPORTED, "int4");
    bad.tensor.dtype = dtype_of(FLOAT4_E2M1FN, 4, 2);
    sample_refused(&bad, VERSIONED | WRAP, DLB_ERROR_UNSUPPORTED, "float4_e2m1fnx2");
}

static void wrap_refuses_unknown_flags(void) {
    sample bad;
    SAMPLE(&bad, buffer, 2, 3);
    bad.flags = 1 << 30;
    sample_refused(&bad, WRAP, DLB_ERROR_INVALID_ARGUMENT, "0x40000000");
    bad.flags = DLPACK_FLAG_BITMASK_READ_ONLY | DLPACK_FLAG_BITMASK_IS_COPIED;
    sample_refused(&bad, WRAP, DLB_ERROR_INVALID_ARGUMENT, "0x3");
}

static void a_null_out_consumes_what_is_imported_and_nothing_that_is_wrapped(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    for (int round = 0; round < 2; round++) { /* well-formed, then malformed */
        from.released = 0;
        CHECK_FAILS(dlb_tensor_import(sample_managed(&from), NULL), DLB_ERROR_INVALID_ARGUMENT, "out is NULL");
        CHECK_EQUAL(from.released, 1);
        CHECK_FAILS(dlb_tensor_import_legacy(sample_legacy(&from), NULL), DLB_ERROR_INVALID_ARGUMENT, "out is NULL");
        CHECK_EQUAL(from.released, 2);
        CHECK_FAILS(sample_wrap(&from, NULL), DLB_ERROR_INVALID_ARGUMENT, "out is NULL");
        CHECK_EQUAL(from.released, 2);
        from.tensor.ndim = -1;
    }
}

static void null_arguments(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    dlb_tensor *out = NULL;
    CHECK_FAILS(dlb_tensor_import(NULL, &out), DLB_ERROR_INVALID_ARGUMENT, "managed is NULL");
    CHECK_FAILS(dlb_tensor_import(NULL, NULL), DLB_ERROR_INVALID_ARGUMENT, "NULL");
    CHECK_FAILS(dlb_tensor_import_legacy(NULL, &out), DLB_ERROR_INVALID_ARGUMENT, "managed is NULL");
    CHECK_FAILS(dlb_tensor_import_legacy(NULL, NULL), DLB_ERROR_INVALID_ARGUMENT, "NULL");
    CHECK_FAILS(dlb_tensor_wrap(NULL, 0, sample_release, &from, &out), DLB_ERROR_INVALID_ARGUMENT, "description is NULL");
    CHECK(out == NULL);
    CHECK_EQUAL(from.released, 0);
}

RUN_TESTS(TEST(a33_versioned_and_legacy), TEST(a34_a_higher_minor_version), TEST(a35_null_strides_are_row_major),
          TEST(a36_byte_offset), TEST(a36_byte_offset_stays_beside_a_handle), TEST(a37_negative_strides),
          TEST(a37_zero_strides), TEST(a38_any_stride_on_size_1), TEST(a38_any_stride_on_size_0),
          TEST(a39_null_deleter), TEST(a41_fortran_order_and_slices), TEST(a45_zero_copy),
          TEST(unknown_flags_and_is_copied_are_dropped), TEST(the_largest_rank_is_accepted),
          TEST(r46_another_major_version), TEST(r46_only_the_stable_prefix_is_touched), TEST(r47_negative_ndim),
          TEST(r47_ndim_above_the_limit), TEST(r48_null_shape), TEST(r49_a_negative_dimension),
          TEST(r50_the_dimensions_overflow), TEST(r50_the_bytes_overflow),
          TEST(r51_the_span_of_the_strides_overflows), TEST(r52_the_address_overflows), TEST(r53_null_data),
          TEST(r54_bits_or_lanes_0), TEST(r55_impossible_code_and_bits), TEST(r57_padded_sub_byte),
          TEST(wrap_refuses_unknown_flags),
          TEST(a_null_out_consumes_what_is_imported_and_nothing_that_is_wrapped), TEST(null_arguments))
