/* dlbridge.h: the C API of dlbridge, the C library around DLPack.
 *
 * Generated from src/capi by build.rs; `make header` writes it.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A `dlb_tensor` describes a buffer that somebody owns. It comes from `dlb_tensor_wrap()` (your memory),
 * `dlb_tensor_empty()` (memory of its own), `dlb_tensor_import()` (a DLPack struct) or `dlb_python_import()` (any
 * Python array), goes out through `dlb_tensor_export()` or `dlb_python_capsule()`, and the elements are never copied on
 * the way.
 *
 * The rules, which hold for every function unless it says otherwise:
 *
 *  - A function that can fail returns a `dlb_status`; outputs are written only on `DLB_OK`, and
 *    `dlb_error_message()` then says in words what was wrong and what to do.
 *  - A pointer argument is borrowed for the call, unless it is said to be consumed. NULL is checked.
 *  - What comes back through an `out` argument is owned by the caller. Releasing NULL is a no-op.
 *  - Sizes in bytes are `size_t`; shapes, strides and positions are `int64_t` and count elements.
 *  - Every function may be called from any thread. A tensor may be shared between threads.
 *  - No exception and no panic leaves this library; a bug inside it is `DLB_ERROR_INTERNAL`.
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
 * For `dlb_event_wait()`: however long it takes.
 */
#define DLB_WAIT_FOREVER UINT64_MAX

/**
 * Who gives memory and takes it back: the host's allocator, a pool, or functions of the program.
 *
 * Opaque. Reference-counted: `dlb_allocator_retain()` adds a reference, `dlb_allocator_release()` drops one; every
 * tensor on its memory holds one too. Any thread may use it.
 */
typedef struct dlb_allocator dlb_allocator;

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
 * A shared description of a buffer: address, shape, strides, dtype, device, and who owns the memory.
 *
 * Opaque. Reference-counted: `dlb_tensor_retain()` adds a reference, `dlb_tensor_release()` drops one, and with the
 * last the owner is let go. The description never changes, so any thread may use a tensor while it holds a
 * reference; the elements are plain shared memory and need whatever synchronisation the program gives them.
 */
typedef struct dlb_tensor dlb_tensor;

/**
 * What a fallible function returns: `DLB_OK` or one of the errors below. Outputs are written only on `DLB_OK`.
 */
typedef int32_t dlb_status;

/**
 * Lets go of a buffer: called exactly once, when its last user is gone, from whichever thread that is and with no
 * lock held. It must not throw. It may call dlbridge.
 */
typedef void (*dlb_release_fn)(void *context);

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
   * Not 0 for page-locked memory, which this version has no driver for: `DLB_ERROR_UNAVAILABLE`.
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
 * What a pool has and did. Set `struct_size` to `sizeof(dlb_pool_stats)` before the call. All but the last two are
 * bytes.
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
} dlb_pool_stats;

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
 * A value would change, and that was not allowed. No function of this version returns it.
 */
#define DLB_ERROR_LOSSY 6

/**
 * An allocation failed.
 */
#define DLB_ERROR_OUT_OF_MEMORY 7

/**
 * A device driver failed; the message has the driver's name for it. No function of this version returns it.
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
 * The other side has shut down. No function of this version returns it.
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

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

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
 * a read-only tensor and with `DLB_ERROR_UNSUPPORTED` where strides may let several indices share one element. Slices, permutations and reshapes
 * of memory without such strides never do; interleavings that no nesting order explains are refused to be safe.
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

/**
 * Makes a row-major tensor on memory of its own: writable, its values anything, sub-byte elements packed.
 *
 * Host memory by default, at a multiple of 256 bytes: from 1 MiB on from a pool that all share, below from the C
 * library's allocator. From 2 MiB on it lies on huge pages as far as it fills them. It goes back to its allocator when
 * the last tensor and the last export on it are gone. A tensor without elements has no memory: its `data` is NULL.
 *
 * `options` is borrowed. `*out` is owned by the caller: `dlb_tensor_release()`. Fails with
 * `DLB_ERROR_INVALID_ARGUMENT` (NULL, a negative size, a shape that does not fit 63 bits of bytes, a dtype that cannot
 * exist, an alignment that is no power of two, a device that is not the allocator's, an allocator that ignores the
 * alignment), `DLB_ERROR_OUT_OF_MEMORY`, `DLB_ERROR_UNAVAILABLE` (a device other than the host without an allocator
 * for it; pinned memory). Thread-safe.
 */
dlb_status dlb_tensor_empty(const dlb_tensor_options *options,
                            dlb_tensor **out);

/**
 * The host's allocator, which caches nothing: the C library's below 2 MiB, from there on mappings with huge pages.
 *
 * `*out` is owned by the caller: `dlb_allocator_release()`. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL).
 */
dlb_status dlb_allocator_host(dlb_allocator **out);

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
 * Adds a reference and returns `allocator`. NULL gives NULL. Thread-safe.
 */
dlb_allocator *dlb_allocator_retain(dlb_allocator *allocator);

/**
 * Drops a reference. With the last one, and the last tensor on its memory, the allocator is gone. NULL is a no-op.
 * Thread-safe.
 */
void dlb_allocator_release(dlb_allocator *allocator);

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
 * Adds a reference and returns `event`. NULL gives NULL. Thread-safe.
 */
dlb_event *dlb_event_retain(dlb_event *event);

/**
 * Drops a reference. What the event stands for goes on all the same. NULL is a no-op. Thread-safe.
 */
void dlb_event_release(dlb_event *event);

/**
 * Whether the event is done, or never will be (in a child of `fork()`): whether `dlb_event_wait()` would answer at once.
 * Never blocks. NULL gives true. Thread-safe.
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
 * Makes a stream of one that somebody else made on the device, through its native handle, which is borrowed and must
 * outlive `*out`.
 *
 * No device of this version has native streams: for the CPU this is `DLB_ERROR_UNSUPPORTED`, for others
 * `DLB_ERROR_UNAVAILABLE`. `*out` is owned by the caller.
 */
dlb_status dlb_stream_from_native(DLDevice device,
                                  void *handle,
                                  dlb_stream **out);

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
 * `*out` is owned by the caller: `dlb_event_release()`. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL) and
 * `DLB_ERROR_UNAVAILABLE` (a stream from before a fork; its thread could not be started). Thread-safe.
 */
dlb_status dlb_stream_record(dlb_stream *stream, dlb_event **out);

/**
 * Has everything queued on `stream` from now on wait until `event`, of any stream, is done. The caller does not wait.
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
 * With a time limit there is `dlb_stream_record()` with `dlb_event_wait()`. Thread-safe.
 */
dlb_status dlb_stream_synchronize(dlb_stream *stream);

/**
 * Queues a copy of the elements of `source` to `destination` and returns. Both have the same shape and dtype and lie in
 * host memory; any strides will do.
 *
 * Everything is checked before anything is queued. Both tensors are retained until the copy is done. Until then
 * `dlb_tensor_data()`, `dlb_tensor_view()` and the exports of `destination`, of its views and of whatever shares its
 * memory wait for it, and so does `dlb_tensor_mutable_data()` of `source`: a copy cannot be read too early, nor its
 * source be written too early, through a tensor. Other copies, on any stream, are ordered behind this one where they
 * touch the same buffer.
 *
 * Memory that is reached otherwise (the pointer that was wrapped, one that was got before; for writing also that of a view
 * or an export, which wait for copies into the memory only) may be written again, where it is the source's, and read,
 * where it is the destination's, once the event is done. A process that exits does not wait for what is queued.
 *
 * `out_done` may be NULL; otherwise `*out_done` is owned by the caller: `dlb_event_release()`. Fails with
 * `DLB_ERROR_INVALID_ARGUMENT` (NULL, other shapes or dtypes), `DLB_ERROR_READ_ONLY`, `DLB_ERROR_UNSUPPORTED` (indices
 * of the destination share an element; source and destination share memory; sub-byte elements that are not packed
 * row-major; memory that the host cannot reach), `DLB_ERROR_UNAVAILABLE` (as `dlb_stream_record()`), and with the error
 * of an earlier copy into either that failed. Thread-safe.
 */
dlb_status dlb_copy_async(const dlb_tensor *source,
                          dlb_tensor *destination,
                          dlb_stream *stream,
                          dlb_event **out_done);

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
 * for indices outside and for arguments of a wrong type. `*out_module` is a new reference, owned by the caller. Takes
 * the GIL itself. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL), `DLB_ERROR_UNAVAILABLE` (no interpreter, or a
 * sub-interpreter), `DLB_ERROR_PYTHON`.
 */
dlb_status dlb_python_module(void *exceptions,
                             void **out_module);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* DLBRIDGE_H */
