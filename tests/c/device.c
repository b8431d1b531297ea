/* dlb_device_name, and what a device means for a tensor. */
#include "sample.h"

static void every_device_has_its_name(void) {
    static const struct {
        int type;
        const char *name;
    } devices[] = {
        {1, "cpu"},         {2, "cuda:1"},   {3, "cuda_host"}, {4, "opencl:1"},      {7, "vulkan:1"},
        {8, "metal:1"},     {9, "vpi:1"},    {10, "rocm:1"},   {11, "rocm_host"},    {12, "ext_dev:1"},
        {14, "oneapi:1"},   {15, "webgpu:1"}, {16, "hexagon:1"}, {13, "cuda_managed"}, {17, "maia:1"},
        {18, "trn:1"},      {0, "device(type=0, id=1)"},       {5, "device(type=5, id=1)"},
        {19, "device(type=19, id=1)"},
    };
    for (size_t i = 0; i < COUNT(devices); i++) {
        char name[32];
        CHECK_EQUAL(dlb_device_name(device_of(devices[i].type, 1), name, sizeof name), strlen(devices[i].name));
        CHECK_TEXT(name, devices[i].name);
    }
}

static void thirty_two_bytes_are_enough(void) {
    for (int type = 1; type <= TRN; type++) {
        bool defined = type != 5 && type != 6;
        CHECK(!defined || dlb_device_name(device_of(type, INT32_MAX), NULL, 0) < 32);
        CHECK(!defined || dlb_device_name(device_of(type, INT32_MIN), NULL, 0) < 32);
    }
}

static void a_name_is_cut_as_snprintf_cuts(void) {
    for (size_t capacity = 0; capacity < 10; capacity++) {
        char expected[16] = "................", name[16] = "................";
        int length = snprintf(expected, capacity, "%s", "cuda:12");
        CHECK_EQUAL(dlb_device_name(device_of(CUDA, 12), name, capacity), length);
        CHECK(memcmp(name, expected, sizeof name) == 0);
    }
    CHECK_EQUAL(dlb_device_name(device_of(CUDA, 12), NULL, 0), 7);
    CHECK_EQUAL(dlb_device_name(device_of(CUDA, 12), NULL, 32), 7);
}

static void has_id_zero(const sample *from, const dlb_tensor *tensor) {
    CHECK_EQUAL(dlb_tensor_view(tensor)->device.device_type, from->tensor.device.device_type);
    CHECK_EQUAL(dlb_tensor_view(tensor)->device.device_id, 0);
}

static void p23_host_and_managed_memory_has_id_zero(void) {
    static const int host[] = {CPU, CUDA_HOST, ROCM_HOST, CUDA_MANAGED};
    float data[6] = {0};
    sample on;
    SAMPLE(&on, data, 2, 3);
    for (size_t i = 0; i < COUNT(host); i++) {
        on.tensor.device = device_of(host[i], 3);
        sample_accepted(&on, EVERY_DOOR, has_id_zero);
    }
}

static void reads_on_the_host(const sample *from, const dlb_tensor *tensor) {
    const void *data = NULL;
    CHECK_OK(dlb_tensor_data(tensor, from->tensor.dtype, &data));
    CHECK(data == from->tensor.data);
}

static void a40_host_and_managed_memory_is_readable(void) {
    static const int host[] = {CPU, CUDA_HOST, ROCM_HOST, CUDA_MANAGED};
    float data[6] = {0};
    sample on;
    SAMPLE(&on, data, 2, 3);
    for (size_t i = 0; i < COUNT(host); i++) {
        on.tensor.device = device_of(host[i], 0);
        sample_accepted(&on, EVERY_DOOR, reads_on_the_host);
    }
}

static void is_out_of_reach(const sample *from, const dlb_tensor *tensor) {
    const DLTensor *view = dlb_tensor_view(tensor);
    char name[32];
    const void *data = &data;
    void *writable = &data;
    dlb_device_name(from->tensor.device, name, sizeof name);
    CHECK_FAILS(dlb_tensor_data(tensor, view->dtype, &data), DLB_ERROR_UNSUPPORTED, name);
    CHECK_FAILS(dlb_tensor_mutable_data(tensor, view->dtype, &writable), DLB_ERROR_UNSUPPORTED, name);
    CHECK(data == &data && writable == &data);
    CHECK_EQUAL(view->device.device_id, from->tensor.device.device_id);
}

static void device_memory_passes_through_but_is_not_read(void) {
    float data[6] = {0};
    sample on;
    SAMPLE(&on, data, 2, 3);
    for (int type = CPU; type <= TRN; type++) {
        bool skipped = type == 5 || type == 6; /* numbers that DLPack retired */
        bool host = type == CPU || type == CUDA_HOST || type == ROCM_HOST || type == CUDA_MANAGED;
        on.tensor.device = device_of(type, 2);
        if (!skipped && !host) {
            sample_accepted(&on, EVERY_DOOR, is_out_of_reach);
        }
    }
}

static void r59_unknown_device_or_negative_id(void) {
    static const struct {
        int type;
        int32_t id;
        const char *words;
    } devices[] = {
        {0, 0, "device(type=0, id=0)"},       {5, 0, "device(type=5, id=0)"},
        {6, 0, "device(type=6, id=0)"},       {19, 7, "device(type=19, id=7)"},
        {INT32_MAX, 0, "device(type=2147483647, id=0)"}, {-1, 0, "device(type="},
        {CUDA, -1, "cuda:-1"},                {VULKAN, INT32_MIN, "vulkan:-2147483648"},
        {CPU, -1, "cpu"},
    };
    float data[6] = {0};
    sample bad;
    SAMPLE(&bad, data, 2, 3);
    for (size_t i = 0; i < COUNT(devices); i++) {
        bad.tensor.device = device_of(devices[i].type, devices[i].id);
        sample_refused(&bad, EVERY_DOOR, DLB_ERROR_INVALID_TENSOR, devices[i].words);
    }
}

RUN_TESTS(TEST(every_device_has_its_name), TEST(thirty_two_bytes_are_enough), TEST(a_name_is_cut_as_snprintf_cuts),
          TEST(p23_host_and_managed_memory_has_id_zero), TEST(a40_host_and_managed_memory_is_readable),
          TEST(device_memory_passes_through_but_is_not_read), TEST(r59_unknown_device_or_negative_id))
