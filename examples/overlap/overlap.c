/* A camera whose frames are computed on while the next ones come in: a producer thread that fills slots, a consumer that
 * takes batches, once with a slow camera and once with a slow consumer. Neither copies a frame, loses one or waits longer
 * than it must. */
#include "dlbridge.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { FRAMES = 30, ROWS = 480, COLUMNS = 640 };
static const DLDataType uint8 = {kDLUInt, 8, 1};

static void must(dlb_status status, const char *what) {
    if (status != DLB_OK) {
        fprintf(stderr, "%s: %s\n", what, dlb_error_message());
        exit(EXIT_FAILURE);
    }
}

static void work(long milliseconds) {
    nanosleep(&(struct timespec){0, milliseconds * 1000000}, NULL);
}

typedef struct {
    dlb_staging *ring;
    long milliseconds; /* that a frame takes to come in */
} camera;

static void *record(void *argument) {
    const camera *camera = argument;
    int64_t shape[] = {ROWS, COLUMNS};
    DLTensor frame = {NULL, {kDLCPU, 0}, 2, uint8, shape, NULL, 0};
    const char *name = "frame";
    for (int number = 0; number < FRAMES; number++) {
        dlb_slot *slot = NULL; /* waits while the consumer is behind: that is the back-pressure */
        must(dlb_staging_acquire(camera->ring, &frame, &name, 1, DLB_WAIT_FOREVER, &slot), "acquire");
        void *pixels = NULL;
        must(dlb_tensor_mutable_data(dlb_slot_tensor(slot, 0), uint8, &pixels), "pixels");
        work(camera->milliseconds);
        for (int at = 0; at < ROWS * COLUMNS; at++) {
            ((uint8_t *)pixels)[at] = (uint8_t)number;
        }
        must(dlb_slot_submit(slot), "submit");
    }
    dlb_staging_close(camera->ring);
    return NULL;
}

static void run(long load, long compute) {
    dlb_staging_options options = {.struct_size = sizeof options, .slots = 2, .keep = 4};
    camera camera = {NULL, load};
    must(dlb_staging_create(&options, &camera.ring), "create");
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    pthread_t thread;
    if (pthread_create(&thread, NULL, record, &camera) != 0) {
        exit(EXIT_FAILURE);
    }
    dlb_batch *batch = NULL;
    dlb_status status;
    int frames = 0, wrong = 0;
    while ((status = dlb_staging_next(camera.ring, NULL, 5000000000u, &batch)) == DLB_OK) {
        const DLTensor *frame = dlb_tensor_view(dlb_batch_find(batch, "frame"));
        work(compute);
        wrong += ((const uint8_t *)frame->data)[ROWS * COLUMNS - 1] != frames++;
        dlb_batch_release(batch, NULL);
    }
    if (status != DLB_ERROR_CLOSED) {
        must(status, "next");
    }
    pthread_join(thread, NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    dlb_staging_totals totals = {.struct_size = sizeof totals};
    must(dlb_staging_stats(camera.ring, &totals), "stats");
    double each = ((end.tv_sec - begin.tv_sec) * 1e3 + (end.tv_nsec - begin.tv_nsec) / 1e6) / FRAMES;
    printf("camera %ld ms, consumer %ld ms: %.1f ms a frame; %d frames, %d wrong, %" PRIu64 " buffers; "
           "the camera waited %.0f ms, the consumer %.0f ms\n",
           load, compute, each, frames, wrong, totals.sets, totals.slot_wait_ns / 1e6, totals.batch_wait_ns / 1e6);
    dlb_staging_release(camera.ring);
    if (frames != FRAMES || wrong != 0) {
        exit(EXIT_FAILURE);
    }
}

int main(void) {
    run(10, 2); /* a slow camera */
    run(2, 10); /* a slow consumer */
    return EXIT_SUCCESS;
}
