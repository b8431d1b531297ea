/* The ABI of dlbridge: if this compiles, what was promised still holds. `make abi` writes it, test_abi.py compares
 * it with the headers and with the library.
 *
 * soname: libdlbridge.so.0.1
 */
#define DLB_NO_SYSTEM_DLPACK
#include <dlbridge.h>

#define SAME(type, other) __builtin_types_compatible_p(type, other)
#define TYPE(name, type) _Static_assert(SAME(name, type), #name " is another type")
#define OPAQUE(name, type) _Static_assert(SAME(name *, type *), #name " is another type")
#define CONSTANT(name, value) \
    _Static_assert((name) == (value) && SAME(__typeof__(name), __typeof__(value)), \
                   #name " has another value or type")
#define VERSION(name, type) _Static_assert(SAME(__typeof__((name) + 0), type), #name " has another type")
#define SIZE(name, size, alignment) \
    _Static_assert(sizeof(name) == size && _Alignof(name) == alignment, #name " has another size or alignment")
#define GROWABLE(name, size, alignment) \
    _Static_assert(sizeof(name) >= size && _Alignof(name) == alignment, #name " has shrunk or another alignment")
#define FIELD(name, field, type, offset) \
    _Static_assert(SAME(__typeof__(((name *)0)->field), type) && offsetof(name, field) == offset, \
                   #field " of " #name " has another type or place")
#define FUNCTION(result, name, arguments) \
    _Static_assert(SAME(__typeof__(name), result arguments), #name " has another type")

CONSTANT(DLB_ERROR_CLOSED, 11);
CONSTANT(DLB_ERROR_COPY_REQUIRED, 5);
CONSTANT(DLB_ERROR_DEVICE, 8);
CONSTANT(DLB_ERROR_INTERNAL, 13);
CONSTANT(DLB_ERROR_INVALID_ARGUMENT, 1);
CONSTANT(DLB_ERROR_INVALID_TENSOR, 2);
CONSTANT(DLB_ERROR_LOSSY, 6);
CONSTANT(DLB_ERROR_OUT_OF_MEMORY, 7);
CONSTANT(DLB_ERROR_PYTHON, 12);
CONSTANT(DLB_ERROR_READ_ONLY, 4);
CONSTANT(DLB_ERROR_TIMEOUT, 10);
CONSTANT(DLB_ERROR_UNAVAILABLE, 9);
CONSTANT(DLB_ERROR_UNSUPPORTED, 3);
CONSTANT(DLB_MAX_NDIM, 128);
CONSTANT(DLB_OK, 0);
CONSTANT(DLB_SLICE_END, INT64_MIN);
VERSION(DLB_VERSION, char *);
VERSION(DLB_VERSION_MAJOR, int);
VERSION(DLB_VERSION_MINOR, int);
VERSION(DLB_VERSION_PATCH, int);
CONSTANT(DLB_WAIT_FOREVER, UINT64_MAX);
CONSTANT(DLPACK_FLAG_BITMASK_IS_COPIED, (1UL << 1UL));
CONSTANT(DLPACK_FLAG_BITMASK_IS_SUBBYTE_TYPE_PADDED, (1UL << 2UL));
CONSTANT(DLPACK_FLAG_BITMASK_READ_ONLY, (1UL << 0UL));
CONSTANT(DLPACK_MAJOR_VERSION, 1);
VERSION(DLPACK_MINOR_VERSION, int);
SIZE(DLDeviceType, 4, 4);
CONSTANT(kDLCPU, 1);
CONSTANT(kDLCUDA, 2);
CONSTANT(kDLCUDAHost, 3);
CONSTANT(kDLOpenCL, 4);
CONSTANT(kDLVulkan, 7);
CONSTANT(kDLMetal, 8);
CONSTANT(kDLVPI, 9);
CONSTANT(kDLROCM, 10);
CONSTANT(kDLROCMHost, 11);
CONSTANT(kDLExtDev, 12);
CONSTANT(kDLCUDAManaged, 13);
CONSTANT(kDLOneAPI, 14);
CONSTANT(kDLWebGPU, 15);
CONSTANT(kDLHexagon, 16);
CONSTANT(kDLMAIA, 17);
CONSTANT(kDLTrn, 18);
SIZE(DLDevice, 8, 4);
FIELD(DLDevice, device_type, DLDeviceType, 0);
FIELD(DLDevice, device_id, int32_t, 4);
SIZE(DLDataTypeCode, 4, 4);
CONSTANT(kDLInt, 0);
CONSTANT(kDLUInt, 1);
CONSTANT(kDLFloat, 2);
CONSTANT(kDLOpaqueHandle, 3);
CONSTANT(kDLBfloat, 4);
CONSTANT(kDLComplex, 5);
CONSTANT(kDLBool, 6);
CONSTANT(kDLFloat8_e3m4, 7);
CONSTANT(kDLFloat8_e4m3, 8);
CONSTANT(kDLFloat8_e4m3b11fnuz, 9);
CONSTANT(kDLFloat8_e4m3fn, 10);
CONSTANT(kDLFloat8_e4m3fnuz, 11);
CONSTANT(kDLFloat8_e5m2, 12);
CONSTANT(kDLFloat8_e5m2fnuz, 13);
CONSTANT(kDLFloat8_e8m0fnu, 14);
CONSTANT(kDLFloat6_e2m3fn, 15);
CONSTANT(kDLFloat6_e3m2fn, 16);
CONSTANT(kDLFloat4_e2m1fn, 17);
SIZE(DLDataType, 4, 2);
FIELD(DLDataType, code, uint8_t, 0);
FIELD(DLDataType, bits, uint8_t, 1);
FIELD(DLDataType, lanes, uint16_t, 2);
SIZE(DLTensor, 48, 8);
FIELD(DLTensor, data, void *, 0);
FIELD(DLTensor, device, DLDevice, 8);
FIELD(DLTensor, ndim, int32_t, 16);
FIELD(DLTensor, dtype, DLDataType, 20);
FIELD(DLTensor, shape, int64_t *, 24);
FIELD(DLTensor, strides, int64_t *, 32);
FIELD(DLTensor, byte_offset, uint64_t, 40);
SIZE(DLManagedTensor, 64, 8);
FIELD(DLManagedTensor, dl_tensor, DLTensor, 0);
FIELD(DLManagedTensor, manager_ctx, void *, 48);
FIELD(DLManagedTensor, deleter, void (*)(struct DLManagedTensor *), 56);
SIZE(DLPackVersion, 8, 4);
FIELD(DLPackVersion, major, uint32_t, 0);
FIELD(DLPackVersion, minor, uint32_t, 4);
SIZE(DLManagedTensorVersioned, 80, 8);
FIELD(DLManagedTensorVersioned, version, DLPackVersion, 0);
FIELD(DLManagedTensorVersioned, manager_ctx, void *, 8);
FIELD(DLManagedTensorVersioned, deleter, void (*)(struct DLManagedTensorVersioned *), 16);
FIELD(DLManagedTensorVersioned, flags, uint64_t, 24);
FIELD(DLManagedTensorVersioned, dl_tensor, DLTensor, 32);
TYPE(DLPackManagedTensorAllocator, int (*)(DLTensor *, DLManagedTensorVersioned **, void *, void (*)(void *, const char *, const char *)));
TYPE(DLPackManagedTensorFromPyObjectNoSync, int (*)(void *, DLManagedTensorVersioned **));
TYPE(DLPackDLTensorFromPyObjectNoSync, int (*)(void *, DLTensor *));
TYPE(DLPackCurrentWorkStream, int (*)(DLDeviceType, int32_t, void **));
TYPE(DLPackManagedTensorToPyObjectNoSync, int (*)(DLManagedTensorVersioned *, void **));
SIZE(DLPackExchangeAPIHeader, 16, 8);
FIELD(DLPackExchangeAPIHeader, version, DLPackVersion, 0);
FIELD(DLPackExchangeAPIHeader, prev_api, struct DLPackExchangeAPIHeader *, 8);
SIZE(DLPackExchangeAPI, 56, 8);
FIELD(DLPackExchangeAPI, header, DLPackExchangeAPIHeader, 0);
FIELD(DLPackExchangeAPI, managed_tensor_allocator, DLPackManagedTensorAllocator, 16);
FIELD(DLPackExchangeAPI, managed_tensor_from_py_object_no_sync, DLPackManagedTensorFromPyObjectNoSync, 24);
FIELD(DLPackExchangeAPI, managed_tensor_to_py_object_no_sync, DLPackManagedTensorToPyObjectNoSync, 32);
FIELD(DLPackExchangeAPI, dltensor_from_py_object_no_sync, DLPackDLTensorFromPyObjectNoSync, 40);
FIELD(DLPackExchangeAPI, current_work_stream, DLPackCurrentWorkStream, 48);
OPAQUE(dlb_allocator, struct dlb_allocator);
OPAQUE(dlb_event, struct dlb_event);
OPAQUE(dlb_stream, struct dlb_stream);
OPAQUE(dlb_tensor, struct dlb_tensor);
TYPE(dlb_status, int32_t);
TYPE(dlb_release_fn, void (*)(void *));
GROWABLE(dlb_tensor_options, 56, 8);
FIELD(dlb_tensor_options, struct_size, size_t, 0);
FIELD(dlb_tensor_options, shape, const int64_t *, 8);
FIELD(dlb_tensor_options, ndim, int32_t, 16);
FIELD(dlb_tensor_options, dtype, DLDataType, 20);
FIELD(dlb_tensor_options, device, DLDevice, 24);
FIELD(dlb_tensor_options, pinned, int32_t, 32);
FIELD(dlb_tensor_options, alignment, size_t, 40);
FIELD(dlb_tensor_options, allocator, const dlb_allocator *, 48);
GROWABLE(dlb_allocator_functions, 48, 8);
FIELD(dlb_allocator_functions, struct_size, size_t, 0);
FIELD(dlb_allocator_functions, context, void *, 8);
FIELD(dlb_allocator_functions, allocate, void *(*)(void *, size_t, size_t), 16);
FIELD(dlb_allocator_functions, deallocate, void (*)(void *, void *, size_t, size_t), 24);
FIELD(dlb_allocator_functions, release, dlb_release_fn, 32);
FIELD(dlb_allocator_functions, device, DLDevice, 40);
GROWABLE(dlb_pool_options, 24, 8);
FIELD(dlb_pool_options, struct_size, size_t, 0);
FIELD(dlb_pool_options, limit, size_t, 8);
FIELD(dlb_pool_options, cached, size_t, 16);
GROWABLE(dlb_pool_stats, 64, 8);
FIELD(dlb_pool_stats, struct_size, size_t, 0);
FIELD(dlb_pool_stats, asked, size_t, 8);
FIELD(dlb_pool_stats, held, size_t, 16);
FIELD(dlb_pool_stats, cached, size_t, 24);
FIELD(dlb_pool_stats, peak_asked, size_t, 32);
FIELD(dlb_pool_stats, peak_held, size_t, 40);
FIELD(dlb_pool_stats, allocations, uint64_t, 48);
FIELD(dlb_pool_stats, hits, uint64_t, 56);
FUNCTION(const char *, dlb_version, (void));
FUNCTION(const char *, dlb_error_message, (void));
FUNCTION(const char *, dlb_status_name, (dlb_status));
FUNCTION(size_t, dlb_dtype_name, (DLDataType, char *, size_t));
FUNCTION(dlb_status, dlb_dtype_parse, (const char *, DLDataType *));
FUNCTION(size_t, dlb_device_name, (DLDevice, char *, size_t));
FUNCTION(size_t, dlb_device_list, (DLDevice *, size_t));
FUNCTION(dlb_status, dlb_device_check, (DLDevice));
FUNCTION(dlb_status, dlb_tensor_wrap, (const DLTensor *, uint64_t, dlb_release_fn, void *, dlb_tensor **));
FUNCTION(dlb_status, dlb_tensor_import, (DLManagedTensorVersioned *, dlb_tensor **));
FUNCTION(dlb_status, dlb_tensor_import_legacy, (DLManagedTensor *, dlb_tensor **));
FUNCTION(dlb_status, dlb_tensor_export, (const dlb_tensor *, DLManagedTensorVersioned **));
FUNCTION(dlb_status, dlb_tensor_export_legacy, (const dlb_tensor *, DLManagedTensor **));
FUNCTION(dlb_tensor *, dlb_tensor_retain, (dlb_tensor *));
FUNCTION(void, dlb_tensor_release, (dlb_tensor *));
FUNCTION(const DLTensor *, dlb_tensor_view, (const dlb_tensor *));
FUNCTION(uint64_t, dlb_tensor_flags, (const dlb_tensor *));
FUNCTION(size_t, dlb_tensor_size, (const dlb_tensor *));
FUNCTION(size_t, dlb_tensor_nbytes, (const dlb_tensor *));
FUNCTION(bool, dlb_tensor_is_contiguous, (const dlb_tensor *, char));
FUNCTION(size_t, dlb_tensor_alignment, (const dlb_tensor *));
FUNCTION(dlb_status, dlb_tensor_data, (const dlb_tensor *, DLDataType, const void **));
FUNCTION(dlb_status, dlb_tensor_mutable_data, (const dlb_tensor *, DLDataType, void **));
FUNCTION(size_t, dlb_live_tensors, (void));
FUNCTION(size_t, dlb_live_exports, (void));
FUNCTION(dlb_status, dlb_tensor_slice, (const dlb_tensor *, int32_t, int64_t, int64_t, int64_t, dlb_tensor **));
FUNCTION(dlb_status, dlb_tensor_select, (const dlb_tensor *, int32_t, int64_t, dlb_tensor **));
FUNCTION(dlb_status, dlb_tensor_permute, (const dlb_tensor *, const int64_t *, int32_t, dlb_tensor **));
FUNCTION(dlb_status, dlb_tensor_expand, (const dlb_tensor *, const int64_t *, int32_t, dlb_tensor **));
FUNCTION(dlb_status, dlb_tensor_squeeze, (const dlb_tensor *, int32_t, dlb_tensor **));
FUNCTION(dlb_status, dlb_tensor_unsqueeze, (const dlb_tensor *, int32_t, dlb_tensor **));
FUNCTION(dlb_status, dlb_tensor_reshape, (const dlb_tensor *, const int64_t *, int32_t, dlb_tensor **));
FUNCTION(dlb_status, dlb_tensor_reinterpret, (const dlb_tensor *, DLDataType, dlb_tensor **));
FUNCTION(dlb_status, dlb_tensor_read_only, (const dlb_tensor *, dlb_tensor **));
FUNCTION(dlb_status, dlb_tensor_empty, (const dlb_tensor_options *, dlb_tensor **));
FUNCTION(dlb_status, dlb_allocator_host, (dlb_allocator **));
FUNCTION(dlb_status, dlb_allocator_create, (const dlb_allocator_functions *, dlb_allocator **));
FUNCTION(dlb_status, dlb_allocator_pool, (dlb_allocator *, const dlb_pool_options *, dlb_allocator **));
FUNCTION(dlb_allocator *, dlb_allocator_retain, (dlb_allocator *));
FUNCTION(void, dlb_allocator_release, (dlb_allocator *));
FUNCTION(size_t, dlb_allocator_trim, (dlb_allocator *, size_t));
FUNCTION(dlb_status, dlb_allocator_limit, (dlb_allocator *, size_t));
FUNCTION(dlb_status, dlb_allocator_stats, (const dlb_allocator *, dlb_pool_stats *));
FUNCTION(dlb_event *, dlb_event_retain, (dlb_event *));
FUNCTION(void, dlb_event_release, (dlb_event *));
FUNCTION(bool, dlb_event_done, (const dlb_event *));
FUNCTION(dlb_status, dlb_event_wait, (const dlb_event *, uint64_t));
FUNCTION(dlb_status, dlb_stream_create, (DLDevice, dlb_stream **));
FUNCTION(dlb_status, dlb_stream_from_native, (DLDevice, void *, dlb_stream **));
FUNCTION(dlb_stream *, dlb_stream_retain, (dlb_stream *));
FUNCTION(void, dlb_stream_release, (dlb_stream *));
FUNCTION(dlb_status, dlb_stream_record, (dlb_stream *, dlb_event **));
FUNCTION(dlb_status, dlb_stream_wait_event, (dlb_stream *, const dlb_event *));
FUNCTION(dlb_status, dlb_stream_synchronize, (dlb_stream *));
FUNCTION(dlb_status, dlb_copy_async, (const dlb_tensor *, dlb_tensor *, dlb_stream *, dlb_event **));
FUNCTION(dlb_status, dlb_python_import, (void *, dlb_tensor **));
FUNCTION(dlb_status, dlb_python_capsule, (const dlb_tensor *, int, void **));
FUNCTION(dlb_status, dlb_python_module, (void *, void **));
