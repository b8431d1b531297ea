/* A camera that reuses one padded frame while the frames before it are still being processed.
 *
 * Each frame is copied into a packed buffer on a stream, so that the camera can fill its own again; whoever processes a
 * buffer asks its tensor for the elements, and thereby waits for that copy and no other.
 *
 *   cc -Iinclude capture.c -Ltarget/release -ldlbridge
 */
#include "dlbridge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEIGHT = 480, WIDTH = 640, CHANNELS = 3, PITCH = 2048, FRAMES = 8, BUFFERS = 2 };

static void must(dlb_status status) {
    if (status != DLB_OK) {
        fprintf(stderr, "%s: %s\n", dlb_status_name(status), dlb_error_message());
        exit(EXIT_FAILURE);
    }
}

/* A tensor over memory from malloc, freed with the last user. NULL strides are packed rows. */
static dlb_tensor *image(size_t bytes, int64_t *strides) {
    int64_t shape[] = {HEIGHT, WIDTH, CHANNELS};
    void *pixels = malloc(bytes);
    DLTensor description = {pixels, {kDLCPU, 0}, 3, {kDLUInt, 8, 1}, shape, strides, 0};
    dlb_tensor *tensor = NULL;
    if (pixels == NULL) {
        exit(EXIT_FAILURE);
    }
    must(dlb_tensor_wrap(&description, 0, free, pixels, &tensor));
    return tensor;
}

/* The next frame: one grey. To write into the frame waits until its last copy has been made. */
static void capture(dlb_tensor *frame, int number) {
    void *pixels = NULL;
    must(dlb_tensor_mutable_data(frame, (DLDataType){kDLUInt, 8, 1}, &pixels));
    memset(pixels, number, HEIGHT * PITCH);
}

static long process(const dlb_tensor *buffer) {
    const void *pixels = NULL;
    long sum = 0;
    must(dlb_tensor_data(buffer, (DLDataType){kDLUInt, 8, 1}, &pixels)); /* waits for the copy into it */
    for (size_t i = 0; i < dlb_tensor_nbytes(buffer); i++) {
        sum += ((const unsigned char *)pixels)[i];
    }
    return sum;
}

int main(void) {
    int64_t padded[] = {PITCH, CHANNELS, 1};
    dlb_tensor *frame = image(HEIGHT * PITCH, padded), *buffers[BUFFERS];
    dlb_stream *stream = NULL;
    long total = 0, expected = 0;
    must(dlb_stream_create((DLDevice){kDLCPU, 0}, &stream));
    for (int i = 0; i < BUFFERS; i++) {
        buffers[i] = image(HEIGHT * WIDTH * CHANNELS, NULL);
    }
    for (int number = 0; number < FRAMES; number++) {
        capture(frame, number);
        must(dlb_copy_async(frame, buffers[number % BUFFERS], stream, NULL));
        if (number > 0) {
            total += process(buffers[(number - 1) % BUFFERS]); /* while this frame is still being copied */
        }
        expected += (long)number * HEIGHT * WIDTH * CHANNELS;
    }
    total += process(buffers[(FRAMES - 1) % BUFFERS]);

    for (int i = 0; i < BUFFERS; i++) {
        dlb_tensor_release(buffers[i]);
    }
    dlb_tensor_release(frame);
    dlb_stream_release(stream);
    printf("%d frames through %d buffers, the sum of all pixels is %s\n", FRAMES, BUFFERS,
           total == expected ? "right" : "wrong");
    return total == expected ? EXIT_SUCCESS : EXIT_FAILURE;
}
