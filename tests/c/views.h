/* views.h: tensors whose values say where they were read, and readers that go by shape and strides alone. */
#ifndef VIEWS_H
#define VIEWS_H

#include "sample.h"

enum { SIZE = 256, MIDDLE = SIZE / 2 };

/* Every element holds its own position, so that a value says where it was read. */
static int32_t buffer[SIZE];

static inline void fill_buffer(void) {
    for (int32_t i = 0; i < SIZE; i++) {
        buffer[i] = i;
    }
}

static inline dlb_tensor *strided(int32_t ndim, const int64_t *shape, const int64_t *strides) {
    static sample from; /* its address is the context, its count is not looked at */
    fill_buffer();
    sample_init(&from, buffer + MIDDLE, ndim, shape);
    from.tensor.dtype = dtype_of(INT, 32, 1);
    if (strides != NULL) {
        sample_strides(&from, strides);
    }
    return sample_tensor(&from);
}

#define ROW_MAJOR(...) \
    strided((int32_t)(sizeof(int64_t[]){__VA_ARGS__} / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__}, NULL)
#define LIST(...) ((const int64_t[]){__VA_ARGS__}), (int32_t)(sizeof(int64_t[]){__VA_ARGS__} / sizeof(int64_t))

/* Reads all elements in row-major order, by the view's shape and strides alone; returns how many. */
static inline size_t read_all(const dlb_tensor *tensor, int32_t *values) {
    const DLTensor *view = dlb_tensor_view(tensor);
    size_t size = dlb_tensor_size(tensor);
    MUST(size <= SIZE);
    for (size_t i = 0; i < size; i++) {
        const int32_t *element = view->data;
        int64_t rest = (int64_t)i;
        for (int32_t axis = view->ndim - 1; axis >= 0; axis--) {
            element += rest % view->shape[axis] * view->strides[axis];
            rest /= view->shape[axis];
        }
        values[i] = *element;
    }
    return size;
}

static inline void check_shape(const dlb_tensor *tensor, const int64_t *shape, int32_t ndim) {
    const DLTensor *view = dlb_tensor_view(tensor);
    CHECK_EQUAL(view->ndim, ndim);
    CHECK(view->ndim == ndim && (ndim == 0 || memcmp(view->shape, shape, (size_t)ndim * sizeof *shape) == 0));
}

/* The view exists and reads these values; then it is released. */
static inline void check_values(dlb_tensor *view, const int32_t *expected, size_t count) {
    int32_t values[SIZE];
    MUST(view != NULL);
    size_t size = read_all(view, values);
    CHECK_EQUAL(size, count);
    CHECK(size == count && (count == 0 || memcmp(values, expected, count * sizeof *values) == 0));
    dlb_tensor_release(view);
}

#endif /* VIEWS_H */
