/* Pinned memory and memory of a device: where there is a CUDA driver what it is for, where there is none the reason. */
#include "sample.h"

#include <pthread.h>

static DLDevice cuda(void) { return device_of(CUDA, 0); }
static bool has_cuda(void) { return dlb_device_check(cuda()) == DLB_OK; }

static dlb_tensor_options options_of(const int64_t *shape, int32_t ndim) {
    dlb_tensor_options options = {.struct_size = sizeof options, .shape = shape, .ndim = ndim};
    options.dtype = dtype_of(FLOAT, 32, 1);
    return options;
}

static void without_a_driver_the_reason_is_said(void) {
    static char memory[4096];
    int64_t shape[] = {2, 3};
    dlb_allocator *allocator = (dlb_allocator *)memory;
    dlb_tensor *tensor = (dlb_tensor *)memory;
    dlb_pin *pin = (dlb_pin *)memory;
    if (has_cuda()) {
        return;
    }
    CHECK_FAILS(dlb_allocator_device(cuda(), &allocator), DLB_ERROR_UNAVAILABLE, "libcuda");
    CHECK_FAILS(dlb_allocator_pinned(cuda(), &allocator), DLB_ERROR_UNAVAILABLE, "call dlb_tensor_empty() without pinned");
    CHECK_FAILS(dlb_memory_pin(memory, sizeof memory, &pin), DLB_ERROR_UNAVAILABLE, "libcuda");
    dlb_tensor_options options = options_of(shape, 2);
    options.pinned = 1;
    CHECK_FAILS(dlb_tensor_empty(&options, &tensor), DLB_ERROR_UNAVAILABLE, "call dlb_tensor_empty() without pinned");
    options.pinned = 0;
    options.device = cuda();
    CHECK_FAILS(dlb_tensor_empty(&options, &tensor), DLB_ERROR_UNAVAILABLE, "cuda:0");
    CHECK((void *)allocator == memory && (void *)tensor == memory && (void *)pin == memory);
}

static void the_cpu_is_a_device_like_any_other(void) {
    dlb_allocator *allocator = NULL;
    dlb_tensor *tensor = NULL;
    int64_t shape[] = {2, 3};
    CHECK_OK(dlb_allocator_device(device_of(CPU, 0), &allocator));
    dlb_tensor_options options = options_of(shape, 2);
    options.allocator = allocator;
    CHECK_OK(dlb_tensor_empty(&options, &tensor));
    CHECK_EQUAL(dlb_tensor_view(tensor)->device.device_type, CPU);
    dlb_tensor_release(tensor);
    dlb_allocator_release(allocator);
    CHECK_FAILS(dlb_allocator_pinned(device_of(CPU, 0), &allocator), DLB_ERROR_UNAVAILABLE, "cpu");
}

static void what_makes_no_sense_is_refused(void) {
    static char memory[16];
    dlb_allocator *allocator = NULL;
    dlb_pin *pin = NULL;
    dlb_tensor *tensor = NULL;
    int64_t shape[] = {2, 3};
    CHECK_FAILS(dlb_allocator_device(cuda(), NULL), DLB_ERROR_INVALID_ARGUMENT, "out");
    CHECK_FAILS(dlb_allocator_pinned(cuda(), NULL), DLB_ERROR_INVALID_ARGUMENT, "out");
    CHECK_FAILS(dlb_allocator_device(device_of(99, 0), &allocator), DLB_ERROR_INVALID_TENSOR, "device(type=99");
    CHECK_FAILS(dlb_allocator_device(device_of(METAL, 0), &allocator), DLB_ERROR_UNAVAILABLE, "metal:0");
    CHECK_FAILS(dlb_memory_pin(NULL, 16, &pin), DLB_ERROR_INVALID_ARGUMENT, "data");
    CHECK_FAILS(dlb_memory_pin(memory, 16, NULL), DLB_ERROR_INVALID_ARGUMENT, "out");
    dlb_pin_release(NULL);
    dlb_tensor_options options = options_of(shape, 2);
    options.pinned = 1;
    options.device = cuda();
    CHECK_FAILS(dlb_tensor_empty(&options, &tensor), DLB_ERROR_INVALID_ARGUMENT, "leave out one of the two");
    MUST(dlb_allocator_host(&allocator) == DLB_OK);
    options.device = device_of(0, 0);
    options.allocator = allocator;
    CHECK_FAILS(dlb_tensor_empty(&options, &tensor), DLB_ERROR_INVALID_ARGUMENT, "cuda_host");
    dlb_allocator_release(allocator);
    CHECK(tensor == NULL && pin == NULL);
}

static void pinned_tensors_are_memory_of_the_host(void) {
    int64_t shape[] = {300, 1000};
    dlb_tensor_options options = options_of(shape, 2);
    dlb_tensor *tensor = NULL;
    if (!has_cuda()) {
        return;
    }
    options.pinned = 1;
    CHECK_OK(dlb_tensor_empty(&options, &tensor));
    CHECK_EQUAL(dlb_tensor_view(tensor)->device.device_type, CUDA_HOST);
    CHECK_EQUAL((intptr_t)dlb_tensor_view(tensor)->data % 256, 0);
    memset(dlb_tensor_view(tensor)->data, 1, 300 * 1000 * 4);
    dlb_tensor_release(tensor);

    dlb_allocator *allocator = NULL;
    dlb_pool_stats stats = {.struct_size = sizeof stats};
    MUST(dlb_allocator_pinned(cuda(), &allocator) == DLB_OK);
    options.allocator = allocator;
    CHECK_OK(dlb_tensor_empty(&options, &tensor));
    CHECK_EQUAL(dlb_tensor_view(tensor)->device.device_type, CUDA_HOST);
    CHECK_OK(dlb_allocator_stats(allocator, &stats));
    CHECK(stats.asked >= 300 * 1000 * 4);
    dlb_tensor_release(tensor);
    CHECK(dlb_allocator_trim(allocator, 0) >= 300 * 1000 * 4);
    dlb_allocator_release(allocator);
}

static void memory_is_pinned_in_place_and_counted(void) {
    enum { BYTES = 1 << 20 };
    dlb_pin *outer = NULL, *inner = NULL;
    if (!has_cuda()) {
        return;
    }
    char *memory = calloc(1, BYTES);
    CHECK_OK(dlb_memory_pin(memory, BYTES, &outer));
    CHECK_OK(dlb_memory_pin(memory, BYTES, &inner));
    dlb_pin_release(outer);
    memory[7] = 1;
    dlb_pin_release(inner);
    CHECK_OK(dlb_memory_pin(memory, BYTES, &outer));
    dlb_pin_release(outer);
    free(memory);
}

static void *pin_again_and_again(void *memory) {
    for (int turn = 0; turn < 200; turn++) {
        dlb_pin *pin = NULL;
        CHECK_OK(dlb_memory_pin(memory, 1 << 16, &pin));
        dlb_pin_release(pin);
    }
    return NULL;
}

static void threads_may_pin_the_same_memory(void) {
    pthread_t threads[4];
    if (!has_cuda()) {
        return;
    }
    char *memory = calloc(1, 1 << 16);
    for (size_t i = 0; i < COUNT(threads); i++) {
        MUST(pthread_create(&threads[i], NULL, pin_again_and_again, memory) == 0);
    }
    for (size_t i = 0; i < COUNT(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    free(memory);
}

RUN_TESTS(TEST(without_a_driver_the_reason_is_said), TEST(the_cpu_is_a_device_like_any_other),
          TEST(what_makes_no_sense_is_refused), TEST(pinned_tensors_are_memory_of_the_host),
          TEST(memory_is_pinned_in_place_and_counted), TEST(threads_may_pin_the_same_memory))
