/* Copies from device to device, counted: on a CUDA device where there is a driver, else on the CPU, which is one too. */
#include "sample.h"

#include <unistd.h>

enum { ROWS = 1024, COLUMNS = 1031, SECOND = 1000000000 };

static DLDevice device(void) {
    return dlb_device_check(device_of(CUDA, 0)) == DLB_OK ? device_of(CUDA, 0) : device_of(CPU, 0);
}

static dlb_tensor *empty_on(DLDevice where) {
    static const int64_t shape[] = {ROWS, COLUMNS};
    dlb_tensor_options options = {.struct_size = sizeof options, .shape = shape, .ndim = 2, .device = where};
    dlb_tensor *tensor = NULL;
    options.dtype = dtype_of(INT, 32, 1);
    MUST(dlb_tensor_empty(&options, &tensor) == DLB_OK);
    return tensor;
}

static dlb_tensor *counting(int32_t first) {
    dlb_tensor *tensor = empty_on(device_of(CPU, 0));
    void *data = NULL;
    MUST(dlb_tensor_mutable_data(tensor, dtype_of(INT, 32, 1), &data) == DLB_OK);
    for (int32_t i = 0; i < ROWS * COLUMNS; i++) {
        ((int32_t *)data)[i] = first + i;
    }
    return tensor;
}

static void check_counting(const dlb_tensor *tensor, int32_t first) {
    const void *data = NULL;
    CHECK_OK(dlb_tensor_data(tensor, dtype_of(INT, 32, 1), &data));
    int32_t wrong = 0;
    for (int32_t i = 0; data && i < ROWS * COLUMNS; i++) {
        wrong += ((const int32_t *)data)[i] != first + i;
    }
    CHECK_EQUAL(wrong, 0);
}

static dlb_transfer_counts counts(void) {
    dlb_transfer_counts now = {.struct_size = sizeof now};
    CHECK_OK(dlb_transfer_stats(&now));
    return now;
}

/* What a consumer on a device had is held until the default stream is past it: by the library, for a moment. */
static void wait_until_let_go(void) {
    for (int turn = 0; turn < 10000 && dlb_live_tensors() != 0; turn++) {
        usleep(1000);
    }
}

static void a_round_trip_is_two_transfers(void) {
    bool apart = device().device_type != kDLCPU;
    dlb_tensor *source = counting(7), *there = empty_on(device()), *back = empty_on(device_of(CPU, 0));
    dlb_stream *stream = NULL;
    dlb_event *done = NULL;
    MUST(dlb_stream_create(device(), &stream) == DLB_OK);
    dlb_transfer_counts before = counts();
    CHECK_OK(dlb_copy_async(source, there, stream, NULL));
    CHECK_OK(dlb_copy_async(there, back, stream, &done));
    dlb_transfer_counts after = counts();
    CHECK_OK(dlb_event_wait(done, 60ull * SECOND));
    check_counting(back, 7);
    CHECK_EQUAL(after.host_to_host - before.host_to_host, apart ? 0 : 2);
    CHECK_EQUAL(after.host_to_device - before.host_to_device, apart);
    CHECK_EQUAL(after.device_to_host - before.device_to_host, apart);
    CHECK_EQUAL(after.device_to_device - before.device_to_device, 0);
    CHECK_EQUAL(after.host_to_host_bytes - before.host_to_host_bytes, apart ? 0 : 2 * ROWS * COLUMNS * 4);
    CHECK_EQUAL(after.host_to_device_bytes - before.host_to_device_bytes, apart * ROWS * COLUMNS * 4);
    CHECK_EQUAL(after.device_to_host_bytes - before.device_to_host_bytes, apart * ROWS * COLUMNS * 4);
    CHECK_OK(dlb_stream_synchronize(stream)); /* which lets go of the copy before, too */
    dlb_event_release(done);
    dlb_stream_release(stream);
    dlb_tensor_release(source);
    dlb_tensor_release(there);
    dlb_tensor_release(back);
}

static void the_struct_may_be_a_later_ones_but_not_shorter(void) {
    struct {
        dlb_transfer_counts known;
        uint64_t more;
    } later = {{.struct_size = sizeof later}, 17};
    CHECK_OK(dlb_transfer_stats(&later.known));
    CHECK_EQUAL(later.known.struct_size, sizeof later);
    CHECK_EQUAL(later.more, 17);
    later.known.struct_size = sizeof(dlb_transfer_counts) - 8;
    CHECK_FAILS(dlb_transfer_stats(&later.known), DLB_ERROR_INVALID_ARGUMENT, "sizeof(dlb_transfer_counts)");
    CHECK_FAILS(dlb_transfer_stats(NULL), DLB_ERROR_INVALID_ARGUMENT, "out");
}

/* --- streams of others --- */

static void the_cpu_has_no_native_streams(void) {
    dlb_stream *stream = NULL, *foreign = NULL;
    void *native = &native;
    MUST(dlb_stream_create(device_of(CPU, 0), &stream) == DLB_OK);
    CHECK_FAILS(dlb_stream_native(stream, &native), DLB_ERROR_UNSUPPORTED, "threads of this library; make one with dlb_stream_create()");
    CHECK(native == &native);
    CHECK_FAILS(dlb_stream_native(NULL, &native), DLB_ERROR_INVALID_ARGUMENT, "stream");
    CHECK_FAILS(dlb_stream_native(stream, NULL), DLB_ERROR_INVALID_ARGUMENT, "out");
    CHECK_FAILS(dlb_stream_from_native(device_of(CPU, 0), native, &foreign), DLB_ERROR_UNSUPPORTED, "cpu");
    CHECK_FAILS(dlb_stream_from_native(device_of(CUDA, 0), native, NULL), DLB_ERROR_INVALID_ARGUMENT, "out");
    CHECK(foreign == NULL);
    dlb_stream_release(stream);
}

static void a_foreign_stream_is_one_order_with_its_owner(void) {
    dlb_stream *own = NULL, *same = NULL, *legacy = NULL;
    void *native = NULL, *again = NULL;
    if (device().device_type == kDLCPU) {
        return;
    }
    MUST(dlb_stream_create(device(), &own) == DLB_OK);
    CHECK_OK(dlb_stream_native(own, &native));
    CHECK_OK(dlb_stream_from_native(device(), native, &same));
    CHECK_OK(dlb_stream_native(same, &again));
    CHECK(native != NULL && native == again);
    CHECK_OK(dlb_stream_from_native(device(), NULL, &legacy));
    dlb_tensor *source = counting(3), *there = empty_on(device()), *back = empty_on(device_of(CPU, 0));
    CHECK_OK(dlb_copy_async(source, there, same, NULL));
    CHECK_OK(dlb_copy_async(there, back, legacy, NULL));
    check_counting(back, 3);
    CHECK_OK(dlb_stream_synchronize(same));
    CHECK_OK(dlb_stream_synchronize(legacy));
    dlb_tensor_release(source);
    dlb_tensor_release(there);
    dlb_tensor_release(back);
    dlb_stream_release(legacy);
    dlb_stream_release(same);
    dlb_stream_release(own);
}

/* Slow on the CPU: what is not waited for shows. */
static void an_export_may_have_its_consumers_stream_wait(void) {
    dlb_tensor *source = counting(5), *there = empty_on(device()), *back = empty_on(device_of(CPU, 0));
    dlb_stream *stream = NULL, *consumer = NULL;
    DLManagedTensorVersioned *out = NULL;
    MUST(dlb_stream_create(device(), &stream) == DLB_OK);
    MUST(dlb_stream_create(device(), &consumer) == DLB_OK);
    CHECK_OK(dlb_copy_async(source, there, stream, NULL));
    CHECK_OK(dlb_tensor_export_on(there, consumer, &out));
    /* Another description of the memory, which knows of no copy: what the consumer queues comes after it all the same. */
    dlb_tensor *again = NULL;
    MUST(dlb_tensor_wrap(&out->dl_tensor, 0, NULL, NULL, &again) == DLB_OK);
    CHECK_OK(dlb_copy_async(again, back, consumer, NULL));
    check_counting(back, 5);
    CHECK_OK(dlb_stream_synchronize(stream));
    CHECK_OK(dlb_stream_synchronize(consumer));
    CHECK_FAILS(dlb_tensor_export_on(NULL, consumer, &out), DLB_ERROR_INVALID_ARGUMENT, "tensor");
    CHECK_FAILS(dlb_tensor_export_on(there, NULL, &out), DLB_ERROR_INVALID_ARGUMENT, "stream");
    CHECK_FAILS(dlb_tensor_export_on(there, consumer, NULL), DLB_ERROR_INVALID_ARGUMENT, "out");
    dlb_tensor_release(again);
    out->deleter(out);
    dlb_tensor_release(source);
    dlb_tensor_release(there);
    dlb_tensor_release(back);
    dlb_stream_release(consumer);
    dlb_stream_release(stream);
    wait_until_let_go();
}

RUN_TESTS(TEST(a_round_trip_is_two_transfers), TEST(the_struct_may_be_a_later_ones_but_not_shorter),
          TEST(the_cpu_has_no_native_streams), TEST(a_foreign_stream_is_one_order_with_its_owner),
          TEST(an_export_may_have_its_consumers_stream_wait))
