/* Memory of our own: dlb_tensor_empty and dlb_tensor_zeros. */
#include "memory.h"

/* --- dlb_tensor_empty --- */

static void p10_own_memory_is_aligned_to_256(void) {
    int64_t shapes[][2] = {{1, 1}, {480, 1920}, {3, MIB}};
    for (size_t i = 0; i < COUNT(shapes); i++) {
        dlb_tensor *tensor = NULL;
        dlb_tensor_options options = options_of(shapes[i], 2, UINT8);
        MUST(dlb_tensor_empty(&options, &tensor) == DLB_OK);
        CHECK_EQUAL((uintptr_t)written(tensor, UINT8) % 256, 0);
        CHECK_EQUAL(dlb_tensor_view(tensor)->device.device_type, kDLCPU);
        CHECK_EQUAL(dlb_tensor_flags(tensor), 0);
        CHECK(dlb_tensor_is_contiguous(tensor, 'C'));
        dlb_tensor_release(tensor);
    }
}

static void any_alignment_may_be_asked_for(void) {
    int64_t shape[] = {3 * MIB};
    for (size_t alignment = 1; alignment <= 4 * MIB; alignment *= 4) {
        dlb_tensor *tensor = NULL;
        dlb_tensor_options options = options_of(shape, 1, UINT8);
        options.alignment = alignment;
        MUST(dlb_tensor_empty(&options, &tensor) == DLB_OK);
        CHECK_EQUAL((uintptr_t)written(tensor, UINT8) % alignment, 0);
        dlb_tensor_release(tensor);
    }
}

static void p08_a_tensor_without_elements_has_no_memory(void) {
    int64_t shape[] = {3, 0};
    dlb_tensor *tensor = NULL;
    dlb_tensor_options options = options_of(shape, 2, UINT8);
    MUST(dlb_tensor_empty(&options, &tensor) == DLB_OK);
    CHECK(dlb_tensor_view(tensor)->data == NULL);
    dlb_tensor_release(tensor);
}

static void a_scalar_needs_no_shape(void) {
    dlb_tensor *tensor = NULL;
    dlb_tensor_options options = options_of(NULL, 0, (DLDataType){kDLFloat, 64, 1});
    MUST(dlb_tensor_empty(&options, &tensor) == DLB_OK);
    CHECK_EQUAL(dlb_tensor_nbytes(tensor), 8);
    dlb_tensor_release(tensor);
}

static void an_export_keeps_the_memory(void) {
    int64_t shape[] = {100};
    dlb_tensor *tensor = NULL;
    DLManagedTensorVersioned *export = NULL;
    dlb_tensor_options options = options_of(shape, 1, UINT8);
    MUST(dlb_tensor_empty(&options, &tensor) == DLB_OK && dlb_tensor_export(tensor, &export) == DLB_OK);
    dlb_tensor_release(tensor);
    memset(export->dl_tensor.data, 1, 100);
    export->deleter(export);
}

/* Small memory, the pool's, and memory that was used before are 0; so are those of an allocator that knows nothing of it. */
static void zeros_are_zeros(void) {
    const size_t sizes[] = {1, 1000, MIB + 3, 5 * MIB + 1};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        int64_t shape[] = {(int64_t)sizes[i]};
        dlb_tensor_options options = options_of(shape, 1, UINT8);
        for (int turn = 0; turn < 2; turn++) {
            dlb_tensor *tensor = NULL;
            const void *data = NULL;
            MUST(dlb_tensor_zeros(&options, &tensor) == DLB_OK);
            CHECK_OK(dlb_tensor_data(tensor, UINT8, &data));
            size_t set = 0;
            for (size_t byte = 0; byte < sizes[i]; byte++) set += ((const unsigned char *)data)[byte] != 0;
            CHECK_EQUAL(set, 0);
            written(tensor, UINT8);
            dlb_tensor_release(tensor);
        }
    }
}

static void what_makes_no_sense_is_refused(void) {
    int64_t negative[] = {2, -3}, huge[] = {INT64_MAX, 2}, large[] = {(int64_t)1 << 50}, one[] = {1};
    dlb_tensor *out = NULL;
    dlb_tensor_options options = options_of(one, 1, UINT8);
    CHECK_FAILS(dlb_tensor_empty(NULL, &out), DLB_ERROR_INVALID_ARGUMENT, "options is NULL");
    CHECK_FAILS(dlb_tensor_empty(&options, NULL), DLB_ERROR_INVALID_ARGUMENT, "out is NULL");
    CHECK_FAILS(dlb_tensor_zeros(NULL, &out), DLB_ERROR_INVALID_ARGUMENT, "options is NULL");
    CHECK_FAILS(dlb_tensor_zeros(&options, NULL), DLB_ERROR_INVALID_ARGUMENT, "out is NULL");
    refused(options_of(negative, 2, UINT8), DLB_ERROR_INVALID_ARGUMENT, "dimension 1 of the shape is -3");
    refused(options_of(huge, 2, UINT8), DLB_ERROR_INVALID_ARGUMENT, "does not fit 63 bits");
    refused(options_of(large, 1, UINT8), DLB_ERROR_OUT_OF_MEMORY, "1125899906842624 bytes");
    refused(options_of(NULL, 1, UINT8), DLB_ERROR_INVALID_ARGUMENT, "shape is NULL");
    refused(options_of(one, -1, UINT8), DLB_ERROR_INVALID_ARGUMENT, "shape has -1 values");
    refused(options_of(one, 1, (DLDataType){kDLBool, 1, 1}), DLB_ERROR_INVALID_ARGUMENT, "cannot exist");
    options.alignment = 48;
    refused(options, DLB_ERROR_INVALID_ARGUMENT, "alignment 48 is no power of two up to 1 GiB");
    options.alignment = (size_t)1 << 62;
    refused(options, DLB_ERROR_INVALID_ARGUMENT, "alignment 4611686018427387904 is no power of two up to 1 GiB");
    options.struct_size = 8;
    refused(options, DLB_ERROR_INVALID_ARGUMENT, "struct_size of dlb_tensor_options is 8");
}

static void what_needs_a_driver_is_unavailable(void) {
    int64_t shape[] = {4};
    dlb_tensor_options options = options_of(shape, 1, UINT8);
    options.pinned = 1;
    refused(options, DLB_ERROR_UNAVAILABLE, "without pinned");
    options.pinned = 0;
    options.device = (DLDevice){kDLCUDA, 1};
    refused(options, DLB_ERROR_UNAVAILABLE, "memory on cuda:1 cannot be allocated");
}

RUN_TESTS(TEST(p10_own_memory_is_aligned_to_256), TEST(any_alignment_may_be_asked_for),
          TEST(p08_a_tensor_without_elements_has_no_memory), TEST(a_scalar_needs_no_shape),
          TEST(an_export_keeps_the_memory), TEST(zeros_are_zeros), TEST(what_makes_no_sense_is_refused),
          TEST(what_needs_a_driver_is_unavailable))
