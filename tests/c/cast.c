/* Casts: what each casting gives and refuses, reports, options that grow, and what is left in a destination. */
#include "sample.h"

#include <math.h>

static dlb_tensor *wrap(void *data, uint8_t code, uint8_t bits, int64_t count) {
    DLTensor description = {data, {kDLCPU, 0}, 1, dtype_of(code, bits, 1), &count, NULL, 0};
    dlb_tensor *tensor = NULL;
    MUST(dlb_tensor_wrap(&description, 0, NULL, NULL, &tensor) == DLB_OK);
    return tensor;
}

static dlb_cast_options how(int32_t casting) {
    dlb_cast_options options = {sizeof options, casting};
    return options;
}

/* Elements on the heap, to the byte: what is read or written beyond them is seen. */
static void *exactly(const void *data, size_t bytes) {
    void *copy = malloc(bytes);
    MUST(copy != NULL);
    return memcpy(copy, data, bytes);
}

static void each_casting_does_what_it_says(void) {
    static const double values[] = {1.5, -3.0, 300.0, 16777217.0};
    double *source = exactly(values, sizeof values);
    uint8_t *bytes = calloc(4, 1);
    dlb_tensor *from = wrap(source, FLOAT, 64, 4), *to = wrap(bytes, UINT, 8, 4);
    dlb_cast_options options = how(DLB_CASTING_SAME_KIND);
    CHECK_FAILS(dlb_cast(from, to, NULL, NULL), DLB_ERROR_INVALID_ARGUMENT, "float64 is not cast to uint8");
    CHECK_FAILS(dlb_cast(from, to, &options, NULL), DLB_ERROR_INVALID_ARGUMENT, "with DLB_CASTING_SAME_KIND, which");
    CHECK(bytes[0] == 0 && bytes[3] == 0);
    options = how(DLB_CASTING_UNSAFE);
    CHECK_OK(dlb_cast(from, to, &options, NULL));
    CHECK(bytes[0] == 1 && bytes[1] == 253 && bytes[2] == 44 && bytes[3] == 1);
    options = how(DLB_CASTING_SATURATE);
    dlb_loss_report report = {.struct_size = sizeof report};
    CHECK_OK(dlb_cast(from, to, &options, &report));
    CHECK(bytes[0] == 1 && bytes[1] == 0 && bytes[2] == 255 && bytes[3] == 255);
    CHECK(report.elements == 4 && report.inexact == 1 && report.overflow == 3 && report.nan == 0);
    CHECK(report.struct_size == sizeof report && report.first == 0);
    CHECK(report.first_value[0] == 1.5 && report.first_result[0] == 1 && report.max_absolute_error == 16777217.0 - 255);
    options = how(DLB_CASTING_SAME_VALUE);
    CHECK_FAILS(dlb_cast(from, to, &options, &report), DLB_ERROR_LOSSY,
                "4 of 4 elements change their values on the way from float64 to uint8; the first, at index 0, is 1.5 and became 1");
    CHECK(strstr(dlb_error_message(), "; DLB_CASTING_SAME_VALUE does not allow that, pass DLB_CASTING_SATURATE to clamp them") != NULL);
    CHECK(report.overflow == 3 && bytes[0] == 255 && bytes[1] == 255 && bytes[2] == 255 && bytes[3] == 255);
    dlb_tensor_release(from);
    dlb_tensor_release(to);
    free(source);
    free(bytes);
}

static void a_new_tensor_is_made_or_none(void) {
    static const double values[] = {1.0, 16777217.0, 1e300};
    double *source = exactly(values, sizeof values);
    dlb_tensor *from = wrap(source, FLOAT, 64, 3), *made = NULL, *two = NULL;
    CHECK_FAILS(dlb_tensor_cast(from, dtype_of(FLOAT, 32, 1), NULL, NULL, &made), DLB_ERROR_LOSSY,
                "1 of 3 elements is out of range on the way from float64 to float32; the first, at index 2");
    CHECK(made == NULL);
    CHECK_OK(dlb_tensor_slice(from, 0, 0, 2, 1, &two));
    CHECK_OK(dlb_tensor_cast(two, dtype_of(FLOAT, 32, 1), NULL, NULL, &made));
    const void *data = NULL;
    CHECK_OK(dlb_tensor_data(made, dtype_of(FLOAT, 32, 1), &data));
    CHECK(((const float *)data)[0] == 1 && ((const float *)data)[1] == 16777216);
    dlb_tensor_release(made);
    dlb_tensor_release(two);
    dlb_tensor_release(from);
    free(source);
}

/* Lengths around every vector, steps, backwards, each dtype to each. */
static void every_dtype_to_every_other(void) {
    static const char *const names[] = {"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2", "complex64", "complex128"};
    enum { MOST = 69 };
    for (size_t pair = 0; pair < COUNT(names) * COUNT(names); pair++) {
        DLDataType from, to;
        MUST(dlb_dtype_parse(names[pair / COUNT(names)], &from) == DLB_OK);
        MUST(dlb_dtype_parse(names[pair % COUNT(names)], &to) == DLB_OK);
        for (int64_t count = 1; count <= MOST; count += 4) {
            size_t input = (size_t)(2 * count - 1) * from.bits / 8, output = (size_t)count * to.bits / 8;
            unsigned char *source = malloc(input), *back = malloc(output), *direct = malloc(output);
            MUST(source != NULL && back != NULL && direct != NULL);
            for (size_t at = 0; at < input; at++) source[at] = (unsigned char)(at * 37 + pair);
            int64_t step = 2, backwards = -1;
            DLTensor spaced = {source, {kDLCPU, 0}, 1, from, &count, &step, 0};
            DLTensor reversed = {back + (count - 1) * to.bits / 8, {kDLCPU, 0}, 1, to, &count, &backwards, 0};
            DLTensor packed = {direct, {kDLCPU, 0}, 1, to, &count, NULL, 0};
            dlb_tensor *a = NULL, *b = NULL, *c = NULL, *copy = NULL;
            MUST(dlb_tensor_wrap(&spaced, 0, NULL, NULL, &a) == DLB_OK);
            MUST(dlb_tensor_wrap(&reversed, 0, NULL, NULL, &b) == DLB_OK);
            MUST(dlb_tensor_wrap(&packed, 0, NULL, NULL, &c) == DLB_OK);
            MUST(dlb_tensor_copy(a, NULL, NULL, &copy) == DLB_OK);
            dlb_cast_options options = how(DLB_CASTING_UNSAFE);
            CHECK_OK(dlb_cast(a, b, &options, NULL));
            CHECK_OK(dlb_cast(copy, c, &options, NULL));
            for (int64_t at = 0; at < count; at++) {
                size_t item = to.bits / 8;
                CHECK(memcmp(direct + (size_t)at * item, back + (size_t)(count - 1 - at) * item, item) == 0);
            }
            dlb_tensor_release(a);
            dlb_tensor_release(b);
            dlb_tensor_release(c);
            dlb_tensor_release(copy);
            free(source);
            free(back);
            free(direct);
        }
    }
}

static void threads_change_nothing(void) {
    enum { MANY = 1 << 19 };
    float *source = malloc(MANY * sizeof *source);
    int16_t *one = malloc(MANY * sizeof *one), *more = malloc(MANY * sizeof *more);
    MUST(source != NULL && one != NULL && more != NULL);
    for (int at = 0; at < MANY; at++) source[at] = (float)at * 0.37F - 9000;
    dlb_tensor *from = wrap(source, FLOAT, 32, MANY), *to[] = {wrap(one, INT, 16, MANY), wrap(more, INT, 16, MANY)};
    dlb_loss_report reports[2] = {{.struct_size = sizeof *reports}, {.struct_size = sizeof *reports}};
    dlb_cast_options options = how(DLB_CASTING_SATURATE);
    for (int run = 0; run < 2; run++) {
        dlb_threads_set(run == 0 ? 1 : 3);
        CHECK_OK(dlb_cast(from, to[run], &options, &reports[run]));
    }
    dlb_threads_set(0);
    CHECK(memcmp(one, more, MANY * sizeof *one) == 0);
    CHECK(memcmp(&reports[0], &reports[1], sizeof *reports) == 0);
    CHECK(reports[0].overflow > 0 && reports[0].inexact > 0);
    dlb_tensor_release(from);
    dlb_tensor_release(to[0]);
    dlb_tensor_release(to[1]);
    free(source);
    free(one);
    free(more);
}

static void what_is_wrong_is_said_and_nothing_is_written(void) {
    float values[] = {1, 2, 3, 4};
    double wide[] = {7, 7, 7, 7};
    dlb_tensor *from = wrap(values, FLOAT, 32, 4), *to = wrap(wide, FLOAT, 64, 4), *part = NULL, *frozen = NULL, *out = NULL;
    CHECK_FAILS(dlb_cast(NULL, to, NULL, NULL), DLB_ERROR_INVALID_ARGUMENT, "source is NULL");
    CHECK_FAILS(dlb_cast(from, NULL, NULL, NULL), DLB_ERROR_INVALID_ARGUMENT, "destination is NULL");
    CHECK_FAILS(dlb_tensor_cast(from, dtype_of(FLOAT, 64, 1), NULL, NULL, NULL), DLB_ERROR_INVALID_ARGUMENT, "out is NULL");
    dlb_cast_options options = how(9);
    CHECK_FAILS(dlb_cast(from, to, &options, NULL), DLB_ERROR_INVALID_ARGUMENT, "casting is 9; pass DLB_CASTING_SAME_KIND, ");
    options.struct_size = 4;
    CHECK_FAILS(dlb_cast(from, to, &options, NULL), DLB_ERROR_INVALID_ARGUMENT, "struct_size of dlb_cast_options is 4");
    dlb_loss_report report = {.struct_size = 8};
    CHECK_FAILS(dlb_cast(from, to, NULL, &report), DLB_ERROR_INVALID_ARGUMENT, "struct_size of dlb_loss_report is 8");
    CHECK_OK(dlb_tensor_slice(to, 0, 0, 3, 1, &part));
    CHECK_FAILS(dlb_cast(from, part, NULL, NULL), DLB_ERROR_INVALID_ARGUMENT, "shape [4]");
    CHECK_OK(dlb_tensor_read_only(to, &frozen));
    CHECK_FAILS(dlb_cast(from, frozen, NULL, NULL), DLB_ERROR_READ_ONLY, "read-only");
    CHECK_FAILS(dlb_cast(to, to, NULL, NULL), DLB_ERROR_UNSUPPORTED, "overlap");
    CHECK_FAILS(dlb_tensor_cast(from, dtype_of(FLOAT4_E2M1FN, 4, 1), NULL, NULL, &out), DLB_ERROR_UNSUPPORTED, "is not cast");
    CHECK(out == NULL && wide[0] == 7 && wide[3] == 7);
    CHECK_TEXT(dlb_casting_name(DLB_CASTING_SATURATE), "saturate");
    CHECK_TEXT(dlb_casting_name(77), "unknown");
    dlb_tensor_release(part);
    dlb_tensor_release(frozen);
    dlb_tensor_release(from);
    dlb_tensor_release(to);
}

RUN_TESTS(TEST(each_casting_does_what_it_says), TEST(a_new_tensor_is_made_or_none), TEST(every_dtype_to_every_other),
          TEST(threads_change_nothing), TEST(what_is_wrong_is_said_and_nothing_is_written))
