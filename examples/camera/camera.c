/* camera.c: a camera frame, handed to a DLPack consumer without a copy, and taken back.
 *
 * From the root of the repository, after `make lib`:
 *
 *   cc examples/camera/camera.c -Iinclude -Ltarget/release -ldlbridge -Wl,-rpath,$PWD/target/release -o camera && ./camera
 */
#include <dlbridge.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* 640 pixels of 3 bytes are 1920 bytes; the camera pads each row to the next multiple of 512. */
enum { HEIGHT = 480, WIDTH = 640, CHANNELS = 3, PITCH = 2048 };

static const DLDataType UINT8 = {kDLUInt, 8, 1};

/* Every call that can fail goes through here. */
static void check(dlb_status status, const char *what) {
    if (status != DLB_OK) {
        fprintf(stderr, "%s: %s: %s\n", what, dlb_status_name(status), dlb_error_message());
        exit(EXIT_FAILURE);
    }
}

static void require(int condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "wrong: %s\n", what);
        exit(EXIT_FAILURE);
    }
}

/* Describes the frame once: height x width x channels, with the padding left out by the row stride. From here on
 * the tensor owns the pixels, and calls free(pixels) when nobody uses them any more. */
static dlb_tensor *wrap_frame(uint8_t *pixels) {
    int64_t shape[] = {HEIGHT, WIDTH, CHANNELS};
    int64_t strides[] = {PITCH, CHANNELS, 1}; /* in elements, which are bytes here */
    DLTensor description = {
        .data = pixels,
        .device = {kDLCPU, 0},
        .ndim = 3,
        .dtype = UINT8,
        .shape = shape, /* copied by the call */
        .strides = strides,
    };
    dlb_tensor *frame = NULL;
    dlb_status status = dlb_tensor_wrap(&description, 0, free, pixels, &frame);
    if (status != DLB_OK) {
        free(pixels); /* a wrap that fails takes nothing */
    }
    check(status, "wrap the frame");
    return frame;
}

/* Plays the other side: another library, which knows DLPack and not this program. It takes over the struct, paints the
 * 32 x 16 pixels from column 100, row 50 on red, and lets go. */
static void consume(DLManagedTensorVersioned *managed) {
    dlb_tensor *image = NULL, *rows = NULL, *region = NULL;
    void *data = NULL;
    check(dlb_tensor_import(managed, &image), "import the frame"); /* consumes `managed`, even on failure */
    check(dlb_tensor_slice(image, 0, 50, 66, 1, &rows), "take rows 50 to 65");
    check(dlb_tensor_slice(rows, 1, 100, 132, 1, &region), "take columns 100 to 131");
    /* Checked: writable, on the host, uint8, aligned, and no two indices share an element. */
    check(dlb_tensor_mutable_data(region, UINT8, &data), "write to the region");

    const DLTensor *view = dlb_tensor_view(region);
    printf("the consumer paints %" PRId64 " x %" PRId64 " pixels\n", view->shape[1], view->shape[0]);
    for (int64_t y = 0; y < view->shape[0]; y++) {
        for (int64_t x = 0; x < view->shape[1]; x++) {
            uint8_t *pixel = (uint8_t *)data + y * view->strides[0] + x * view->strides[1];
            pixel[0] = 255, pixel[1] = pixel[2] = 0;
        }
    }
    dlb_tensor_release(region);
    dlb_tensor_release(rows);
    dlb_tensor_release(image); /* the last of the three calls the deleter of `managed` */
}

/* Whether the original buffer holds red inside the region, the camera's grey around it, and untouched padding. */
static void prove_in_place(const uint8_t *pixels) {
    for (int y = 0; y < HEIGHT; y++) {
        for (int column = 0; column < PITCH; column++) {
            int x = column / CHANNELS, inside = y >= 50 && y < 66 && x >= 100 && x < 132;
            uint8_t expected = column >= WIDTH * CHANNELS ? 7 : !inside ? 128 : column % CHANNELS == 0 ? 255 : 0;
            require(pixels[y * PITCH + column] == expected, "a byte of the original buffer");
        }
    }
}

int main(void) {
    uint8_t *pixels = malloc(HEIGHT * PITCH); /* stands in for the camera's buffer */
    require(pixels != NULL, "out of memory");
    for (int i = 0; i < HEIGHT * PITCH; i++) {
        pixels[i] = i % PITCH < WIDTH * CHANNELS ? 128 : 7; /* grey pixels, sevens as padding */
    }

    dlb_tensor *frame = wrap_frame(pixels);
    DLManagedTensorVersioned *managed = NULL;
    check(dlb_tensor_export(frame, &managed), "export the frame");
    require(managed->dl_tensor.data == pixels, "the export points to another buffer");
    consume(managed); /* which owns it now */

    prove_in_place(pixels); /* `frame` still keeps the pixels alive */
    dlb_tensor_release(frame);
    require(dlb_live_tensors() == 0 && dlb_live_exports() == 0, "something is still alive");
    puts("painted in place; the frame was freed once");
    return EXIT_SUCCESS;
}
