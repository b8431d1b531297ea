/* dlb_stack: one batch of many tensors, and which of them is refused. */
#include "check.h"

#include <math.h>

static const DLDataType FLOAT32 = {kDLFloat, 32, 1}, FLOAT64 = {kDLFloat, 64, 1}, UINT8 = {kDLUInt, 8, 1};

static dlb_tensor *wrap(void *data, DLDataType dtype, int32_t ndim, int64_t *shape) {
    DLTensor description = {data, {kDLCPU, 0}, ndim, dtype, shape, NULL, 0};
    dlb_tensor *tensor = NULL;
    MUST(dlb_tensor_wrap(&description, 0, NULL, NULL, &tensor) == DLB_OK);
    return tensor;
}

static dlb_tensor *empty(DLDataType dtype, int32_t ndim, const int64_t *shape) {
    dlb_tensor_options options = {.struct_size = sizeof options, .shape = shape, .ndim = ndim, .dtype = dtype};
    dlb_tensor *tensor = NULL;
    MUST(dlb_tensor_empty(&options, &tensor) == DLB_OK);
    return tensor;
}

static const float *floats_of(const dlb_tensor *tensor) {
    const void *data = NULL;
    CHECK_OK(dlb_tensor_data(tensor, FLOAT32, &data));
    return data;
}

/* Two pictures of 3 by 5 pixels with 3 channels. */
enum { COUNT_OF = 2, HEIGHT = 3, WIDTH = 5, CHANNELS = 3, BYTES = HEIGHT * WIDTH * CHANNELS };
static uint8_t pixels[COUNT_OF][BYTES];
static int64_t picture_shape[] = {HEIGHT, WIDTH, CHANNELS}, batch_shape[] = {COUNT_OF, CHANNELS, HEIGHT, WIDTH};

static void make_pictures(dlb_tensor *pictures[COUNT_OF]) {
    for (int i = 0; i < COUNT_OF; i++) {
        for (int j = 0; j < BYTES; j++) {
            pixels[i][j] = (uint8_t)(37 * j + 11 * i);
        }
        pictures[i] = wrap(pixels[i], UINT8, 3, picture_shape);
    }
}

static void release_all(dlb_tensor **tensors, size_t count) {
    for (size_t i = 0; i < count; i++) {
        dlb_tensor_release(tensors[i]);
    }
}

static void pictures_become_a_normalised_batch(void) {
    dlb_tensor *pictures[COUNT_OF], *batch = empty(FLOAT32, 4, batch_shape);
    make_pictures(pictures);
    const double scale[] = {0.5, 0.25, 0.125}, bias[] = {-1, 0.1, 3};
    dlb_stack_options options = {.struct_size = sizeof options, .layout = DLB_LAYOUT_CHW, .scale = scale,
                                 .scale_count = 3, .bias = bias, .bias_count = 3};
    CHECK_OK(dlb_stack((const dlb_tensor *const *)pictures, COUNT_OF, batch, &options));
    const float *made = floats_of(batch);
    for (int i = 0; i < COUNT_OF; i++) {
        for (int c = 0; c < CHANNELS; c++) {
            for (int p = 0; p < HEIGHT * WIDTH; p++) {
                volatile float product = (float)pixels[i][CHANNELS * p + c] * (float)scale[c];
                CHECK(*made++ == product + (float)bias[c]);
            }
        }
    }
    dlb_tensor_release(batch);
    release_all(pictures, COUNT_OF);
}

static void without_options_arrays_are_stacked_and_cast(void) {
    dlb_tensor *pictures[COUNT_OF];
    make_pictures(pictures);
    int64_t shape[] = {COUNT_OF, HEIGHT, WIDTH, CHANNELS};
    dlb_tensor *same = empty(UINT8, 4, shape), *cast = empty(FLOAT32, 4, shape);
    CHECK_OK(dlb_stack((const dlb_tensor *const *)pictures, COUNT_OF, same, NULL));
    const void *data = NULL;
    CHECK_OK(dlb_tensor_data(same, UINT8, &data));
    CHECK(memcmp(data, pixels, sizeof pixels) == 0);
    CHECK_OK(dlb_stack((const dlb_tensor *const *)pictures, COUNT_OF, cast, NULL));
    int32_t equal = 0;
    CHECK_OK(dlb_equal(same, cast, NULL, NULL, &equal));
    CHECK_EQUAL(equal, 1);
    dlb_tensor_release(same);
    dlb_tensor_release(cast);
    release_all(pictures, COUNT_OF);
}

static void what_is_refused_is_named_and_nothing_is_written(void) {
    float a[] = {1, 2, 3}, b[] = {4, 5}, written[] = {7, 7, 7, 7, 7, 7};
    int64_t three[] = {3}, two[] = {2}, shape[] = {2, 3};
    dlb_tensor *first = wrap(a, FLOAT32, 1, three), *second = wrap(b, FLOAT32, 1, two);
    dlb_tensor *out = wrap(written, FLOAT32, 2, shape), *bytes = empty(UINT8, 2, shape);
    const dlb_tensor *both[] = {first, second}, *hole[] = {first, NULL}, *good[] = {first, first};
    CHECK_FAILS(dlb_stack(both, 2, out, NULL), DLB_ERROR_INVALID_ARGUMENT, "array 1: its shape is [2]");
    CHECK_FAILS(dlb_stack(hole, 2, out, NULL), DLB_ERROR_INVALID_ARGUMENT, "array 1: tensor is NULL");
    CHECK_FAILS(dlb_stack(NULL, 2, out, NULL), DLB_ERROR_INVALID_ARGUMENT, "tensors is NULL");
    CHECK_FAILS(dlb_stack(good, 0, out, NULL), DLB_ERROR_INVALID_ARGUMENT, "no arrays");
    CHECK_FAILS(dlb_stack(good, 2, NULL, NULL), DLB_ERROR_INVALID_ARGUMENT, "destination is NULL");
    CHECK_FAILS(dlb_stack(good, 1, out, NULL), DLB_ERROR_INVALID_ARGUMENT, "make the destination [1, 3]");
    CHECK_FAILS(dlb_stack(good, 2, bytes, NULL), DLB_ERROR_INVALID_ARGUMENT, "array 0: float32 is not cast to uint8");
    dlb_stack_options options = {.struct_size = 8};
    CHECK_FAILS(dlb_stack(good, 2, out, &options), DLB_ERROR_INVALID_ARGUMENT, "struct_size");
    options = (dlb_stack_options){.struct_size = sizeof options, .casting = 9};
    CHECK_FAILS(dlb_stack(good, 2, out, &options), DLB_ERROR_INVALID_ARGUMENT, "casting is 9; pass DLB_CASTING_SAME_KIND");
    options = (dlb_stack_options){.struct_size = sizeof options, .layout = 9};
    CHECK_FAILS(dlb_stack(good, 2, out, &options), DLB_ERROR_INVALID_ARGUMENT, "layout 9 is none that is known; pass DLB_LAYOUT_CHW");
    options = (dlb_stack_options){.struct_size = sizeof options, .scale_count = 2};
    CHECK_FAILS(dlb_stack(good, 2, out, &options), DLB_ERROR_INVALID_ARGUMENT, "scale is NULL although its count is ");
    for (size_t i = 0; i < COUNT(written); i++) {
        CHECK(written[i] == 7);
    }
    dlb_tensor *tensors[] = {first, second, out, bytes};
    release_all(tensors, COUNT(tensors));
}

static void a_refused_value_spoils_the_batch(void) {
    double fine[] = {1, 2}, large[] = {3, 1e300};
    float written[] = {7, 7, 7, 7};
    int64_t two[] = {2}, shape[] = {2, 2};
    dlb_tensor *tensors[] = {wrap(fine, FLOAT64, 1, two), wrap(large, FLOAT64, 1, two), wrap(written, FLOAT32, 2, shape)};
    CHECK_FAILS(dlb_stack((const dlb_tensor *const *)tensors, 2, tensors[2], NULL), DLB_ERROR_LOSSY, "array 1: ");
    for (size_t i = 0; i < COUNT(written); i++) {
        CHECK(isnan(written[i]));
    }
    release_all(tensors, COUNT(tensors));
}

RUN_TESTS(TEST(pictures_become_a_normalised_batch), TEST(without_options_arrays_are_stacked_and_cast),
          TEST(what_is_refused_is_named_and_nothing_is_written), TEST(a_refused_value_spoils_the_batch))
