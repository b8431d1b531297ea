/* The stand-in's copies. */
#include "stream.h"

#include <stdlib.h>
#include <string.h>

/* Queues a copy. As with the driver, memory of the host that is not pinned is dealt with before the call returns. */
static CUresult queue_copy(void *handle, rows rows) {
    stream *on = stream_of(handle);
    if (on == NULL) return INVALID_HANDLE;
    if (rows.width == 0 || rows.height == 0) return SUCCESS;
    if (rows.height > 1 && (rows.width > rows.from_pitch || rows.width > rows.to_pitch)) return INVALID_VALUE;
    size_t from_bytes = rows.from_pitch * (rows.height - 1) + rows.width;
    size_t to_bytes = rows.to_pitch * (rows.height - 1) + rows.width;
    if (rows.from_kind == DEVICE_MEMORY && !is_memory(rows.from, from_bytes, DEVICE_MEMORY)) return INVALID_VALUE;
    if (rows.to_kind == DEVICE_MEMORY && !is_memory(rows.to, to_bytes, DEVICE_MEMORY)) return INVALID_VALUE;
    if (rows.from_kind == HOST_MEMORY && !is_memory(rows.from, from_bytes, HOST_MEMORY)) {
        rows.from_kind = UNKNOWN_MEMORY;
        rows.snapshot = malloc(rows.width * rows.height);
        for (size_t row = 0; row < rows.height; row++) {
            memcpy((char *)rows.snapshot + row * rows.width, (char *)rows.from + row * rows.from_pitch, rows.width);
        }
    }
    bool pageable = rows.to_kind == HOST_MEMORY && !is_memory(rows.to, to_bytes, HOST_MEMORY);
    if (pageable) rows.to_kind = UNKNOWN_MEMORY;
    CUresult queued = queue(on, (op){.kind = COPY, .rows = rows});
    if (queued == SUCCESS && pageable) queued = can_wait(on);
    if (queued == SUCCESS && pageable) finish(on);
    return queued;
}

static rows row(uintptr_t to, int to_kind, uintptr_t from, int from_kind, size_t bytes) {
    return (rows){from, to, bytes, bytes, bytes, 1, from_kind, to_kind, NULL};
}

EXPORT CUresult cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *on) {
    ENTER(cuMemcpyHtoDAsync);
    NEED_CONTEXT;
    return leave(queue_copy(on, row(to, DEVICE_MEMORY, (uintptr_t)from, HOST_MEMORY, bytes)));
}

EXPORT CUresult cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *on) {
    ENTER(cuMemcpyDtoHAsync);
    NEED_CONTEXT;
    return leave(queue_copy(on, row((uintptr_t)to, HOST_MEMORY, from, DEVICE_MEMORY, bytes)));
}

EXPORT CUresult cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *on) {
    ENTER(cuMemcpyDtoDAsync);
    NEED_CONTEXT;
    return leave(queue_copy(on, row(to, DEVICE_MEMORY, from, DEVICE_MEMORY, bytes)));
}

EXPORT CUresult cuMemcpyPeerAsync(uint64_t to, void *to_context, uint64_t from, void *from_context, size_t bytes, void *on) {
    ENTER(cuMemcpyPeerAsync);
    NEED_CONTEXT;
    int device;
    uintptr_t start;
    size_t room;
    /* A context begins with the number of its device. */
    if (kind_of(to, &device, &start, &room) != DEVICE_MEMORY || device != *(int *)to_context) return leave(INVALID_VALUE);
    if (kind_of(from, &device, &start, &room) != DEVICE_MEMORY || device != *(int *)from_context) return leave(INVALID_VALUE);
    return leave(queue_copy(on, row(to, DEVICE_MEMORY, from, DEVICE_MEMORY, bytes)));
}

/* As the driver has it. */
typedef struct description {
    size_t from_x, from_y;
    unsigned from_kind;
    const void *from_host;
    uint64_t from_device;
    void *from_array;
    size_t from_pitch, to_x, to_y;
    unsigned to_kind;
    void *to_host;
    uint64_t to_device;
    void *to_array;
    size_t to_pitch, width, height;
} description;

EXPORT CUresult cuMemcpy2DAsync_v2(const description *given, void *on) {
    ENTER(cuMemcpy2DAsync);
    NEED_CONTEXT;
    bool from_host = given->from_kind == HOST_MEMORY, to_host = given->to_kind == HOST_MEMORY;
    rows rows = {from_host ? (uintptr_t)given->from_host : given->from_device,
                 to_host ? (uintptr_t)given->to_host : given->to_device,
                 given->from_pitch, given->to_pitch, given->width, given->height,
                 (int)given->from_kind, (int)given->to_kind, NULL};
    return leave(queue_copy(on, rows));
}

/* As a copy from bytes that were read already. */
EXPORT CUresult cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void *on) {
    ENTER(cuMemsetD8Async);
    NEED_CONTEXT;
    if (stream_of(on) == NULL) return leave(INVALID_HANDLE);
    if (bytes == 0) return leave(SUCCESS);
    if (!is_memory(to, bytes, DEVICE_MEMORY)) return leave(INVALID_VALUE);
    rows whole = row(to, DEVICE_MEMORY, 0, UNKNOWN_MEMORY, bytes);
    whole.snapshot = malloc(bytes);
    memset(whole.snapshot, value, bytes);
    return leave(queue_copy(on, whole));
}
