/* dlb_python_import, dlb_python_capsule in a program without Python: they say so, and everything else works. */
#include "sample.h"

static void import_is_unavailable(void) {
    int something;
    dlb_tensor *const untouched = (dlb_tensor *)(void *)&something;
    dlb_tensor *out = untouched;
    CHECK_FAILS(dlb_python_import(&something, &out), DLB_ERROR_UNAVAILABLE, "no Python interpreter in this process");
    CHECK(out == untouched);
}

static void capsule_is_unavailable(void) {
    float data[4] = {0};
    sample from;
    SAMPLE(&from, data, 4);
    dlb_tensor *tensor = sample_tensor(&from);
    for (int legacy = 0; legacy <= 1; legacy++) {
        void *out = &from;
        CHECK_FAILS(dlb_python_capsule(tensor, legacy, &out), DLB_ERROR_UNAVAILABLE, "no Python interpreter");
        CHECK(out == &from);
        CHECK_EQUAL(dlb_live_exports(), 0);
    }
    CHECK_EQUAL(from.released, 0);
    dlb_tensor_release(tensor);
    CHECK_EQUAL(from.released, 1);
}

static void null_arguments(void) {
    float data[4] = {0};
    sample from;
    SAMPLE(&from, data, 4);
    dlb_tensor *tensor = sample_tensor(&from), *out = NULL;
    void *capsule = NULL;
    CHECK_FAILS(dlb_python_import(NULL, &out), DLB_ERROR_INVALID_ARGUMENT, "object is NULL");
    CHECK_FAILS(dlb_python_import(data, NULL), DLB_ERROR_INVALID_ARGUMENT, "out is NULL");
    CHECK_FAILS(dlb_python_capsule(NULL, 0, &capsule), DLB_ERROR_INVALID_ARGUMENT, "tensor is NULL");
    CHECK_FAILS(dlb_python_capsule(tensor, 0, NULL), DLB_ERROR_INVALID_ARGUMENT, "out_capsule is NULL");
    CHECK(out == NULL && capsule == NULL);
    dlb_tensor_release(tensor);
}

RUN_TESTS(TEST(import_is_unavailable), TEST(capsule_is_unavailable), TEST(null_arguments))
