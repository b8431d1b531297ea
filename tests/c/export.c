/* Handing tensors out: dlb_tensor_export, dlb_tensor_export_legacy, and their deleters (p3 to p31). */
#include "sample.h"

static float buffer[64];

static DLManagedTensorVersioned *export_of(const dlb_tensor *tensor) {
    DLManagedTensorVersioned *export = NULL;
    MUST(dlb_tensor_export(tensor, &export) == DLB_OK && export != NULL && export->deleter != NULL);
    return export;
}

static void an_export_is_dlpack_1_3_on_the_same_memory(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    from.tensor.byte_offset = 8;
    dlb_tensor *tensor = sample_tensor(&from);
    DLManagedTensorVersioned *export = export_of(tensor);
    CHECK_EQUAL(export->version.major, 1);
    CHECK_EQUAL(export->version.minor, 3);
    CHECK_EQUAL(export->flags, 0);
    CHECK(export->dl_tensor.data == buffer + 2);
    CHECK_EQUAL(export->dl_tensor.byte_offset, 0); /* p9 */
    CHECK_EQUAL(export->dl_tensor.device.device_type, CPU);
    CHECK(memcmp(export->dl_tensor.shape, from.shape, 2 * sizeof(int64_t)) == 0);
    export->deleter(export);
    dlb_tensor_release(tensor);
}

static void check_exported_strides(const int64_t *shape, const int64_t *given, const int64_t *expected) {
    sample from;
    sample_init(&from, buffer + 32, 3, shape);
    sample_strides(&from, given);
    dlb_tensor *tensor = sample_tensor(&from);
    DLManagedTensorVersioned *export = export_of(tensor);
    DLManagedTensor *legacy = NULL;
    MUST(dlb_tensor_export_legacy(tensor, &legacy) == DLB_OK);
    for (int axis = 0; axis < 3; axis++) {
        CHECK_EQUAL(export->dl_tensor.strides[axis], expected[axis]);
        CHECK_EQUAL(legacy->dl_tensor.strides[axis], expected[axis]);
        CHECK_EQUAL(dlb_tensor_view(tensor)->strides[axis], given[axis]);
    }
    export->deleter(export), legacy->deleter(legacy);
    dlb_tensor_release(tensor);
}

static void p6_strides_are_never_null_and_canonical_where_unused(void) {
#define THREE(a, b, c) ((const int64_t[]){a, b, c})
    check_exported_strides(THREE(2, 1, 3), THREE(3, 99, 1), THREE(3, 3, 1));
    check_exported_strides(THREE(1, 2, 3), THREE(INT64_MIN, 3, 1), THREE(6, 3, 1));
    check_exported_strides(THREE(2, 3, 1), THREE(3, 1, -7), THREE(3, 1, 1));
    check_exported_strides(THREE(1, 1, 1), THREE(5, 6, 7), THREE(1, 1, 1));
    check_exported_strides(THREE(2, 0, 3), THREE(9, 9, 9), THREE(3, 3, 1));
    check_exported_strides(THREE(2, 2, 2), THREE(-4, 8, 0), THREE(-4, 8, 0));
#undef THREE
}

static void p7_zero_dimensions(void) {
    sample from;
    SAMPLE(&from, buffer, 1);
    from.tensor.ndim = 0, from.tensor.shape = from.tensor.strides = NULL;
    dlb_tensor *tensor = sample_tensor(&from);
    DLManagedTensorVersioned *export = export_of(tensor);
    CHECK_EQUAL(export->dl_tensor.ndim, 0);
    CHECK(export->dl_tensor.data == buffer);
    CHECK_EQUAL(dlb_tensor_size(tensor), 1);
    CHECK(dlb_tensor_is_contiguous(tensor, 'C') && dlb_tensor_is_contiguous(tensor, 'F'));
    export->deleter(export);
    dlb_tensor_release(tensor);
}

static void p8_an_empty_tensor_has_no_data(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 0);
    dlb_tensor *tensor = sample_tensor(&from);
    DLManagedTensorVersioned *export = export_of(tensor);
    CHECK(export->dl_tensor.data == NULL);
    CHECK(export->dl_tensor.strides != NULL);
    export->deleter(export);
    CHECK_EQUAL(from.released, 0);
    dlb_tensor_release(tensor);
    CHECK_EQUAL(from.released, 1);
}

static void p9_byte_offset_stays_beside_a_handle(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    from.tensor.device = device_of(VULKAN, 0), from.tensor.byte_offset = 8;
    dlb_tensor *tensor = sample_tensor(&from);
    DLManagedTensorVersioned *export = export_of(tensor);
    CHECK(export->dl_tensor.data == buffer);
    CHECK_EQUAL(export->dl_tensor.byte_offset, 8);
    export->deleter(export);
    dlb_tensor_release(tensor);
}

static void p11_read_only_survives_every_round(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    from.flags = DLPACK_FLAG_BITMASK_READ_ONLY;
    dlb_tensor *tensor = sample_tensor(&from);
    for (int round = 0; round < 5; round++) {
        DLManagedTensorVersioned *export = export_of(tensor);
        DLManagedTensor *legacy = NULL;
        CHECK_EQUAL(export->flags, DLPACK_FLAG_BITMASK_READ_ONLY);
        CHECK_FAILS(dlb_tensor_export_legacy(tensor, &legacy), DLB_ERROR_READ_ONLY, "legacy export"); /* p3 */
        CHECK(legacy == NULL);
        dlb_tensor_release(tensor);
        MUST(dlb_tensor_import(export, &tensor) == DLB_OK);
    }
    CHECK_EQUAL(from.released, 0);
    dlb_tensor_release(tensor);
    CHECK_EQUAL(from.released, 1);
}

static void p15_every_export_has_its_own_header(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    dlb_tensor *tensor = sample_tensor(&from);
    DLManagedTensorVersioned *one = export_of(tensor), *two = export_of(tensor);
    DLManagedTensor *three = NULL;
    MUST(dlb_tensor_export_legacy(tensor, &three) == DLB_OK);
    dlb_tensor_release(tensor);
    CHECK(one != two && one->dl_tensor.shape != two->dl_tensor.shape);
    CHECK(two->dl_tensor.strides != three->dl_tensor.strides);
    CHECK_EQUAL(dlb_live_exports(), 3);
    memset(one->dl_tensor.shape, 0, 2 * sizeof(int64_t)); /* a consumer's own business */
    one->deleter(one), three->deleter(three);
    CHECK_EQUAL(two->dl_tensor.shape[1], 3);
    CHECK_EQUAL(from.released, 0);
    two->deleter(two);
    CHECK_EQUAL(from.released, 1);
}

static void p16_consumed_or_not_the_owner_goes_once(void) {
    for (int consumed = 0; consumed <= 1; consumed++) {
        sample from;
        dlb_tensor *imported = NULL;
        SAMPLE(&from, buffer, 2, 3);
        dlb_tensor *tensor = sample_tensor(&from);
        DLManagedTensorVersioned *export = export_of(tensor);
        dlb_tensor_release(tensor);
        if (consumed) {
            MUST(dlb_tensor_import(export, &imported) == DLB_OK);
            CHECK_EQUAL(from.released, 0);
            dlb_tensor_release(imported);
        } else {
            export->deleter(export);
        }
        CHECK_EQUAL(from.released, 1);
    }
}

static void p18_the_deleter_survives_a_mangled_header(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    dlb_tensor *tensor = sample_tensor(&from);
    DLManagedTensorVersioned *export = export_of(tensor);
    void (*deleter)(DLManagedTensorVersioned *) = export->deleter;
    dlb_tensor_release(tensor);
    deleter(NULL);
    memset(export, 0xff, sizeof *export);
    deleter(export);
    CHECK_EQUAL(from.released, 1);
}

static void p31_a_failure_midway_leaks_nothing(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    from.flags = DLPACK_FLAG_BITMASK_READ_ONLY;
    dlb_tensor *tensor = sample_tensor(&from);
    DLManagedTensor *legacy = NULL;
    for (int i = 0; i < 100; i++) {
        CHECK_FAILS(dlb_tensor_export_legacy(tensor, &legacy), DLB_ERROR_READ_ONLY, "read-only");
        CHECK_FAILS(dlb_tensor_export(tensor, NULL), DLB_ERROR_INVALID_ARGUMENT, "out is NULL");
    }
    CHECK_EQUAL(dlb_live_exports(), 0);
    CHECK_EQUAL(dlb_live_tensors(), 1);
    dlb_tensor_release(tensor);
    CHECK_EQUAL(from.released, 1);
}

/* An export that somebody changed on the way is taken at its word, as anybody's struct is. */
static void a_changed_export_comes_back_as_changed(void) {
    sample from;
    dlb_tensor *back = NULL;
    SAMPLE(&from, buffer, 2, 3);
    dlb_tensor *tensor = sample_tensor(&from);
    DLManagedTensorVersioned *export = export_of(tensor);
    export->dl_tensor.shape[0] = 1, export->dl_tensor.byte_offset = 4;
    export->flags |= DLPACK_FLAG_BITMASK_READ_ONLY;
    dlb_tensor_release(tensor);
    CHECK_OK(dlb_tensor_import(export, &back));
    CHECK_EQUAL(dlb_tensor_size(back), 3);
    CHECK(dlb_tensor_view(back)->data == buffer + 1);
    CHECK_EQUAL(dlb_tensor_flags(back), DLPACK_FLAG_BITMASK_READ_ONLY);
    CHECK_EQUAL(from.released, 0);
    dlb_tensor_release(back);
    CHECK_EQUAL(from.released, 1);
}

static void a_spoilt_export_is_refused_and_let_go(void) {
    sample from;
    dlb_tensor *back = NULL;
    SAMPLE(&from, buffer, 2, 3);
    dlb_tensor *tensor = sample_tensor(&from);
    DLManagedTensorVersioned *export = export_of(tensor);
    export->dl_tensor.ndim = -1;
    dlb_tensor_release(tensor);
    CHECK_FAILS(dlb_tensor_import(export, &back), DLB_ERROR_INVALID_TENSOR, "ndim is -1");
    CHECK(back == NULL);
    CHECK_EQUAL(from.released, 1);
}

/* Out and in again, each time letting the former tensor go: neither side of a ping-pong may pile up owners. */
static void a_long_chain_of_hand_overs_is_released_without_recursion(void) {
    sample from;
    SAMPLE(&from, buffer, 2, 3);
    dlb_tensor *tensor = sample_tensor(&from);
    for (long left = getenv("CHECK_QUICK") == NULL ? 1000000 : 10000; left > 0; left--) {
        DLManagedTensorVersioned *export = export_of(tensor);
        dlb_tensor_release(tensor);
        MUST(dlb_tensor_import(export, &tensor) == DLB_OK);
    }
    CHECK_EQUAL(from.released, 0);
    dlb_tensor_release(tensor);
    CHECK_EQUAL(from.released, 1);
}

RUN_TESTS(TEST(an_export_is_dlpack_1_3_on_the_same_memory),
          TEST(p6_strides_are_never_null_and_canonical_where_unused), TEST(p7_zero_dimensions),
          TEST(p8_an_empty_tensor_has_no_data), TEST(p9_byte_offset_stays_beside_a_handle),
          TEST(p11_read_only_survives_every_round), TEST(p15_every_export_has_its_own_header),
          TEST(p16_consumed_or_not_the_owner_goes_once), TEST(p18_the_deleter_survives_a_mangled_header),
          TEST(p31_a_failure_midway_leaks_nothing), TEST(a_changed_export_comes_back_as_changed),
          TEST(a_spoilt_export_is_refused_and_let_go),
          TEST(a_long_chain_of_hand_overs_is_released_without_recursion))
