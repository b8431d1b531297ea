/* dlbridge.h: the C API of dlbridge, the C library around DLPack.
 *
 * Generated from src/capi by build.rs; `make header` writes it.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A `dlb_tensor` describes a buffer that somebody owns. It comes from `dlb_tensor_wrap()` (your memory),
 * `dlb_tensor_empty()` (memory of its own), `dlb_tensor_import()` (a DLPack struct) or `dlb_python_import()` (any
 * Python array), goes out through `dlb_tensor_export()` or `dlb_python_capsule()`, and the elements are never copied on
 * the way. A whole program:
 *
 *   #include "dlbridge.h"
 *   #include <stdio.h>
 *   #include <stdlib.h>
 *
 *   int main(void) {
 *     int64_t shape[] = {480, 640, 3}, strides[] = {2048, 3, 1};           // in elements: rows are padded to 2048 bytes
 *     void *pixels = calloc(480, 2048);
 *     DLTensor frame = {pixels, {kDLCPU, 0}, 3, {kDLUInt, 8, 1}, shape, strides, 0};
 *     dlb_tensor *tensor = NULL, *packed = NULL;
 *     dlb_status status = dlb_tensor_wrap(&frame, 0, free, pixels, &tensor);   // free(pixels) after the last user
 *     if (status != DLB_OK) free(pixels);                                      // a wrap that fails takes nothing
 *     else status = dlb_tensor_copy(tensor, NULL, NULL, &packed);
 *     if (status != DLB_OK) fprintf(stderr, "%s: %s\n", dlb_status_name(status), dlb_error_message());
 *     else printf("%zu bytes without the padding\n", dlb_tensor_nbytes(packed));
 *     dlb_tensor_release(packed);                                              // NULL is a no-op
 *     dlb_tensor_release(tensor);
 *     return status;
 *   }
 *
 * The rules, which hold for every function unless it says otherwise:
 *
 *  - Failure. A function that can fail returns a `dlb_status`. Outputs are written only on `DLB_OK`, but for one: a
 *    `dlb_loss_report` is also written with `DLB_ERROR_LOSSY`, where it says what would be lost. `dlb_error_message()`
 *    says in words what was wrong and what to do.
 *  - Ownership. A pointer argument is borrowed for the call, unless it is said to be consumed. NULL is checked. What
 *    comes back through an `out` argument is owned by the caller, who ends it with the release function of its noun.
 *    Releasing NULL is a no-op.
 *  - Threads. Every function may be called from any thread, and several at a time. A counted object (a tensor, an
 *    allocator, an event, a stream, a ring) may be shared between threads that hold a reference each. The elements of a
 *    tensor are plain memory: they need whatever synchronisation the program gives them.
 *  - Structs of options, reports and numbers begin with their own size. Write `dlb_tensor_options options = {0};` (in
 *    C++ `= {}`), then `options.struct_size = sizeof options;`, then what is to differ from zero.
 *  - Sizes in bytes are `size_t`; shapes, strides and positions are `int64_t` and count elements.
 *  - No exception and no panic leaves this library; a bug inside it is `DLB_ERROR_INTERNAL`.
 *
 * The sections: status, dtypes, devices, tensors, memory, streams, copying, casting, comparing, stacking, staging, Python.
 */

#ifndef DLBRIDGE_H
#define DLBRIDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "dlbridge/dlpack_abi.h"

/* The version of this header; `dlb_version()` has that of the library that is loaded. */
#define DLB_VERSION_MAJOR 0
#define DLB_VERSION_MINOR 1
#define DLB_VERSION_PATCH 0
#define DLB_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* === Status: how every function reports, and the words of the last error ========================================= */

/**
 * What a fallible function returns: `DLB_OK` or one of the errors below. Outputs are written only on `DLB_OK`, a
 * `dlb_loss_report` also with `DLB_ERROR_LOSSY`.
 */
typedef int32_t dlb_status;

/**
 * Success.
 */
#define DLB_OK 0

/**
 * An argument is NULL, out of range or makes no sense.
 */
#define DLB_ERROR_INVALID_ARGUMENT 1

/**
 * The DLPack structure is malformed.
 */
#define DLB_ERROR_INVALID_TENSOR 2

/**
 * Valid, but not handled by this library.
 */
#define DLB_ERROR_UNSUPPORTED 3

/**
 * The tensor is read-only and writing was asked for, or a struct that cannot say "read-only".
 */
#define DLB_ERROR_READ_ONLY 4

/**
 * Only a copy could do this, and none was asked for.
 */
#define DLB_ERROR_COPY_REQUIRED 5

/**
 * A value would change, and that was not allowed.
 */
#define DLB_ERROR_LOSSY 6

/**
 * An allocation failed.
 */
#define DLB_ERROR_OUT_OF_MEMORY 7

/**
 * A device driver failed; the message has the driver's name for it.
 */
#define DLB_ERROR_DEVICE 8

/**
 * There is no such device, driver or interpreter here.
 */
#define DLB_ERROR_UNAVAILABLE 9

/**
 * The time given ran out.
 */
#define DLB_ERROR_TIMEOUT 10

/**
 * The other side has shut down: a ring was closed or aborted.
 */
#define DLB_ERROR_CLOSED 11

/**
 * A Python exception was raised; see `dlb_python_import()` for where it is then.
 */
#define DLB_ERROR_PYTHON 12

/**
 * A bug in this library. Nothing was harmed; please report the message.
 */
#define DLB_ERROR_INTERNAL 13

/**
 * The version of the library that is loaded, such as `"0.1.0"`; `DLB_VERSION` is that of the header. Static, never NULL.
 */
const char *dlb_version(void);

/**
 * Why this thread's last failing call failed: what is wrong, with the values, and what to do about it. UTF-8.
 *
 * Never NULL; empty if nothing failed yet. A call that succeeds leaves it alone. Borrowed: valid until this thread
 * calls dlbridge again.
 */
const char *dlb_error_message(void);

/**
 * The name of a status code, such as `"DLB_ERROR_READ_ONLY"`; `"DLB_ERROR_UNKNOWN"` for any other number. Static,
 * never NULL.
 */
const char *dlb_status_name(dlb_status status);

/* === Dtypes: names of element types ============================================================================== */

/**
 * Writes the name of a dtype into `buffer`, as snprintf would: at most `capacity` bytes with the terminating NUL
 * (32 are always enough for a dtype that DLPack defines). Returns the length the whole name has without the NUL.
 *
 * Names follow NumPy and ml_dtypes: `float32`, `uint8`, `bfloat16`, `float8_e4m3fn`, with lanes `float32x4`. What
 * has no name comes out as `dtype(code=42, bits=8, lanes=1)`. `buffer` may be NULL if `capacity` is 0.
 */
size_t dlb_dtype_name(DLDataType dtype,
                      char *buffer,
                      size_t capacity);

/**
 * Reads a dtype from its name, as `dlb_dtype_name()` writes it. `name` is a NUL-terminated string, borrowed.
 *
 * Fails with `DLB_ERROR_INVALID_ARGUMENT` where `name` or `out` is NULL or the name is not known.
 */
dlb_status dlb_dtype_parse(const char *name, DLDataType *out);

/* === Devices: names of devices, and which of them work =========================================================== */

/**
 * Writes the name of a device into `buffer`, as snprintf would: `cpu`, `cuda:1`, `rocm:0`, `cuda_host`. At most
 * `capacity` bytes with the terminating NUL (32 are always enough for a device that DLPack defines). Returns the
 * length the whole name has without the NUL. `buffer` may be NULL if `capacity` is 0.
 */
size_t dlb_device_name(DLDevice device,
                       char *buffer,
                       size_t capacity);

/**
 * Writes the devices that streams can be made on, at most `capacity` of them, and returns how many there are. `devices`
 * may be NULL if `capacity` is 0. Thread-safe.
 */
size_t dlb_device_list(DLDevice *devices,
                       size_t capacity);

/**
 * Whether streams can be made on a device: `DLB_OK`, or `DLB_ERROR_UNAVAILABLE` and the message says why not.
 * `DLB_ERROR_INVALID_TENSOR` if DLPack knows no such device. Thread-safe.
 */
dlb_status dlb_device_check(DLDevice device);

/* === Tensors: wrapping, importing, exporting, asking, views ====================================================== */

/**
 * The largest `ndim` that is accepted: a producer's tensor with more is `DLB_ERROR_INVALID_TENSOR`, a view with more
 * `DLB_ERROR_INVALID_ARGUMENT`.
 */
#define DLB_MAX_NDIM 128

/**
 * As `start` or `stop` of `dlb_tensor_slice()`: from, or to, the very end, as an omitted bound in Python.
 */
#define DLB_SLICE_END INT64_MIN

/**
 * A shared description of a buffer: address, shape, strides, dtype, device, and who owns the memory.
 *
 * Opaque. Reference-counted: `dlb_tensor_retain()` adds a reference, `dlb_tensor_release()` drops one, and with the
 * last the owner is let go. The description never changes, so any thread may use a tensor while it holds a
 * reference; the elements are plain shared memory and need whatever synchronisation the program gives them.
 */
typedef struct dlb_tensor dlb_tensor;

/**
 * Lets go of a buffer: called exactly once, when its last user is gone, from whichever thread that is and with no
 * lock held. It must not throw. It may call dlbridge.
 *
 * That thread may be a stream's, which does nothing else meanwhile. There it must not wait for another stream whose release
 * functions wait for this one, in `dlb_event_wait()` or through memory that a copy is under way to: both would wait for ever.
 */
typedef void (*dlb_release_fn)(void *context);

/**
 * Wraps memory that somebody else owns. No copy is made.
 *
 * `description` is borrowed for the call; shape and strides are copied. Strides count elements, NULL strides mean
 * row-major; `byte_offset` is added to `data`. `flags` is 0 or `DLPACK_FLAG_BITMASK_READ_ONLY`
 * (`DLPACK_FLAG_BITMASK_IS_SUBBYTE_TYPE_PADDED` is known too: it means nothing for elements of whole bytes and is
 * refused for smaller ones). `release` is called with `context` when the last tensor and the last export on the
 * memory are gone; it may be NULL for memory that outlives them all. `*out` is owned by the caller:
 * `dlb_tensor_release()`.
 *
 * On failure nothing is taken and `release` is not called: `DLB_ERROR_INVALID_ARGUMENT` (NULL `description` or
 * `out`, unknown `flags`), `DLB_ERROR_INVALID_TENSOR` (a malformed description), `DLB_ERROR_UNSUPPORTED` (padded
 * sub-byte elements), `DLB_ERROR_OUT_OF_MEMORY`. Thread-safe.
 */
dlb_status dlb_tensor_wrap(const DLTensor *description,
                           uint64_t flags,
                           dlb_release_fn release,
                           void *context,
                           dlb_tensor **out);

/**
 * Takes over a DLPack managed tensor (the struct of DLPack 1.0 and later). No copy is made.
 *
 * `managed` is consumed, on success and on failure, even where `out` is NULL: its deleter is called exactly once,
 * when the last tensor and the last export on the memory are gone, or before this returns an error. Nothing the
 * producer says is trusted. Accepted: every 1.x version, NULL strides as row-major (whatever the minor version),
 * negative and zero strides, any stride on dimensions of size 0 and 1, a NULL deleter, flags that are not known
 * (dropped), dtype codes that are not known (they can be handed on but not accessed). An export of this library that
 * comes back as it went out gives the tensor that was exported. `*out` is owned by the caller:
 * `dlb_tensor_release()`.
 *
 * Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL `managed` or `out`), `DLB_ERROR_INVALID_TENSOR` (malformed),
 * `DLB_ERROR_UNSUPPORTED` (a major version other than 1, of which only the deleter is touched; padded sub-byte
 * elements), `DLB_ERROR_OUT_OF_MEMORY`. Thread-safe.
 */
dlb_status dlb_tensor_import(DLManagedTensorVersioned *managed,
                             dlb_tensor **out);

/**
 * Takes over a managed tensor in the struct from before DLPack 1.0. As `dlb_tensor_import()`; such a tensor cannot
 * say that it is read-only and counts as writable.
 */
dlb_status dlb_tensor_import_legacy(DLManagedTensor *managed,
                                    dlb_tensor **out);

/**
 * Hands the tensor out as a DLPack 1.3 managed tensor. No copy is made, so `IS_COPIED` is not set. While a copy into
 * the memory goes on (`dlb_copy_async()`), this waits for it.
 *
 * `tensor` is borrowed; the export keeps the memory alive by itself. `*out` is owned by the caller, who calls its
 * deleter (`(*out)->deleter(*out)`) once, from any thread, or gives it to a consumer who will. Each export has a
 * header of its own: strides are never NULL for `ndim > 0` and canonical on dimensions of size 0 and 1, `data` is
 * NULL where the tensor is empty, `byte_offset` is 0 (except where `data` is a handle: OpenCL, Vulkan, Metal,
 * WebGPU), and `READ_ONLY` is set where the tensor is read-only.
 *
 * On a CUDA device the consumer may let go while the device is at work: the memory is not used again before what was queued
 * on the legacy default stream, and on the library's own stream, when the deleter is called. For work on another stream
 * there is `dlb_tensor_export_on()`.
 *
 * Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL) and `DLB_ERROR_OUT_OF_MEMORY`, and with the error of an asynchronous
 * copy into the memory that failed. Thread-safe.
 */
dlb_status dlb_tensor_export(const dlb_tensor *tensor,
                             DLManagedTensorVersioned **out);

/**
 * Hands the tensor out in the struct from before DLPack 1.0. As `dlb_tensor_export()`; besides, a read-only tensor
 * is refused with `DLB_ERROR_READ_ONLY`, because that struct cannot say so.
 */
dlb_status dlb_tensor_export_legacy(const dlb_tensor *tensor,
                                    DLManagedTensor **out);

/**
 * Adds a reference and returns `tensor`, so that `mine = dlb_tensor_retain(theirs)` reads well. NULL gives NULL.
 * Thread-safe.
 */
dlb_tensor *dlb_tensor_retain(dlb_tensor *tensor);

/**
 * Drops a reference. With the last one the tensor is gone; with the last tensor and export on a buffer its owner is
 * let go, on this thread. NULL is a no-op. Thread-safe.
 */
void dlb_tensor_release(dlb_tensor *tensor);

/**
 * The DLPack description: where the elements are and how they are laid out.
 *
 * Borrowed, read only, valid while the caller holds a reference. Shape and strides are not NULL for `ndim > 0`,
 * strides are as the producer gave them, `data` is NULL where there is no element, `byte_offset` is 0 except where
 * `data` is a handle. While a copy into the memory goes on (`dlb_copy_async()`), this waits for it. NULL gives NULL, and
 * so does a tensor whose elements are not there because such a copy failed: `dlb_error_message()` then says why.
 */
const DLTensor *dlb_tensor_view(const dlb_tensor *tensor);

/**
 * `DLPACK_FLAG_BITMASK_READ_ONLY` or 0. NULL gives 0.
 */
uint64_t dlb_tensor_flags(const dlb_tensor *tensor);

/**
 * The number of elements: the product of the shape, 1 for a 0-d tensor. NULL gives 0.
 */
size_t dlb_tensor_size(const dlb_tensor *tensor);

/**
 * The bytes that the elements fill when packed, rounded up for sub-byte dtypes: what a copy would need, not the span
 * that the strides reach. NULL gives 0.
 */
size_t dlb_tensor_nbytes(const dlb_tensor *tensor);

/**
 * Whether the elements lie packed in row-major (`order` is `'C'`) or column-major (`'F'`) order. Both hold for a
 * tensor that is empty, 0-d or 1-d with stride 1. Any other `order` and NULL give false.
 */
bool dlb_tensor_is_contiguous(const dlb_tensor *tensor,
                              char order);

/**
 * The largest power of two, in bytes, that divides the address of the first element. 0 where there is no address: an
 * empty tensor, a handle, NULL.
 */
size_t dlb_tensor_alignment(const dlb_tensor *tensor);

/**
 * The address of the first element, checked for reading elements of `dtype` on the host.
 *
 * `*out` is borrowed and valid while the caller holds a reference; NULL where the tensor is empty. The elements lie
 * where shape and strides say. While a copy into the memory goes on (`dlb_copy_async()`), this waits for it. `dtype`
 * must be the tensor's own: to read bool as uint8, say, reinterpret it first (`dlb_tensor_reinterpret()`). Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL, or the tensor holds another dtype) and
 * `DLB_ERROR_UNSUPPORTED` (the host cannot read the memory, the address is not aligned for the dtype, the dtype code
 * is not known), and with the error of an asynchronous copy into the memory that failed. Thread-safe.
 */
dlb_status dlb_tensor_data(const dlb_tensor *tensor,
                           DLDataType dtype,
                           const void **out);

/**
 * The address of the first element, checked for writing elements of `dtype` on the host.
 *
 * As `dlb_tensor_data()`; besides, it waits for copies out of the memory too, and fails with `DLB_ERROR_READ_ONLY` for
 * a read-only tensor and with `DLB_ERROR_UNSUPPORTED` where strides may let several indices share one element. Slices,
 * permutations and reshapes of memory without such strides never do; interleavings that no order of the dimensions nests
 * are refused although some share nothing. Wherever a function writes to a tensor this is what it asks.
 */
dlb_status dlb_tensor_mutable_data(const dlb_tensor *tensor,
                                   DLDataType dtype,
                                   void **out);

/**
 * How many tensors are alive in this process, views included: for leak tests. Thread-safe.
 */
size_t dlb_live_tensors(void);

/**
 * How many exports are alive in this process: handed out, their deleter not called yet. For leak tests. Thread-safe.
 */
size_t dlb_live_exports(void);

/**
 * `tensor[..., start:stop:step, ...]` along `axis`, with Python's rules: negative positions count from the end,
 * positions outside are clamped, `DLB_SLICE_END` stands for an omitted bound, `step` may be negative but not 0. A
 * negative `axis` counts from the last.
 *
 * Like every view: `tensor` is borrowed, nothing is copied, `*out` shares the buffer, keeps its owner alive, inherits
 * read-only, and is owned by the caller: `dlb_tensor_release()`. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL, an
 * axis that is not there, step 0, a result that does not fit 63 bits of bytes), `DLB_ERROR_UNSUPPORTED` (packed
 * sub-byte elements, and the view would not start on a byte), `DLB_ERROR_OUT_OF_MEMORY`. Thread-safe.
 */
dlb_status dlb_tensor_slice(const dlb_tensor *tensor,
                            int32_t axis,
                            int64_t start,
                            int64_t stop,
                            int64_t step,
                            dlb_tensor **out);

/**
 * `tensor[..., index, ...]` along `axis`, which disappears. A negative `index` counts from the end. A view, as
 * `dlb_tensor_slice()` says; an index outside is `DLB_ERROR_INVALID_ARGUMENT`.
 */
dlb_status dlb_tensor_select(const dlb_tensor *tensor,
                             int32_t axis,
                             int64_t index,
                             dlb_tensor **out);

/**
 * The axes in another order: axis `i` of the result is axis `axes[i]` of `tensor`; `{0, 3, 1, 2}` makes NCHW of NHWC.
 * `axes` holds `ndim` values, borrowed, each axis once; negative ones count from the last. A view, as
 * `dlb_tensor_slice()` says.
 */
dlb_status dlb_tensor_permute(const dlb_tensor *tensor,
                              const int64_t *axes,
                              int32_t ndim,
                              dlb_tensor **out);

/**
 * Broadcasts to `shape` (`ndim` values, borrowed): dimensions of size 1 grow with stride 0, missing ones appear in
 * front. A view, as `dlb_tensor_slice()` says; where a dimension grows, indices share elements, so the result is
 * read-only. A shape that does not broadcast is `DLB_ERROR_INVALID_ARGUMENT`.
 */
dlb_status dlb_tensor_expand(const dlb_tensor *tensor,
                             const int64_t *shape,
                             int32_t ndim,
                             dlb_tensor **out);

/**
 * Removes `axis`, which must have size 1 (else `DLB_ERROR_INVALID_ARGUMENT`). A view, as `dlb_tensor_slice()` says.
 */
dlb_status dlb_tensor_squeeze(const dlb_tensor *tensor,
                              int32_t axis,
                              dlb_tensor **out);

/**
 * Inserts an axis of size 1 at position `axis` of the result; -1 puts it last. A view, as `dlb_tensor_slice()` says.
 */
dlb_status dlb_tensor_unsqueeze(const dlb_tensor *tensor,
                                int32_t axis,
                                dlb_tensor **out);

/**
 * The same elements in the same row-major order under another `shape` (`ndim` values, borrowed; one of them may be
 * -1, to be worked out). A view, as `dlb_tensor_slice()` says: where the strides allow none it fails with
 * `DLB_ERROR_COPY_REQUIRED` rather than copy. Another number of elements is `DLB_ERROR_INVALID_ARGUMENT`.
 */
dlb_status dlb_tensor_reshape(const dlb_tensor *tensor,
                              const int64_t *shape,
                              int32_t ndim,
                              dlb_tensor **out);

/**
 * The same bytes as another dtype. Where the element sizes differ, the last dimension shrinks or grows to fit and
 * must lie packed (stride 1). A view, as `dlb_tensor_slice()` says; where the sizes do not fit (for a 0-d tensor they
 * never do) it fails with `DLB_ERROR_UNSUPPORTED`, for a dtype that cannot exist with `DLB_ERROR_INVALID_ARGUMENT`.
 */
dlb_status dlb_tensor_reinterpret(const dlb_tensor *tensor,
                                  DLDataType dtype,
                                  dlb_tensor **out);

/**
 * The same memory, marked read-only: mutable access and legacy exports are refused, and consumers are told. A view,
 * as `dlb_tensor_slice()` says.
 */
dlb_status dlb_tensor_read_only(const dlb_tensor *tensor,
                                dlb_tensor **out);

/* === Memory: tensors on memory of their own, allocators, pools, page-locking ===================================== */

/**
 * Who gives memory and takes it back: the host's allocator, a pool, or functions of the program.
 *
 * Opaque. Reference-counted: `dlb_allocator_retain()` adds a reference, `dlb_allocator_release()` drops one; every
 * tensor on its memory holds one too. Any thread may use it.
 */
typedef struct dlb_allocator dlb_allocator;

/**
 * Memory that is page-locked until this is released, so that CUDA devices copy from and to it without help of the CPU.
 *
 * Opaque, owned by one holder; any thread may release it.
 */
typedef struct dlb_pin dlb_pin;

/**
 * What `dlb_tensor_empty()` is to make. Set `struct_size` to `sizeof(dlb_tensor_options)` and the rest to zero; then
 * shape, ndim and dtype.
 */
typedef struct {
  /**
   * `sizeof(dlb_tensor_options)`.
   */
  size_t struct_size;
  /**
   * `ndim` sizes in elements, borrowed for the call; may be NULL if `ndim` is 0.
   */
  const int64_t *shape;
  /**
   * The number of dimensions.
   */
  int32_t ndim;
  /**
   * The element type.
   */
  DLDataType dtype;
  /**
   * Where; all zero for wherever the allocator's memory is, which by default is the host.
   */
  DLDevice device;
  /**
   * Not 0 for page-locked memory of the host, which CUDA devices copy from and to without help of the CPU; `device` is
   * then left zero, and the tensor's is kDLCUDAHost.
   */
  int32_t pinned;
  /**
   * The address is a multiple of this power of two, up to 1 GiB; 0 for 256.
   */
  size_t alignment;
  /**
   * Who gives the memory, borrowed; NULL for the shared allocator.
   */
  const dlb_allocator *allocator;
} dlb_tensor_options;

/**
 * An allocator in C. Set `struct_size` to `sizeof(dlb_allocator_functions)` and the rest to zero first.
 *
 * The functions are called from any thread, also several at a time, with no lock held. They must not throw.
 */
typedef struct {
  /**
   * `sizeof(dlb_allocator_functions)`.
   */
  size_t struct_size;
  /**
   * Given to each function.
   */
  void *context;
  /**
   * `bytes` bytes (never 0) at a multiple of `alignment` (a power of two), or NULL.
   */
  void *(*allocate)(void *context, size_t bytes, size_t alignment);
  /**
   * Takes memory back, with the numbers it was allocated with.
   */
  void (*deallocate)(void *context, void *data, size_t bytes, size_t alignment);
  /**
   * Called once, when the last reference to the allocator and the last memory from it are gone; may be NULL.
   */
  dlb_release_fn release;
  /**
   * Where the memory is; all zero for the host.
   */
  DLDevice device;
} dlb_allocator_functions;

/**
 * How much a pool may hold, in bytes. Set `struct_size` to `sizeof(dlb_pool_options)`.
 */
typedef struct {
  /**
   * `sizeof(dlb_pool_options)`.
   */
  size_t struct_size;
  /**
   * In all, in use and cached: a request beyond it frees cached blocks. Where all of them are not enough it fails.
   * 0 for any amount.
   */
  size_t limit;
  /**
   * Cached: what comes back beyond it makes the blocks go that were unused for longest. 0 for any amount; to cache
   * nothing, call `dlb_allocator_limit(pool, 0)`.
   */
  size_t cached;
} dlb_pool_options;

/**
 * What a pool has and did. Set `struct_size` to `sizeof(dlb_pool_stats)` before the call: no more than that is written. All
 * but `allocations` and `hits` are bytes.
 */
typedef struct {
  /**
   * `sizeof(dlb_pool_stats)`.
   */
  size_t struct_size;
  /**
   * In use, as it was asked for.
   */
  size_t asked;
  /**
   * In use, as it was set aside: rounded up, or a cached block that is up to an eighth larger.
   */
  size_t held;
  /**
   * Kept for reuse.
   */
  size_t cached;
  /**
   * The largest `asked` so far.
   */
  size_t peak_asked;
  /**
   * The largest sum of `held` and `cached` so far.
   */
  size_t peak_held;
  /**
   * Requests that were granted.
   */
  uint64_t allocations;
  /**
   * Those of them that a cached block served.
   */
  uint64_t hits;
  /**
   * What it may have at most, in use and cached; `SIZE_MAX` for any amount.
   */
  size_t limit;
  /**
   * What it may cache at most, as `dlb_allocator_limit()` set it last; `SIZE_MAX` for any amount.
   */
  size_t cached_limit;
} dlb_pool_stats;

/**
 * Makes a row-major tensor on memory of its own: writable, its values anything, sub-byte elements packed.
 *
 * Host memory by default, at a multiple of 256 bytes: from 1 MiB on from a pool that all share, below from the C
 * library's allocator. From 2 MiB on it lies on huge pages as far as it fills them. Memory of a device and pinned memory
 * come from pools that all share (`dlb_allocator_device()`, `dlb_allocator_pinned()`). It goes back to its allocator when
 * the last tensor and the last export on it are gone. A tensor without elements has no memory: its `data` is NULL.
 *
 * `options` is borrowed. `*out` is owned by the caller: `dlb_tensor_release()`. Fails with
 * `DLB_ERROR_INVALID_ARGUMENT` (NULL, a negative size, a shape that does not fit 63 bits of bytes, a dtype that cannot
 * exist, an alignment that is no power of two, a device that is not the allocator's, an allocator that ignores the
 * alignment, pinned memory of a device), `DLB_ERROR_OUT_OF_MEMORY`, `DLB_ERROR_UNAVAILABLE` (a device that is not here,
 * pinned memory without a CUDA driver; the message says why) and `DLB_ERROR_DEVICE` (the driver failed). Thread-safe.
 */
dlb_status dlb_tensor_empty(const dlb_tensor_options *options,
                            dlb_tensor **out);

/**
 * As `dlb_tensor_empty()`, with every byte 0. Fresh pages of the system (2 MiB and more that the pool has no block for) are
 * that already and are not touched; all other memory is written once.
 *
 * Memory of a CUDA device is written there, and this waits for that: whatever reaches it afterwards, on any stream, finds
 * zeros. Memory that an allocator of yours gives on a device of another kind is `DLB_ERROR_UNAVAILABLE`. `*out` is owned by
 * the caller: `dlb_tensor_release()`. Fails besides as `dlb_tensor_empty()` does. Thread-safe.
 */
dlb_status dlb_tensor_zeros(const dlb_tensor_options *options,
                            dlb_tensor **out);

/**
 * The host's allocator, which caches nothing: the C library's below 2 MiB, from there on mappings with huge pages.
 *
 * `*out` is owned by the caller: `dlb_allocator_release()`. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL).
 */
dlb_status dlb_allocator_host(dlb_allocator **out);

/**
 * Memory of a device: a pool of that device, which all share. For the CPU it is the allocator that `dlb_tensor_empty()`
 * uses where none is named, so a program that takes its device as a parameter runs everywhere.
 *
 * `*out` is owned by the caller: `dlb_allocator_release()`. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL),
 * `DLB_ERROR_INVALID_TENSOR` (no device of DLPack's) and `DLB_ERROR_UNAVAILABLE` (no such device here; the message says
 * why). Thread-safe.
 */
dlb_status dlb_allocator_device(DLDevice device,
                                dlb_allocator **out);

/**
 * Page-locked memory of the host, which `for_device`, a CUDA device, copies from and to without help of the CPU: a pool
 * that all share. Its tensors are on kDLCUDAHost.
 *
 * Page-locked memory is scarce and costly to get, so blocks stay in the pool: `dlb_allocator_trim()` gives them back.
 * `*out` is owned by the caller: `dlb_allocator_release()`. Fails as `dlb_allocator_device()` does, for the CPU too.
 */
dlb_status dlb_allocator_pinned(DLDevice for_device,
                                dlb_allocator **out);

/**
 * An allocator of the program's own: `functions` is copied.
 *
 * `*out` is owned by the caller: `dlb_allocator_release()`. If this fails nothing is taken, and `release` is not
 * called: `DLB_ERROR_INVALID_ARGUMENT` (NULL `functions`, `allocate`, `deallocate` or `out`; a `struct_size` that is
 * too small; a device that does not exist).
 */
dlb_status dlb_allocator_create(const dlb_allocator_functions *functions,
                                dlb_allocator **out);

/**
 * Adds a reference and returns `allocator`. NULL gives NULL. Thread-safe.
 */
dlb_allocator *dlb_allocator_retain(dlb_allocator *allocator);

/**
 * Drops a reference. With the last one, and the last tensor on its memory, the allocator is gone. NULL is a no-op.
 * Thread-safe.
 */
void dlb_allocator_release(dlb_allocator *allocator);

/**
 * A pool over another allocator: it gives blocks out again instead of freeing them, which spares the page faults of
 * fresh memory.
 *
 * Sizes are rounded up to 512 bytes, from 1 MiB on to 4 KiB, and a cached block serves a request that it exceeds by at
 * most an eighth. `over` is retained; NULL stands for the host's allocator. `options` is borrowed and may be NULL: no
 * limits. The functions of `over` are called with no lock held and may use the pool; what they ask of it while they
 * free memory fails where it would have to wait for room that is being freed. In a forked child the pool starts
 * afresh: what was allocated before goes to `over` when it is given back.
 *
 * `*out` is owned by the caller: `dlb_allocator_release()`; with the last reference and the last tensor the cache is
 * freed. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL `out`, a `struct_size` that is too small).
 */
dlb_status dlb_allocator_pool(dlb_allocator *over,
                              const dlb_pool_options *options,
                              dlb_allocator **out);

/**
 * Frees what a pool caches, the blocks unused for longest first, until at most `keep` bytes are left. Returns how many
 * bytes were freed. NULL stands for the pool that all share; an allocator that is no pool has nothing to free: 0.
 * Thread-safe.
 */
size_t dlb_allocator_trim(dlb_allocator *allocator,
                          size_t keep);

/**
 * Changes how many bytes a pool may cache, and frees what is too much: 0 caches nothing, `SIZE_MAX` is any amount.
 * NULL stands for the pool that all share, which begins with an eighth of the memory of the machine or the container.
 *
 * Fails with `DLB_ERROR_INVALID_ARGUMENT` where the allocator is no pool. Thread-safe.
 */
dlb_status dlb_allocator_limit(dlb_allocator *allocator,
                               size_t cached);

/**
 * What a pool has and did; NULL stands for the pool that all share, which serves tensors of 1 MiB and more.
 *
 * Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL `out`, a `struct_size` that is too small, an allocator that is no pool
 * and so counts nothing). Thread-safe.
 */
dlb_status dlb_allocator_stats(const dlb_allocator *allocator,
                               dlb_pool_stats *out);

/**
 * Page-locks `bytes` bytes from `data` on, in place. Nothing is copied, and nothing about the memory changes but that.
 *
 * The memory is the caller's and stays there until the pin is released. Pinning what is pinned counts: the memory
 * is unlocked with the last pin on it. That goes for memory within an earlier pin: memory of which only a part is
 * pinned, or that was pinned otherwise (an allocator of pinned memory, another library), is refused. It costs
 * about as much as writing the memory once, so it pays for buffers that are used again.
 *
 * `*out` is owned by the caller: `dlb_pin_release()`. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL, memory that
 * is pinned otherwise or in part), `DLB_ERROR_OUT_OF_MEMORY` (the driver cannot pin it; the message has how much
 * is pinned, the limit and the reason), `DLB_ERROR_DEVICE` (the driver failed) and `DLB_ERROR_UNAVAILABLE` (no
 * CUDA driver; the message says why). Thread-safe.
 */
dlb_status dlb_memory_pin(void *data,
                          size_t bytes,
                          dlb_pin **out);

/**
 * Releases a pin, once the copies from and to the memory are done: with the last one on it, it may be paged again.
 * NULL is a no-op. Thread-safe.
 */
void dlb_pin_release(dlb_pin *pin);

/* === Streams: ordered work on a device, events, asynchronous copies ============================================== */

/**
 * As a timeout in nanoseconds, wherever a call takes one: however long it takes.
 */
#define DLB_WAIT_FOREVER UINT64_MAX

/**
 * A point in a stream: done once everything queued before it is.
 *
 * Opaque. Reference-counted: `dlb_event_retain()` adds a reference, `dlb_event_release()` drops one. Any thread may use
 * an event while it holds a reference. It does not keep the stream or any tensor.
 */
typedef struct dlb_event dlb_event;

/**
 * An ordered queue of work on one device: what is queued is done in that order, while the caller goes on.
 *
 * Opaque. Reference-counted: `dlb_stream_retain()` adds a reference, `dlb_stream_release()` drops one. Any thread may
 * use a stream while it holds a reference. On the CPU a stream is a thread of this library, started when first needed;
 * it runs release functions of tensors that a copy was the last to hold, and otherwise no code but this library's.
 *
 * After something failed on a stream, what is queued behind it is not carried out and its events say the same error,
 * until `dlb_stream_synchronize()` has reported it. In a child of `fork()` the streams made before it answer
 * `DLB_ERROR_UNAVAILABLE`, and so do events that were not done; make a new stream there.
 */
typedef struct dlb_stream dlb_stream;

/**
 * The copies of this process so far, by direction: how many, and the bytes of the elements they move. Set `struct_size`
 * to `sizeof(dlb_transfer_counts)` before the call.
 */
typedef struct {
  /**
   * `sizeof(dlb_transfer_counts)`.
   */
  size_t struct_size;
  /**
   * Copies within the host's memory.
   */
  uint64_t host_to_host;
  /**
   * Their bytes.
   */
  uint64_t host_to_host_bytes;
  /**
   * Copies from the host to a device.
   */
  uint64_t host_to_device;
  /**
   * Their bytes.
   */
  uint64_t host_to_device_bytes;
  /**
   * Copies from a device to the host.
   */
  uint64_t device_to_host;
  /**
   * Their bytes.
   */
  uint64_t device_to_host_bytes;
  /**
   * Copies within a device, or from one to another.
   */
  uint64_t device_to_device;
  /**
   * Their bytes.
   */
  uint64_t device_to_device_bytes;
} dlb_transfer_counts;

/**
 * Adds a reference and returns `event`. NULL gives NULL. Thread-safe.
 */
dlb_event *dlb_event_retain(dlb_event *event);

/**
 * Drops a reference. What the event stands for goes on all the same. NULL is a no-op. Thread-safe.
 */
void dlb_event_release(dlb_event *event);

/**
 * Whether the event is done, or never will be (in a child of `fork()`): whether `dlb_event_wait()` would answer at once.
 * Never blocks, and runs no release function: a thread of the library does, or whoever waits. NULL gives true. Thread-safe.
 */
bool dlb_event_done(const dlb_event *event);

/**
 * Waits until the event is done, for at most `timeout_ns` nanoseconds: 0 only asks, `DLB_WAIT_FOREVER` has no limit.
 *
 * When it is done the stream holds none of the tensors any more that were copied before it. Returns the error of what
 * failed before it, to everybody who waits. Fails besides with `DLB_ERROR_TIMEOUT`, `DLB_ERROR_INVALID_ARGUMENT` (NULL;
 * the stream's own thread, in a release function) and `DLB_ERROR_UNAVAILABLE` (not done when the process forked, and
 * this is the child). Thread-safe. Do not hold a lock meanwhile that a release function of a copied tensor takes; for
 * memory that came through `dlb_python_import()` the GIL is none.
 */
dlb_status dlb_event_wait(const dlb_event *event,
                          uint64_t timeout_ns);

/**
 * Makes a stream on a device of `dlb_device_list()`. The host is one device, whatever its id: `{kDLCPU, 7}` is the
 * CPU.
 *
 * `*out` is owned by the caller: `dlb_stream_release()`. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL),
 * `DLB_ERROR_INVALID_TENSOR` (no device of DLPack's) and `DLB_ERROR_UNAVAILABLE` (no such device here; the message says
 * why). Thread-safe.
 */
dlb_status dlb_stream_create(DLDevice device,
                             dlb_stream **out);

/**
 * Makes a stream of one that somebody else made on the device, through its native handle: a `CUstream` or `cudaStream_t`,
 * which are the same. NULL or 1 is CUDA's legacy default stream, 2 the per-thread one.
 *
 * The handle is borrowed and must outlive `*out`. What is queued on it by others and through `*out` is one order, and
 * waiting works both ways. `*out` is owned by the caller: `dlb_stream_release()`. Fails with
 * `DLB_ERROR_INVALID_ARGUMENT` (NULL `out`; a stream of another device, or of another context than the primary one of
 * its device, as the driver says), `DLB_ERROR_UNSUPPORTED` (the CPU, whose streams are threads of this library)
 * and `DLB_ERROR_UNAVAILABLE` (no such device here). Thread-safe.
 */
dlb_status dlb_stream_from_native(DLDevice device,
                                  void *handle,
                                  dlb_stream **out);

/**
 * The device a stream works on; all zero for NULL. Thread-safe.
 */
DLDevice dlb_stream_device(const dlb_stream *stream);

/**
 * Writes the native handle of a stream, a `cudaStream_t` on CUDA, for code that queues work of its own on it. It lives as
 * long as the stream. While such code has it captured into a CUDA graph, whatever would be queued on it through this library
 * answers `DLB_ERROR_UNSUPPORTED`: the graph may be replayed when the tensors are gone.
 *
 * Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL) and `DLB_ERROR_UNSUPPORTED` (a stream of the CPU has none). Thread-safe.
 */
dlb_status dlb_stream_native(const dlb_stream *stream,
                             void **out);

/**
 * `dlb_tensor_export()` for a consumer that works on `stream`: what is queued there from now on waits for the copies into
 * the tensor's memory, and this call does not, but for a copy on a stream of the CPU, as in `dlb_stream_wait_event()`.
 * The memory is not used again before what was queued there when the deleter is called. Until then the export keeps
 * `stream`; one of `dlb_stream_from_native()` that does not wait for the default stream (`cudaStreamNonBlocking`) has to
 * live as long, and where it is captured into a CUDA graph then, until what the device was given before the end of the
 * capture has been done for 20 ms. Any other may be destroyed before.
 *
 * `*out` is owned by the caller, as that of `dlb_tensor_export()`. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL),
 * `DLB_ERROR_OUT_OF_MEMORY`, with the error of a copy into the memory that failed, and as `dlb_stream_record()` does.
 * Thread-safe.
 */
dlb_status dlb_tensor_export_on(const dlb_tensor *tensor,
                                dlb_stream *stream,
                                DLManagedTensorVersioned **out);

/**
 * Adds a reference and returns `stream`. NULL gives NULL. Thread-safe.
 */
dlb_stream *dlb_stream_retain(dlb_stream *stream);

/**
 * Drops a reference. Never waits: with the last one the stream ends once everything queued is done. NULL is a no-op.
 * Thread-safe.
 */
void dlb_stream_release(dlb_stream *stream);

/**
 * Makes an event that is done when everything queued on the stream so far is.
 *
 * `*out` is owned by the caller: `dlb_event_release()`. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL),
 * `DLB_ERROR_UNAVAILABLE` (a stream from before a fork; its thread could not be started) and `DLB_ERROR_UNSUPPORTED` (it is
 * being captured into a CUDA graph). Thread-safe.
 */
dlb_status dlb_stream_record(dlb_stream *stream,
                             dlb_event **out);

/**
 * Has everything queued on `stream` from now on wait until `event`, of any stream, is done. The caller does not wait, but
 * where `stream` is one of CUDA and the event one of the CPU, of which the driver knows nothing: then this returns when
 * the event is done.
 *
 * Where what the event stands for failed, so does the stream. Fails as `dlb_stream_record()` does. Thread-safe.
 */
dlb_status dlb_stream_wait_event(dlb_stream *stream,
                                 const dlb_event *event);

/**
 * Waits until everything queued on the stream so far is done.
 *
 * Returns the error of what failed since the last such call, and the stream works again. Fails besides as
 * `dlb_stream_record()` does, and with `DLB_ERROR_INVALID_ARGUMENT` on the stream's own thread, in a release function.
 * Thread-safe.
 */
dlb_status dlb_stream_synchronize(dlb_stream *stream);

/**
 * `dlb_stream_synchronize()` for at most `timeout_ns` nanoseconds: 0 only asks, `DLB_WAIT_FOREVER` has no limit. Fails
 * besides with `DLB_ERROR_TIMEOUT`; what failed on the stream is reported by a later call then. Thread-safe.
 */
dlb_status dlb_stream_synchronize_for(dlb_stream *stream,
                                      uint64_t timeout_ns);

/**
 * Makes a row-major tensor on a device, of the shape and the dtype of `source`, for a copy of it: as `dlb_tensor_empty()`
 * does, but for the host and a source on a CUDA device in pinned memory, so that the driver writes it directly. It does not
 * wait for copies into `source`.
 *
 * `*out` is owned by the caller: `dlb_tensor_release()`. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL) and as
 * `dlb_tensor_empty()` does. Thread-safe.
 */
dlb_status dlb_tensor_empty_for(const dlb_tensor *source,
                                DLDevice device,
                                dlb_tensor **out);

/**
 * Queues a copy of the elements of `source` to `destination` and returns; a stream of CUDA that has to come after
 * a copy on a stream of the CPU first waits for that one, as in `dlb_stream_wait_event()`. Both have the same
 * shape and dtype; any strides will do. A stream of the CPU copies within the host's memory, one of CUDA also from
 * and to its device, within it, and from or to another one.
 *
 * Everything is checked before anything is queued. Both tensors are retained until the copy is done. Until then
 * `dlb_tensor_data()`, `dlb_tensor_view()` and the exports of `destination`, of its views and of other tensors
 * that stem from the same one wait for it, and so does `dlb_tensor_mutable_data()` of `source`: a copy cannot be
 * read too early, nor its source be written too early, through a tensor. Other copies, on any stream, are ordered
 * behind this one where their tensors stem from the same ones. Two tensors that were wrapped or imported
 * separately know nothing of each other, even on one buffer: wrap it once and make views, or order them with
 * `dlb_stream_wait_event()`.
 *
 * Memory that is reached otherwise (the pointer that was wrapped, one that was got before; for writing also that of a view
 * or an export, which wait for copies into the memory only) may be written again, where it is the source's, and read,
 * where it is the destination's, once the event is done. A byte that sub-byte elements of the destination fill in part is the
 * copy's as a whole until then, as for `dlb_copy()`. One source may be written sooner: what a CUDA stream uploads from
 * memory that is not pinned has been packed into pinned memory when this returns, in one pass. A process that exits does not
 * wait for what is queued.
 *
 * `out_done` may be NULL; otherwise `*out_done` is owned by the caller: `dlb_event_release()`. Fails with
 * `DLB_ERROR_INVALID_ARGUMENT` (NULL, other shapes or dtypes), `DLB_ERROR_READ_ONLY`, `DLB_ERROR_UNSUPPORTED` (indices
 * of the destination may share an element; source and destination overlap, or lie between each other; sub-byte elements that
 * are not packed row-major; memory that the stream cannot reach), `DLB_ERROR_UNAVAILABLE` (as `dlb_stream_record()`),
 * `DLB_ERROR_DEVICE` (the driver failed), and with the error of an earlier copy into either that failed. Thread-safe.
 */
dlb_status dlb_copy_async(const dlb_tensor *source,
                          dlb_tensor *destination,
                          dlb_stream *stream,
                          dlb_event **out_done);

/**
 * What `dlb_copy_async()`, and all that rests on it, was asked to copy so far in this process: counted when it is
 * queued, whether or not it fails later. There and back again is one copy in each direction, however many pieces
 * the driver was given.
 *
 * Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL `out`, a `struct_size` that is too small). Thread-safe.
 */
dlb_status dlb_transfer_stats(dlb_transfer_counts *out);

/* === Copying: elements moved from one layout to another, now ===================================================== */

/**
 * Row-major: the last dimension packed.
 */
#define DLB_ORDER_C 0

/**
 * Column-major: the first dimension packed.
 */
#define DLB_ORDER_F 1

/**
 * Column-major where the source is, row-major where not.
 */
#define DLB_ORDER_A 2

/**
 * As near to the source as is possible without gaps.
 */
#define DLB_ORDER_K 3

/**
 * How `dlb_copy()` copies. Set `struct_size` to `sizeof(dlb_copy_options)` and the rest to zero, or pass NULL.
 */
typedef struct {
  /**
   * `sizeof(dlb_copy_options)`.
   */
  size_t struct_size;
  /**
   * Not 0 to put the bytes of every element (of a complex one: of each part) in the other order.
   */
  int32_t swap_bytes;
  /**
   * Of a new tensor, for `dlb_tensor_copy()`: one of `DLB_ORDER_C`, `_F`, `_A`, `_K`.
   */
  int32_t order;
} dlb_copy_options;

/**
 * What a copy did, or would do. Set `struct_size` to `sizeof(dlb_copy_report)` before the call.
 */
typedef struct {
  /**
   * `sizeof(dlb_copy_report)`.
   */
  size_t struct_size;
  /**
   * What moves the elements: "contiguous", "transposed", "split channels", "merged channels", "stepped", "repeated",
   * "reversed", "shuffled", "byte-swapped", "packed bits" or "nothing"; later versions may have more. Static.
   */
  const char *kernel;
  /**
   * Bytes that are written to the destination.
   */
  size_t bytes;
  /**
   * Bytes of the temporary that source and destination need where they share memory, else 0.
   */
  size_t temporary;
  /**
   * How often the elements are moved: 2 through a temporary, 0 where there is nothing to do, else 1.
   */
  int32_t passes;
  /**
   * How many threads share the work at most.
   */
  int32_t threads;
} dlb_copy_report;

/**
 * Copies the elements of `source` to where `destination`, of the same shape and dtype, has those of the same indices.
 *
 * Strides may be anything: negative, zero (in the source), permuted, with gaps. Both lie in host memory. Where they share
 * memory the elements go through a temporary, unless they are one packed run: the destination is what it would be if they
 * did not. Waits for asynchronous copies into either, and out of the destination. Bytes between elements are left alone.
 * Where sub-byte elements end within a byte, its other bits stay as well: it is read and written back, so that two threads
 * which write slices that share a byte race, whichever bits of it are theirs.
 * From 512 KiB on (1 MiB where both sides are packed) the threads of `dlb_threads_set()` share the work.
 *
 * `options` is borrowed and may be NULL; `report` is written on success and may be NULL. Meanwhile nobody else may write
 * the source, nor access the destination. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL, other shapes or dtypes, a struct
 * size that is none), `DLB_ERROR_READ_ONLY`, `DLB_ERROR_UNSUPPORTED` (indices of the destination may share an element;
 * sub-byte elements that are not packed row-major; memory that the host cannot reach), `DLB_ERROR_OUT_OF_MEMORY` (for the
 * temporary), and with the error of an earlier copy into either that failed. Nothing is written then. Thread-safe.
 */
dlb_status dlb_copy(const dlb_tensor *source,
                    dlb_tensor *destination,
                    const dlb_copy_options *options,
                    dlb_copy_report *report);

/**
 * Says in `*report` what `dlb_copy()` with these arguments would do, and moves nothing. Fails as `dlb_copy()` does, but
 * for memory. Thread-safe.
 */
dlb_status dlb_copy_plan(const dlb_tensor *source,
                         const dlb_tensor *destination,
                         const dlb_copy_options *options,
                         dlb_copy_report *report);

/**
 * Makes a tensor of its own with the elements of `source`: writable host memory as `dlb_tensor_empty()` gives it, from
 * 1 MiB on from the shared pool, without gaps, in the order that `options` says (row-major where it is NULL).
 *
 * `*out` is owned by the caller: `dlb_tensor_release()`. `report` may be NULL. Fails as `dlb_copy()` and
 * `dlb_tensor_empty()` do. Thread-safe.
 */
dlb_status dlb_tensor_copy(const dlb_tensor *source,
                           const dlb_copy_options *options,
                           dlb_copy_report *report,
                           dlb_tensor **out);

/**
 * How many threads share the work of one large call, the caller's among them: what `dlb_threads_set()` said, else the
 * environment variable `DLB_NUM_THREADS`, else as many as processors that this process may use. Thread-safe.
 */
size_t dlb_threads_get(void);

/**
 * Changes that for the calls from now on, of all threads; at most 1024, 1 for no others, 0 for what the environment or the
 * machine says.
 *
 * The threads are started when first needed, sleep between calls, and block the program's signals. A child of `fork()`
 * starts its own. Thread-safe.
 */
void dlb_threads_set(size_t count);

/**
 * The instructions that copies use: "portable", "avx2" or "avx512", the best that the processor has or what the
 * environment variable `DLB_SIMD` asked for. The bits are the same with all. Static, never NULL. Thread-safe.
 */
const char *dlb_simd_level(void);

/* === Casting: elements as another dtype, and what was lost ======================================================= */

/**
 * NumPy's kinds: bool, unsigned, signed, floating-point, complex, and no way back. Rounds; a value out of range is an error.
 */
#define DLB_CASTING_SAME_KIND 0

/**
 * Any dtypes; a value that would not be the same is an error. A NaN may become another NaN, and -0 becomes 0 where the
 * target has none.
 */
#define DLB_CASTING_SAME_VALUE 1

/**
 * Any dtypes and values, with NumPy's results on x86-64. Integers wrap around. Floating-point numbers without an int32
 * become -2^31, which wraps around, on the way to integers of 8 and 16 bits and int32; without an int64, -2^63. To uint32 and
 * uint64 negative ones wrap around, those too large become 0, NaN and those too small for the signed type its smallest
 * value (NumPy's vectors do that with float32 and float64; NaN and -inf of float16 it makes 0 in uint32). Finite numbers
 * out of range become infinite, and NaN in float8_e4m3fn.
 */
#define DLB_CASTING_UNSAFE 2

/**
 * Any dtypes and values: what is out of range becomes the nearest in range, and NaN becomes the integer 0.
 */
#define DLB_CASTING_SATURATE 3

/**
 * How `dlb_cast()` casts. Set `struct_size` to `sizeof(dlb_cast_options)` and the rest to zero, or pass NULL.
 */
typedef struct {
  /**
   * `sizeof(dlb_cast_options)`.
   */
  size_t struct_size;
  /**
   * One of `DLB_CASTING_*`.
   */
  int32_t casting;
} dlb_cast_options;

/**
 * What a cast changed; written on `DLB_OK` and with `DLB_ERROR_LOSSY`. Set `struct_size` to `sizeof(dlb_loss_report)`
 * before the call.
 *
 * Every changed element is counted once, as the first of these that is true of it: `nan`, `overflow`, `underflow`, `inexact`.
 */
typedef struct {
  /**
   * `sizeof(dlb_loss_report)`.
   */
  size_t struct_size;
  /**
   * How many elements were cast.
   */
  size_t elements;
  /**
   * Rounded, cut off, or without their imaginary part, whatever it was.
   */
  size_t inexact;
  /**
   * Beyond the range of the target: infinite, NaN, wrapped around or clamped.
   */
  size_t overflow;
  /**
   * Not zero, and zero in a floating-point target.
   */
  size_t underflow;
  /**
   * NaN that the target cannot say.
   */
  size_t nan;
  /**
   * The largest distance between a value and what became of it, where both are finite.
   */
  double max_absolute_error;
  /**
   * The largest such distance in units of the value.
   */
  double max_relative_error;
  /**
   * Where the first changed element is in row-major order; -1 where there is none.
   */
  int64_t first;
  /**
   * Its value: the real and the imaginary part, rounded to double.
   */
  double first_value[2];
  /**
   * What became of it.
   */
  double first_result[2];
} dlb_loss_report;

/**
 * Casts the elements of `source` into `destination`, of the same shape and in any layout, as its dtype: bool, int8 to int64,
 * uint8 to uint64, float16 to float64, bfloat16, float8_e4m3fn, float8_e5m2, complex64 and complex128, each to each.
 *
 * Rounds to the nearest, ties to even, and cuts off the fraction on the way to an integer. Anything but 0, NaN included, is
 * true. A real type drops the imaginary part. NaNs keep their sign and as much of their payload as there is room for.
 * Threads help from 512 KiB on (`dlb_threads_set()`); results and reports do not depend on how many, nor on the
 * instructions used. Waits for asynchronous copies into either, and out of the destination.
 *
 * `options` is borrowed and may be NULL: `DLB_CASTING_SAME_KIND`. `report` may be NULL, which is faster where much is
 * rounded; it is written on success and with `DLB_ERROR_LOSSY`. Meanwhile nobody else may write the source, nor access the
 * destination.
 *
 * Fails with `DLB_ERROR_LOSSY` where values do not allow this casting: then every element of `destination` is NaN, the
 * smallest of the signed integers, the largest of the unsigned ones, or true. All other errors leave it as it is:
 * `DLB_ERROR_INVALID_ARGUMENT` (NULL, other shapes, dtypes that this casting does not allow, no casting, a struct size that
 * is none), `DLB_ERROR_READ_ONLY`, `DLB_ERROR_UNSUPPORTED` (other dtypes; indices of the destination may share an
 * element; both share memory; memory that the host cannot reach), and the error of an earlier copy into either that
 * failed. Only after `DLB_ERROR_INTERNAL`, a bug of this library's, it may be half written. Thread-safe.
 */
dlb_status dlb_cast(const dlb_tensor *source,
                    dlb_tensor *destination,
                    const dlb_cast_options *options,
                    dlb_loss_report *report);

/**
 * Makes a row-major tensor of its own with the elements of `source` as another dtype, as `dlb_cast()` does it: writable host
 * memory as `dlb_tensor_empty()` gives it.
 *
 * `*out` is owned by the caller: `dlb_tensor_release()`. Fails as `dlb_cast()` and `dlb_tensor_empty()` do; then there is no
 * tensor. Thread-safe.
 */
dlb_status dlb_tensor_cast(const dlb_tensor *source,
                           DLDataType dtype,
                           const dlb_cast_options *options,
                           dlb_loss_report *report,
                           dlb_tensor **out);

/**
 * The name of a casting, as Python takes it: "same_kind", "same_value", "unsafe", "saturate"; "unknown" for any other number.
 * Static, never NULL. Thread-safe.
 */
const char *dlb_casting_name(int32_t casting);

/* === Comparing: two tensors, in one pass ========================================================================= */

/**
 * How `dlb_equal()` and `dlb_allclose()` compare. Set `struct_size` to `sizeof(dlb_compare_options)` and the rest to
 * zero; every field counts as it is, a tolerance of 0 too.
 */
typedef struct {
  /**
   * `sizeof(dlb_compare_options)`.
   */
  size_t struct_size;
  /**
   * Not 0: NaN equals NaN.
   */
  int32_t equal_nan;
  /**
   * Not 0: `dlb_equal()` asks for the same dtype too.
   */
  int32_t strict;
  /**
   * What `dlb_allclose()` allows in proportion to `b`; NumPy's is 1e-5.
   */
  double rtol;
  /**
   * What it always allows; NumPy's is 1e-8.
   */
  double atol;
} dlb_compare_options;

/**
 * Two elements with the same indices.
 */
typedef struct {
  /**
   * Their place in row-major order, in the shape that both tensors broadcast to; -1 where there are no such elements,
   * and then the rest is 0.
   */
  int64_t place;
  /**
   * `|a - b|` or `|a - b| / |b|`, whichever is the largest here.
   */
  double error;
  /**
   * Real and imaginary part of the element of `a`, as doubles: a 64-bit integer beyond 2^53 is rounded.
   */
  double a[2];
  /**
   * The same of `b`.
   */
  double b[2];
} dlb_difference;

/**
 * What a comparison found. Set `struct_size` to `sizeof(dlb_comparison)` before the call.
 */
typedef struct {
  /**
   * `sizeof(dlb_comparison)`.
   */
  size_t struct_size;
  /**
   * Pairs of elements that were compared: none where the shapes of `dlb_equal()` differ.
   */
  uint64_t compared;
  /**
   * Those that do not count as one.
   */
  uint64_t differing;
  /**
   * The first of those, with its absolute error.
   */
  dlb_difference first;
  /**
   * The largest absolute error of all pairs. NaN does not take part.
   */
  dlb_difference absolute;
  /**
   * The largest relative error of all pairs.
   */
  dlb_difference relative;
} dlb_comparison;

/**
 * Whether both tensors have the same shape and the same values: NumPy's `array_equal`, in one pass without a temporary.
 *
 * They may have any dtypes of whole bytes and one lane, and any strides. Dtypes that differ are compared as NumPy promotes
 * them: integers exactly, a 64-bit integer beside a float as float64. Without a report the first difference ends it. From
 * 512 KiB on several threads share the work.
 *
 * All are borrowed. `options` may be NULL: NaN differs from NaN, and dtypes may differ. `report` may be NULL; otherwise
 * every element is looked at. `*out` becomes 1 or 0. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL `a`, `b` or `out`, a
 * `struct_size` that is too small), `DLB_ERROR_UNSUPPORTED` (memory that the host cannot read, sub-byte elements, several
 * lanes), and with the error of an asynchronous copy into either that failed. Waits for such copies. Thread-safe; nobody may
 * write to the elements meanwhile.
 */
dlb_status dlb_equal(const dlb_tensor *a,
                     const dlb_tensor *b,
                     const dlb_compare_options *options,
                     dlb_comparison *report,
                     int32_t *out);

/**
 * Whether `|a - b| <= atol + rtol * |b|` everywhere: NumPy's `allclose`, in one pass without a temporary.
 *
 * The shapes broadcast as NumPy's do. Each step is rounded as there: to the promoted dtype for the difference, to that of
 * `b` for what is allowed; integers, bfloat16 and float8 are reckoned in float64. Infinities are close to themselves only,
 * NaN to nothing, or with `equal_nan` to NaN.
 *
 * As `dlb_equal()`, but for `options`: NULL stands for rtol 1e-5 and atol 1e-8. Fails besides with
 * `DLB_ERROR_INVALID_ARGUMENT` (shapes that do not broadcast, or to 2^63 pairs and more; a tolerance that is NaN).
 */
dlb_status dlb_allclose(const dlb_tensor *a,
                        const dlb_tensor *b,
                        const dlb_compare_options *options,
                        dlb_comparison *report,
                        int32_t *out);

/* === Stacking: many tensors become one batch ===================================================================== */

/**
 * The axes of the arrays stay as they are.
 */
#define DLB_LAYOUT_SAME 0

/**
 * Height, width, channels become channels, height, width.
 */
#define DLB_LAYOUT_CHW 1

/**
 * Channels, height, width become height, width, channels.
 */
#define DLB_LAYOUT_HWC 2

/**
 * What `dlb_stack()` does on the way. Set `struct_size` to `sizeof(dlb_stack_options)` and the rest to zero first.
 */
typedef struct {
  /**
   * `sizeof(dlb_stack_options)`.
   */
  size_t struct_size;
  /**
   * What a cast may do to values, those before `scale` and `bias` and what comes of them: a constant `DLB_CASTING_*`.
   */
  int32_t casting;
  /**
   * How the axes are turned: a constant `DLB_LAYOUT_*`. A picture of two axes has one channel.
   */
  int32_t layout;
  /**
   * What values are multiplied by: `scale_count` numbers, borrowed.
   */
  const double *scale;
  /**
   * How many numbers `scale` has: 1 for all values, or one for each channel; 0 multiplies by nothing.
   */
  size_t scale_count;
  /**
   * What is added then: `bias_count` numbers, borrowed.
   */
  const double *bias;
  /**
   * How many numbers `bias` has, as of `scale`.
   */
  size_t bias_count;
} dlb_stack_options;

/**
 * Writes `count` tensors of one shape to `destination`, one behind the other along its first axis; cast to its dtype,
 * turned to `layout` and as `x * scale + bias` on the way, in one pass over each.
 *
 * The destination has the shape `{count, ...}` of the turned tensors, any strides, and memory that no tensor shares;
 * `dlb_tensor_empty()` makes it. `x * scale + bias` is reckoned in float64 where the destination is, else in float32, and
 * each step is rounded, so that all processors give the same bits; a step that overflows gives an infinity, and what is
 * finite then is cast as `casting` says. The channels are the last axis, with `DLB_LAYOUT_CHW` the first.
 * From 512 KiB on several threads share the work.
 *
 * All are borrowed; `options` may be NULL. Everything is checked before anything is written, and the message names the
 * tensor that was refused by its index. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL, no tensors, shapes that differ, a
 * destination of another shape, an unknown constant, dtypes that are not cast like this, as many numbers as there are
 * neither channels nor one, scale or bias to a dtype that is no real floating-point number, one that is finite and beyond
 * float32 where that is reckoned in), `DLB_ERROR_UNSUPPORTED` (memory that the host cannot read, dtypes that are never
 * cast, sub-byte elements, memory that is shared, a destination whose indices may share elements), `DLB_ERROR_READ_ONLY`,
 * and with `DLB_ERROR_LOSSY` where a value is refused: then all of the destination is set to one value that nobody takes
 * for a result (NaN, the smallest of the signed integers, the largest of the unsigned ones, true). Waits for asynchronous copies. Thread-safe; nobody else may touch the destination or write
 * to the tensors meanwhile.
 */
dlb_status dlb_stack(const dlb_tensor *const *tensors,
                     size_t count,
                     dlb_tensor *destination,
                     const dlb_stack_options *options);

/* === Staging: batches in flight between producers and consumers ================================================== */

/**
 * Batches come out in the order in which their slots were acquired.
 */
#define DLB_STAGING_IN_ORDER 0

/**
 * Batches come out as they were submitted.
 */
#define DLB_STAGING_FIRST_COME 1

/**
 * A batch, on the ring's device: a few tensors.
 *
 * Opaque. One owner, who ends it with `dlb_batch_release()`; any number of threads may read it meanwhile.
 */
typedef struct dlb_batch dlb_batch;

/**
 * An empty slot of a ring, to be filled by the thread that has it.
 *
 * Opaque. One owner, who ends it with `dlb_slot_submit()` or `dlb_slot_release()`; not thread-safe by itself, but any
 * thread may be the one.
 */
typedef struct dlb_slot dlb_slot;

/**
 * A ring of slots between producers and consumers, so that loading and computing overlap.
 *
 * A producer acquires an empty slot, fills its tensors and submits it; a consumer gets it as a batch. On the CPU the
 * memory that was filled is the batch: nothing is copied. For another device a slot has a pinned buffer and one of the
 * device, and submitting it starts the copy. A batch that is kept is never overwritten: its memory goes back to the ring
 * when the last tensor on it is gone (the batch's own, views, exports), behind what is queued then on the stream that
 * it is used on.
 *
 * Opaque. Reference-counted: `dlb_staging_retain()` adds a reference, `dlb_staging_release()` drops one; slots, batches
 * and their tensors hold what they need of it. Any thread may use it. In a child of `fork()` the rings made before it
 * answer `DLB_ERROR_UNAVAILABLE`.
 */
typedef struct dlb_staging dlb_staging;

/**
 * What a ring is like. Set `struct_size` to `sizeof(dlb_staging_options)` and the rest to zero first.
 *
 * **The rest being zero is not NULL for all of it: `keep` 0 is none, and NULL is 16.** Consumers that keep tensors of
 * batches then soon meet `DLB_ERROR_OUT_OF_MEMORY`: set `keep` to at least as many as they keep.
 */
typedef struct {
  /**
   * `sizeof(dlb_staging_options)`.
   */
  size_t struct_size;
  /**
   * Where the batches are to be; all zero for the host.
   */
  DLDevice device;
  /**
   * How many batches may be on their way, being filled and being used; 0 for 3: one is filled, one on its way to the
   * device, one used. On the host 2 overlap loading with computing. Each has memory for its tensors, pinned and of the
   * device where that is not the host.
   */
  size_t slots;
  /**
   * How many more there may be memory for while consumers keep batches. **0 is none, not a default:** set 16 for what
   * NULL instead of the options gives.
   */
  size_t keep;
  /**
   * `DLB_STAGING_IN_ORDER` or `DLB_STAGING_FIRST_COME`.
   */
  int32_t order;
} dlb_staging_options;

/**
 * What a ring has done. Set `struct_size` before the call.
 */
typedef struct {
  /**
   * `sizeof(dlb_staging_totals)`.
   */
  size_t struct_size;
  /**
   * Batches that were submitted.
   */
  uint64_t submitted;
  /**
   * Batches that were handed out.
   */
  uint64_t handed;
  /**
   * Bytes of those.
   */
  uint64_t bytes;
  /**
   * Sets of buffers that were made, each when first needed: at most as many as slots, and more where batches were kept.
   */
  uint64_t sets;
  /**
   * Nanoseconds that threads waited for a slot, summed over them.
   */
  uint64_t slot_wait_ns;
  /**
   * Nanoseconds that threads waited for a batch, summed over them.
   */
  uint64_t batch_wait_ns;
} dlb_staging_totals;

/**
 * Makes a ring. It has no memory yet: slots get it as they are first used, exactly as much as their batches need.
 *
 * `options` is borrowed; NULL for the host, 3 slots, 16 batches to keep and their order. `*out` is owned by the caller:
 * `dlb_staging_release()`. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL `out`, a `struct_size` that is too small, too many
 * slots, an order or a device that does not exist) and `DLB_ERROR_UNAVAILABLE` (no such device here). Thread-safe.
 */
dlb_status dlb_staging_create(const dlb_staging_options *options,
                              dlb_staging **out);

/**
 * Adds a reference and returns `staging`. NULL gives NULL. Thread-safe.
 */
dlb_staging *dlb_staging_retain(dlb_staging *staging);

/**
 * Drops a reference. With the last one the batches go that nobody asked for, and slots that are out cannot be submitted
 * any more; batches that were handed out stay. NULL is a no-op. Thread-safe.
 */
void dlb_staging_release(dlb_staging *staging);

/**
 * Waits for an empty slot for a batch of `count` tensors, for at most `timeout_ns` nanoseconds: 0 only asks,
 * `DLB_WAIT_FOREVER` has no limit.
 *
 * Of `tensors` only shape, ndim and dtype are read; the slot's are row-major. `names` may be NULL, and so may each of
 * them: a tensor without a name is called by its position, `"0"`. Both are borrowed for the call.
 *
 * `*out` is owned by the caller, who ends it with `dlb_slot_submit()` or `dlb_slot_release()`. Fails with
 * `DLB_ERROR_TIMEOUT`, `DLB_ERROR_CLOSED` (closed or aborted; then the message has the reason), `DLB_ERROR_OUT_OF_MEMORY`
 * (also where all memory that the ring may have is held by batches that this thread has, or others that wait for the ring,
 * or that were released as such while tensors or exports of them live; the message has their numbers),
 * `DLB_ERROR_INVALID_ARGUMENT` (NULL, no tensors, two of one name, a shape or dtype that cannot be) and
 * `DLB_ERROR_UNAVAILABLE` (made before a fork). Thread-safe.
 *
 * A batch that another thread has not released makes this wait. What is kept of a released one does not: up to `keep` of
 * them the ring makes more memory, and then this fails at once, whatever the time limit, since nobody may ever let go of
 * them. Where another thread will, call again.
 */
dlb_status dlb_staging_acquire(dlb_staging *staging,
                               const DLTensor *tensors,
                               const char *const *names,
                               int32_t count,
                               uint64_t timeout_ns,
                               dlb_slot **out);

/**
 * Waits for the next batch, for at most `timeout_ns` nanoseconds: 0 only asks, `DLB_WAIT_FOREVER` has no limit.
 *
 * What is queued on `stream` after this finds the batch complete; only the device waits. On the host `stream` may be
 * NULL. `*out` is owned by the caller: `dlb_batch_release()`. Fails with `DLB_ERROR_TIMEOUT`, `DLB_ERROR_CLOSED` (closed and
 * nothing left, or aborted; then the message has the reason), `DLB_ERROR_OUT_OF_MEMORY` (consumers that wait here hold
 * all batches that the ring may have memory for; the message has their numbers, and nothing is lost),
 * `DLB_ERROR_INVALID_ARGUMENT` (NULL, a stream of another device, or none where one is needed) and
 * `DLB_ERROR_UNAVAILABLE` (made before a fork). Thread-safe.
 */
dlb_status dlb_staging_next(dlb_staging *staging,
                            dlb_stream *stream,
                            uint64_t timeout_ns,
                            dlb_batch **out);

/**
 * Lets consumers have what is submitted and being filled, and nothing after it: then both sides get `DLB_ERROR_CLOSED`.
 * NULL is a no-op. Thread-safe.
 */
void dlb_staging_close(dlb_staging *staging);

/**
 * Ends it for both sides: whoever waits or asks gets `DLB_ERROR_CLOSED`, with `reason` in the message. What nobody has
 * asked for is dropped; batches that were handed out stay what they are. Of several reasons the first counts. NULL for
 * `staging` is a no-op, for `reason` no reason. Thread-safe.
 */
void dlb_staging_abort(dlb_staging *staging,
                       const char *reason);

/**
 * Whether the ring was aborted, rather than closed; false for NULL. Thread-safe.
 */
bool dlb_staging_aborted(const dlb_staging *staging);

/**
 * What the ring has done so far.
 *
 * Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL, a `struct_size` that is too small). Thread-safe.
 */
dlb_status dlb_staging_stats(const dlb_staging *staging, dlb_staging_totals *out);

/**
 * A tensor of the slot, in host memory, by its position: borrowed, valid until the slot is submitted or released. NULL
 * where there is none, or `slot` is NULL.
 *
 * Fill it through `dlb_tensor_mutable_data()`, or with `dlb_copy_async()` and a wait for its event. What was retained or
 * exported of it may live longer, but nobody writes to it any more once the slot is submitted.
 */
dlb_tensor *dlb_slot_tensor(const dlb_slot *slot,
                            size_t index);

/**
 * Copies the elements of `source`, of the same shape and dtype and with any strides, into a tensor of the slot, on this
 * thread.
 *
 * Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL, no such tensor, another shape or dtype) and `DLB_ERROR_UNSUPPORTED` (memory
 * that the host cannot read, sub-byte elements that are not packed row-major). Nobody writes to `source` meanwhile.
 */
dlb_status dlb_slot_fill(dlb_slot *slot,
                         size_t index,
                         const dlb_tensor *source);

/**
 * The number of the batch that the slot becomes, counted from 0 as slots are acquired; 0 for NULL.
 */
uint64_t dlb_slot_number(const dlb_slot *slot);

/**
 * Gives the batch to the consumers; for another device this queues the copy and returns. Consumes `slot`, also on
 * failure.
 *
 * Fails with `DLB_ERROR_CLOSED` (the ring was aborted; the batch is dropped), and with the error of a copy that cannot be
 * queued, which aborts the ring. NULL is `DLB_ERROR_INVALID_ARGUMENT`.
 */
dlb_status dlb_slot_submit(dlb_slot *slot);

/**
 * Gives the slot back without a batch: consumers do not wait for it. Consumes `slot`; NULL is a no-op.
 */
void dlb_slot_release(dlb_slot *slot);

/**
 * How many tensors the batch has; 0 for NULL.
 */
size_t dlb_batch_count(const dlb_batch *batch);

/**
 * The number of the batch, counted from 0 as slots were acquired; slots that were given up leave gaps. 0 for NULL.
 */
uint64_t dlb_batch_number(const dlb_batch *batch);

/**
 * The name of a tensor, by its position: borrowed from the batch. NULL where there is none, or `batch` is NULL.
 */
const char *dlb_batch_name(const dlb_batch *batch,
                           size_t index);

/**
 * A tensor of the batch, by its position: borrowed from the batch. NULL where there is none, or `batch` is NULL.
 *
 * What is retained, viewed or exported of it keeps the memory of the whole batch, also after `dlb_batch_release()`.
 */
dlb_tensor *dlb_batch_tensor(const dlb_batch *batch,
                             size_t index);

/**
 * A tensor of the batch, by its name: borrowed from the batch. NULL where there is none, or an argument is NULL.
 */
dlb_tensor *dlb_batch_find(const dlb_batch *batch,
                           const char *name);

/**
 * Says that the consumer is done with the batch, and that its last use is what is queued on `stream` by now; NULL for
 * the stream of `dlb_staging_next()`, and on the host for none. Consumes `batch`; NULL is a no-op.
 *
 * The memory goes back to the ring once no tensor on it is alive, behind what is queued then on that stream.
 */
void dlb_batch_release(dlb_batch *batch,
                       dlb_stream *stream);

/* === Python: the door to the interpreter of this process ========================================================= */

/**
 * Takes a tensor over from a Python object: anything with `__dlpack__` (NumPy, PyTorch, JAX, ...), or a DLPack
 * capsule, which is consumed. No copy is made.
 *
 * `object` is a `PyObject *`, borrowed; the tensor keeps what it needs of it alive. The function takes the GIL
 * itself, so it may be called with or without it, from any thread, also through ctypes.CDLL and cffi. The
 * interpreter's functions are looked up in the running process: a program without Python may link this library. It
 * serves the main interpreter only, and must not be called from a sub-interpreter.
 * `*out` is owned by the caller: `dlb_tensor_release()`, which may be called without the GIL.
 *
 * Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL; no producer; a capsule that is used, or no DLPack capsule: it is
 * left untouched), `DLB_ERROR_UNAVAILABLE` (no interpreter in this process, or it is shutting down),
 * `DLB_ERROR_PYTHON` (the producer raised: where the caller held the GIL the exception stays set, otherwise it is
 * cleared; the message has its words either way), and as `dlb_tensor_import()`.
 */
dlb_status dlb_python_import(void *object,
                             dlb_tensor **out);

/**
 * Exports a tensor in a Python capsule: `dltensor_versioned`, or `dltensor` where `legacy` is not 0.
 *
 * `tensor` is borrowed. `*out_capsule` is a new reference to a `PyObject *`, owned by the caller. A capsule that is
 * not consumed deletes its export when it is destroyed, in native code, leaving a pending exception alone. The
 * function takes the GIL itself, as `dlb_python_import()` does.
 *
 * Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL), `DLB_ERROR_READ_ONLY` (legacy, and the tensor is read-only),
 * `DLB_ERROR_UNAVAILABLE` (no interpreter), `DLB_ERROR_OUT_OF_MEMORY`, `DLB_ERROR_PYTHON`.
 */
dlb_status dlb_python_capsule(const dlb_tensor *tensor,
                              int legacy,
                              void **out_capsule);

/**
 * Not for applications: makes the module of builtins that the Python package is built on. Others have
 * `dlb_python_import()`.
 *
 * `exceptions` is a borrowed tuple of 17 exception classes: by status code, then those for objects that are no arrays,
 * for indices outside and for arguments of a wrong type; behind them the function that makes a `LossReport`.
 * `*out_module` is a new reference, owned by the caller. Takes the GIL itself. Fails with
 * `DLB_ERROR_INVALID_ARGUMENT` (NULL), `DLB_ERROR_UNAVAILABLE` (no interpreter, or a sub-interpreter),
 * `DLB_ERROR_PYTHON`.
 */
dlb_status dlb_python_module(void *exceptions,
                             void **out_module);

#ifdef __cplusplus
}  /* extern "C" */
#endif

#endif  /* DLBRIDGE_H */
