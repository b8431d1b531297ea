/* sample.h: a producer to test against. It describes a buffer, right or wrong, and hands it over through each of the
 * three doors of the C API. What it hands over is allocated to the byte and freed by its deleter, so that valgrind and
 * AddressSanitizer see whatever is read beyond it or after it. */
#ifndef SAMPLE_H
#define SAMPLE_H

#include "check.h"

/* DLPack's codes by number, because a system header from before DLPack 1.0 lacks most of their names. */
enum { INT = 0, UINT = 1, FLOAT = 2, OPAQUE = 3, BFLOAT = 4, COMPLEX = 5, BOOL = 6, FLOAT8_E4M3FN = 10 };
enum { FLOAT6_E2M3FN = 15, FLOAT4_E2M1FN = 17, UNKNOWN_CODE = 42 };
enum { CPU = 1, CUDA = 2, CUDA_HOST = 3, OPENCL = 4, VULKAN = 7, METAL = 8, ROCM_HOST = 11, CUDA_MANAGED = 13 };
enum { WEBGPU = 15, TRN = 18 };

/* The ways in; a test names those that it is about. */
enum { VERSIONED = 1, LEGACY = 2, WRAP = 4, MANAGED = VERSIONED | LEGACY, EVERY_DOOR = MANAGED | WRAP };

#define MAX_RANK (DLB_MAX_NDIM + 1)

typedef struct {
    DLTensor tensor; /* shape and strides point to the arrays below until a test aims them elsewhere */
    DLPackVersion version;
    uint64_t flags;
    int64_t shape[MAX_RANK], strides[MAX_RANK];
    atomic_int released; /* calls of the deleter or the release function so far */
} sample;

static inline DLDataType dtype_of(uint8_t code, uint8_t bits, uint16_t lanes) {
    DLDataType dtype;
    dtype.code = code, dtype.bits = bits, dtype.lanes = lanes;
    return dtype;
}

static inline DLDevice device_of(int type, int32_t id) {
    DLDevice device;
    device.device_type = (DLDeviceType)type, device.device_id = id;
    return device;
}

/* A well-formed float32 tensor on the CPU at `data`: row-major, strides spelled out, DLPack 1.3. */
static inline void sample_init(sample *self, void *data, int32_t ndim, const int64_t *shape) {
    *self = (sample){.version = {1, 3}};
    self->tensor.data = data;
    self->tensor.device = device_of(CPU, 0);
    self->tensor.dtype = dtype_of(FLOAT, 32, 1);
    self->tensor.ndim = ndim;
    self->tensor.shape = self->shape, self->tensor.strides = self->strides;
    int64_t stride = 1;
    for (int32_t axis = ndim - 1; axis >= 0; axis--) {
        self->shape[axis] = shape[axis], self->strides[axis] = stride;
        stride = shape[axis] > 0 && stride < INT64_MAX / shape[axis] ? stride * shape[axis] : stride;
    }
}

#define SAMPLE(self, data, ...)                                                                 \
    sample_init(self, data, (int32_t)(sizeof(int64_t[]){__VA_ARGS__} / sizeof(int64_t)), \
                (const int64_t[]){__VA_ARGS__})

static inline void sample_strides(sample *self, const int64_t *strides) {
    memcpy(self->strides, strides, (size_t)self->tensor.ndim * sizeof *strides);
}

#define STRIDES(self, ...) sample_strides(self, (const int64_t[]){__VA_ARGS__})

/* `count` values in a block of exactly their size; never NULL unless `values` is. */
static inline int64_t *sample_copy(const int64_t *values, int32_t count) {
    size_t fits = count < 0 ? 0 : count > MAX_RANK ? MAX_RANK : (size_t)count;
    int64_t *copy = values == NULL ? NULL : malloc(fits * sizeof *values + (fits == 0));
    MUST(values == NULL || copy != NULL);
    return copy == NULL || fits == 0 ? copy : memcpy(copy, values, fits * sizeof *values);
}

static inline DLTensor sample_description(const sample *self) {
    DLTensor tensor = self->tensor;
    tensor.shape = sample_copy(tensor.shape, tensor.ndim);
    tensor.strides = sample_copy(tensor.strides, tensor.ndim);
    return tensor;
}

static inline void sample_release(void *context) { atomic_fetch_add(&((sample *)context)->released, 1); }

static inline void sample_delete(DLManagedTensorVersioned *managed) {
    sample_release(managed->manager_ctx);
    free(managed->dl_tensor.shape), free(managed->dl_tensor.strides), free(managed);
}

static inline void sample_delete_legacy(DLManagedTensor *managed) {
    sample_release(managed->manager_ctx);
    free(managed->dl_tensor.shape), free(managed->dl_tensor.strides), free(managed);
}

static inline DLManagedTensorVersioned *sample_managed(sample *self) {
    DLManagedTensorVersioned *managed = malloc(sizeof *managed);
    MUST(managed != NULL);
    *managed = (DLManagedTensorVersioned){.version = self->version, .manager_ctx = self, .deleter = sample_delete,
                                          .flags = self->flags, .dl_tensor = sample_description(self)};
    return managed;
}

static inline DLManagedTensor *sample_legacy(sample *self) {
    DLManagedTensor *managed = malloc(sizeof *managed);
    MUST(managed != NULL);
    *managed = (DLManagedTensor){sample_description(self), self, sample_delete_legacy};
    return managed;
}

static inline dlb_status sample_wrap(sample *self, dlb_tensor **out) {
    DLTensor description = sample_description(self);
    dlb_status status = dlb_tensor_wrap(&description, self->flags, sample_release, self, out);
    free(description.shape), free(description.strides); /* shape and strides were copied */
    return status;
}

/* Hands the sample over through one door. */
static inline dlb_status sample_open(sample *self, int door, dlb_tensor **out) {
    switch (door) {
    case VERSIONED: return dlb_tensor_import(sample_managed(self), out);
    case LEGACY: return dlb_tensor_import_legacy(sample_legacy(self), out);
    default: return sample_wrap(self, out);
    }
}

/* A tensor on the sample, for tests that are about something else than how it came in. */
static inline dlb_tensor *sample_tensor(sample *self) {
    dlb_tensor *tensor = NULL;
    MUST(sample_wrap(self, &tensor) == DLB_OK);
    return tensor;
}

/* Every door in `doors` refuses the sample: this status, these words, `*out` untouched, nothing left alive, the
 * deleter called once and the release function not at all. */
static inline void sample_refused(sample *self, int doors, dlb_status status, const char *words) {
    for (int door = VERSIONED; door <= WRAP; door *= 2) {
        dlb_tensor *const untouched = (dlb_tensor *)(void *)self;
        dlb_tensor *out = untouched;
        size_t tensors = dlb_live_tensors(), exports = dlb_live_exports();
        if ((doors & door) == 0) {
            continue;
        }
        self->released = 0;
        CHECK_FAILS(sample_open(self, door, &out), status, words);
        CHECK(out == untouched);
        CHECK_EQUAL(self->released, door == WRAP ? 0 : 1);
        CHECK_EQUAL(dlb_live_tensors(), tensors);
        CHECK_EQUAL(dlb_live_exports(), exports);
    }
}

/* Every door in `doors` takes the sample; `inspect` looks at the tensor; the owner is let go once, at the end. */
static inline void sample_accepted(sample *self, int doors, void (*inspect)(const sample *, const dlb_tensor *)) {
    for (int door = VERSIONED; door <= WRAP; door *= 2) {
        dlb_tensor *tensor = NULL;
        if ((doors & door) == 0) {
            continue;
        }
        self->released = 0;
        CHECK_OK(sample_open(self, door, &tensor));
        if (tensor != NULL) {
            inspect(self, tensor);
            CHECK_EQUAL(self->released, 0);
            dlb_tensor_release(tensor);
            CHECK_EQUAL(self->released, 1);
        }
    }
}

#endif /* SAMPLE_H */
