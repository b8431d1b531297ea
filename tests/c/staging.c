/* dlb_staging_*, dlb_slot_*, dlb_batch_*: batches between threads, in order and whole, kept ones never overwritten. */
#include "check.h"

#include <pthread.h>
#include <time.h>

enum { SECOND = 1000000000 };

static DLTensor like(int64_t *shape, int32_t ndim, DLDataType dtype) {
    return (DLTensor){NULL, {kDLCPU, 0}, ndim, dtype, shape, NULL, 0};
}

static const DLDataType int32 = {kDLInt, 32, 1}, uint8 = {kDLUInt, 8, 1};

static dlb_staging *ring_of(size_t slots, size_t keep) {
    dlb_staging_options options = {sizeof options, {0, 0}, slots, keep, DLB_STAGING_IN_ORDER};
    dlb_staging *ring = NULL;
    MUST(dlb_staging_create(&options, &ring) == DLB_OK);
    return ring;
}

static dlb_status put(dlb_staging *ring, int64_t length, int32_t first, uint64_t timeout) {
    dlb_slot *slot = NULL;
    DLTensor values = like(&length, 1, int32);
    dlb_status status = dlb_staging_acquire(ring, &values, NULL, 1, timeout, &slot);
    if (status != DLB_OK) {
        return status;
    }
    void *data = NULL;
    CHECK_OK(dlb_tensor_mutable_data(dlb_slot_tensor(slot, 0), int32, &data));
    for (int32_t at = 0; at < length; at++) {
        ((int32_t *)data)[at] = first + at;
    }
    return dlb_slot_submit(slot);
}

static const int32_t *values_of(const dlb_batch *batch) {
    return dlb_tensor_view(dlb_batch_tensor(batch, 0))->data;
}

static void a_batch_of_several_named_tensors(void) {
    dlb_staging *ring = ring_of(2, 0);
    int64_t image[] = {4, 6, 3}, label[] = {4};
    DLTensor tensors[] = {like(image, 3, uint8), like(label, 1, int32)};
    const char *names[] = {"images", NULL};
    dlb_slot *slot = NULL;
    MUST(dlb_staging_acquire(ring, tensors, names, 2, 0, &slot) == DLB_OK);
    CHECK_EQUAL(dlb_slot_number(slot), 0);
    void *pixels = NULL;
    CHECK_OK(dlb_tensor_mutable_data(dlb_slot_tensor(slot, 0), uint8, &pixels));
    memset(pixels, 9, sizeof(uint8_t) * 4 * 6 * 3);
    int32_t given[] = {1, 2, 3, 4, 5, 6, 7, 8};
    int64_t every_other = 2;
    DLTensor strided = {given, {kDLCPU, 0}, 1, int32, label, &every_other, 0};
    dlb_tensor *source = NULL;
    MUST(dlb_tensor_wrap(&strided, 0, NULL, NULL, &source) == DLB_OK);
    CHECK_FAILS(dlb_slot_fill(slot, 0, source), DLB_ERROR_INVALID_ARGUMENT, "shape");
    CHECK_FAILS(dlb_slot_fill(slot, 2, source), DLB_ERROR_INVALID_ARGUMENT, "pass 0 to 1");
    CHECK_OK(dlb_slot_fill(slot, 1, source));
    dlb_tensor_release(source);
    CHECK_OK(dlb_slot_submit(slot));

    dlb_batch *batch = NULL;
    MUST(dlb_staging_next(ring, NULL, 0, &batch) == DLB_OK);
    CHECK_EQUAL(dlb_batch_count(batch), 2);
    CHECK_TEXT(dlb_batch_name(batch, 0), "images");
    CHECK_TEXT(dlb_batch_name(batch, 1), "1");
    CHECK(dlb_batch_name(batch, 2) == NULL && dlb_batch_tensor(batch, 2) == NULL);
    CHECK(dlb_batch_find(batch, "1") == dlb_batch_tensor(batch, 1) && dlb_batch_find(batch, "labels") == NULL);
    CHECK(dlb_tensor_view(dlb_batch_find(batch, "images"))->data == pixels); /* nothing was copied */
    CHECK_EQUAL(((const int32_t *)dlb_tensor_view(dlb_batch_tensor(batch, 1))->data)[3], 7);
    dlb_batch_release(batch, NULL);
    dlb_staging_totals totals = {.struct_size = sizeof totals};
    CHECK_OK(dlb_staging_stats(ring, &totals));
    CHECK_EQUAL(totals.submitted, 1);
    CHECK_EQUAL(totals.bytes, 4 * 6 * 3 + 4 * 4);
    dlb_staging_release(ring);
}

static void a_kept_batch_is_never_overwritten(void) {
    dlb_staging *ring = ring_of(1, 2);
    dlb_tensor *kept[3];
    DLManagedTensorVersioned *out = NULL;
    for (int32_t number = 0; number < 3; number++) {
        dlb_batch *batch = NULL;
        MUST(put(ring, 100, number * 1000, 0) == DLB_OK);
        MUST(dlb_staging_next(ring, NULL, 0, &batch) == DLB_OK);
        CHECK_OK(dlb_tensor_slice(dlb_batch_tensor(batch, 0), 0, 5, 10, 1, &kept[number]));
        if (number == 0) {
            CHECK_OK(dlb_tensor_export(dlb_batch_tensor(batch, 0), &out));
        }
        dlb_batch_release(batch, NULL);
    }
    CHECK_FAILS(put(ring, 100, 0, DLB_WAIT_FOREVER), DLB_ERROR_OUT_OF_MEMORY, "(batches 0, 1, 2)");
    for (int32_t number = 0; number < 3; number++) {
        CHECK_EQUAL(((const int32_t *)dlb_tensor_view(kept[number])->data)[0], number * 1000 + 5);
        dlb_tensor_release(kept[number]);
    }
    CHECK_EQUAL(((const int32_t *)out->dl_tensor.data)[99], 99);
    CHECK_OK(put(ring, 200, 7, 0)); /* a larger one */
    dlb_staging_release(ring);      /* with a batch that nobody asked for, and an export that outlives it */
    CHECK_EQUAL(((const int32_t *)out->dl_tensor.data)[99], 99);
    out->deleter(out);
}

static void zero_is_no_batch_to_keep_and_null_is_sixteen(void) {
    dlb_staging_options zero = {.struct_size = sizeof zero};
    for (int kept_most = 3; kept_most <= 3 + 16; kept_most += 16) {
        dlb_staging *ring = NULL;
        MUST(dlb_staging_create(kept_most == 3 ? &zero : NULL, &ring) == DLB_OK);
        dlb_tensor *kept[3 + 16];
        for (int number = 0; number < kept_most; number++) {
            dlb_batch *batch = NULL;
            MUST(put(ring, 4, number, 0) == DLB_OK);
            MUST(dlb_staging_next(ring, NULL, 0, &batch) == DLB_OK);
            kept[number] = dlb_tensor_retain(dlb_batch_tensor(batch, 0));
            dlb_batch_release(batch, NULL);
            dlb_staging_totals totals = {.struct_size = sizeof totals};
            CHECK_OK(dlb_staging_stats(ring, &totals));
            CHECK_EQUAL(totals.sets, number + 1); /* made when first needed */
        }
        CHECK_FAILS(put(ring, 4, 0, 0), DLB_ERROR_OUT_OF_MEMORY, "at least as many as you keep");
        for (int number = 0; number < kept_most; number++) {
            dlb_tensor_release(kept[number]);
        }
        dlb_staging_release(ring);
    }
}

static void the_ends(void) {
    dlb_staging *ring = ring_of(1, 0);
    dlb_batch *batch = NULL;
    CHECK_FAILS(dlb_staging_next(ring, NULL, 1000000, &batch), DLB_ERROR_TIMEOUT, "within 1 ms");
    CHECK_OK(put(ring, 3, 0, 0));
    CHECK_FAILS(put(ring, 3, 0, 0), DLB_ERROR_TIMEOUT, "no slot was free");
    dlb_staging_close(ring);
    CHECK_FAILS(put(ring, 3, 0, DLB_WAIT_FOREVER), DLB_ERROR_CLOSED, "closed");
    CHECK_OK(dlb_staging_next(ring, NULL, 0, &batch));
    dlb_batch_release(batch, NULL);
    CHECK_FAILS(dlb_staging_next(ring, NULL, DLB_WAIT_FOREVER, &batch), DLB_ERROR_CLOSED, "its end, not an error to mend");
    dlb_staging_release(ring);

    ring = ring_of(2, 0);
    dlb_slot *slot = NULL;
    int64_t length = 1;
    DLTensor values = like(&length, 1, int32);
    MUST(dlb_staging_acquire(ring, &values, NULL, 1, 0, &slot) == DLB_OK);
    CHECK_OK(put(ring, 1, 5, 0));
    dlb_slot_release(slot); /* given up: the batch behind it comes next */
    CHECK_OK(dlb_staging_next(ring, NULL, 0, &batch));
    CHECK_EQUAL(dlb_batch_number(batch), 1);
    dlb_batch_release(batch, NULL);
    MUST(dlb_staging_acquire(ring, &values, NULL, 1, 0, &slot) == DLB_OK);
    dlb_tensor *kept = dlb_tensor_retain(dlb_slot_tensor(slot, 0));
    dlb_slot_release(slot); /* also where one of its tensors is kept, nobody waits for it */
    CHECK_OK(put(ring, 1, 6, 0));
    CHECK_OK(dlb_staging_next(ring, NULL, SECOND, &batch));
    CHECK_EQUAL(dlb_batch_number(batch), 3);
    dlb_batch_release(batch, NULL);
    dlb_tensor_release(kept);
    MUST(dlb_staging_acquire(ring, &values, NULL, 1, 0, &slot) == DLB_OK);
    dlb_staging_abort(ring, "the sensor is unplugged");
    CHECK_FAILS(dlb_slot_submit(slot), DLB_ERROR_CLOSED, "the sensor is unplugged");
    CHECK_FAILS(dlb_staging_next(ring, NULL, 0, &batch), DLB_ERROR_CLOSED, "the sensor is unplugged");
    dlb_staging_release(ring);
}

static void what_is_refused(void) {
    dlb_staging *ring = NULL;
    dlb_staging_options options = {sizeof options, {0, 0}, 1 << 20, 0, 0};
    CHECK_FAILS(dlb_staging_create(&options, &ring), DLB_ERROR_INVALID_ARGUMENT, "1048576 slots");
    options = (dlb_staging_options){sizeof options, {0, 0}, 1, 0, 7};
    CHECK_FAILS(dlb_staging_create(&options, &ring), DLB_ERROR_INVALID_ARGUMENT, "7 is no order");
    options = (dlb_staging_options){4, {0, 0}, 1, 0, 0};
    CHECK_FAILS(dlb_staging_create(&options, &ring), DLB_ERROR_INVALID_ARGUMENT, "struct_size");
    options = (dlb_staging_options){sizeof options, {99, 0}, 1, 0, 0};
    CHECK_FAILS(dlb_staging_create(&options, &ring), DLB_ERROR_INVALID_ARGUMENT, "device");
    options = (dlb_staging_options){sizeof options, {kDLVulkan, 0}, 1, 0, 0};
    CHECK_FAILS(dlb_staging_create(&options, &ring), DLB_ERROR_UNAVAILABLE, "vulkan");
    CHECK_FAILS(dlb_staging_create(NULL, NULL), DLB_ERROR_INVALID_ARGUMENT, "out is NULL");
    CHECK_OK(dlb_staging_create(NULL, &ring));
    CHECK(dlb_staging_retain(ring) == ring && dlb_staging_retain(NULL) == NULL);
    dlb_staging_release(ring);
    dlb_slot *slot = NULL;
    int64_t length = -1;
    DLTensor values = like(&length, 1, int32);
    CHECK_FAILS(dlb_staging_acquire(ring, &values, NULL, 1, 0, &slot), DLB_ERROR_INVALID_ARGUMENT, "dimension 0");
    length = 1;
    const DLTensor two[] = {values, values};
    const char *const names[] = {"x", "x"};
    CHECK_FAILS(dlb_staging_acquire(ring, two, names, 2, 0, &slot), DLB_ERROR_INVALID_ARGUMENT, "are called \"x\"");
    CHECK_FAILS(dlb_staging_acquire(ring, NULL, NULL, 1, 0, &slot), DLB_ERROR_INVALID_ARGUMENT, "tensors is NULL");
    CHECK_FAILS(dlb_staging_acquire(ring, NULL, NULL, 0, 0, &slot), DLB_ERROR_INVALID_ARGUMENT, "no tensors");
    CHECK_FAILS(dlb_staging_acquire(ring, NULL, NULL, -1, 0, &slot), DLB_ERROR_INVALID_ARGUMENT, "-1");
    CHECK_FAILS(dlb_staging_acquire(NULL, &values, NULL, 1, 0, &slot), DLB_ERROR_INVALID_ARGUMENT, "staging is NULL");
    CHECK_FAILS(dlb_staging_next(NULL, NULL, 0, NULL), DLB_ERROR_INVALID_ARGUMENT, "staging is NULL");
    CHECK_FAILS(dlb_slot_submit(NULL), DLB_ERROR_INVALID_ARGUMENT, "slot is NULL");
    CHECK_FAILS(dlb_slot_fill(NULL, 0, NULL), DLB_ERROR_INVALID_ARGUMENT, "slot is NULL");
    CHECK(slot == NULL && dlb_slot_tensor(NULL, 0) == NULL && dlb_batch_tensor(NULL, 0) == NULL);
    CHECK(dlb_batch_find(NULL, "x") == NULL && dlb_batch_count(NULL) == 0 && dlb_batch_number(NULL) == 0);
    dlb_slot_release(NULL);
    dlb_batch_release(NULL, NULL);
    dlb_staging_close(NULL);
    dlb_staging_abort(NULL, NULL);
    dlb_staging_release(ring);
    dlb_staging_release(NULL);
}

/* Several threads on each side; each batch counts up from a number of its own. */
enum { PRODUCERS = 3, CONSUMERS = 2 };
static int batches_each = 2000;

static void *produce(void *ring) {
    for (int number = 0; number < batches_each; number++) {
        CHECK_OK(put(ring, 1 + number % 50, number * 100, DLB_WAIT_FOREVER));
    }
    return NULL;
}

static atomic_int batches_seen;

static void *consume(void *ring) {
    dlb_batch *batch = NULL;
    dlb_stream *stream = NULL;
    MUST(dlb_stream_create((DLDevice){kDLCPU, 0}, &stream) == DLB_OK);
    while (dlb_staging_next(ring, stream, DLB_WAIT_FOREVER, &batch) == DLB_OK) {
        const int32_t *values = values_of(batch);
        int64_t length = dlb_tensor_view(dlb_batch_tensor(batch, 0))->shape[0];
        for (int64_t at = 0; at < length; at++) {
            if (values[at] != values[0] + at) {
                CHECK_EQUAL(values[at], values[0] + at);
                break;
            }
        }
        atomic_fetch_add(&batches_seen, 1);
        dlb_batch_release(batch, atomic_load(&batches_seen) % 2 ? stream : NULL);
    }
    dlb_stream_release(stream);
    return NULL;
}

static void many_producers_and_consumers(void) {
    dlb_staging *ring = ring_of(3, 8);
    pthread_t producers[PRODUCERS], consumers[CONSUMERS];
    batches_each = getenv("CHECK_QUICK") ? 200 : 2000;
    for (int at = 0; at < PRODUCERS; at++) {
        MUST(pthread_create(&producers[at], NULL, produce, ring) == 0);
    }
    for (int at = 0; at < CONSUMERS; at++) {
        MUST(pthread_create(&consumers[at], NULL, consume, ring) == 0);
    }
    for (int at = 0; at < PRODUCERS; at++) {
        pthread_join(producers[at], NULL);
    }
    dlb_staging_close(ring);
    for (int at = 0; at < CONSUMERS; at++) {
        pthread_join(consumers[at], NULL);
    }
    CHECK_EQUAL(atomic_load(&batches_seen), PRODUCERS * batches_each);
    dlb_staging_release(ring);
}

RUN_TESTS(TEST(a_batch_of_several_named_tensors), TEST(a_kept_batch_is_never_overwritten),
          TEST(zero_is_no_batch_to_keep_and_null_is_sixteen), TEST(the_ends), TEST(what_is_refused), TEST(many_producers_and_consumers))
