/* memory.h: tensors made of memory of the library's, and what is refused. */
#ifndef MEMORY_H
#define MEMORY_H

#include "check.h"

enum { MIB = 1 << 20 };

static const DLDataType UINT8 = {kDLUInt, 8, 1};

static inline dlb_tensor_options options_of(const int64_t *shape, int32_t ndim, DLDataType dtype) {
    dlb_tensor_options options = {.struct_size = sizeof options, .shape = shape, .ndim = ndim, .dtype = dtype};
    return options;
}

static inline dlb_pool_stats stats_of(const dlb_allocator *allocator) {
    dlb_pool_stats stats = {.struct_size = sizeof stats};
    CHECK_OK(dlb_allocator_stats(allocator, &stats));
    return stats;
}

static inline void *written(dlb_tensor *tensor, DLDataType dtype) {
    void *data = NULL;
    CHECK_OK(dlb_tensor_mutable_data(tensor, dtype, &data));
    memset(data, 7, dlb_tensor_nbytes(tensor));
    return data;
}

static inline void refused(dlb_tensor_options options, dlb_status status, const char *words) {
    dlb_tensor *const untouched = (dlb_tensor *)(void *)&options, *out = untouched;
    CHECK_FAILS(dlb_tensor_empty(&options, &out), status, words);
    CHECK_FAILS(dlb_tensor_zeros(&options, &out), status, words);
    CHECK(out == untouched);
}

#endif
