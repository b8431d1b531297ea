/* dlbridge/dlpack_abi.h: the DLPack types that dlbridge.h needs.
 *
 * Where <dlpack/dlpack.h> is found, or a copy of it was included before (libtorch's <ATen/dlpack.h> is one), that one
 * is used. Otherwise the DLPack 1.3 ABI is declared here, under DLPack's own include guard, so that including the
 * original afterwards changes nothing. What an older header lacks is added: before DLPack 1.0 the versioned struct,
 * before 1.3 the newer names of devices and dtypes.
 * Define DLB_NO_SYSTEM_DLPACK to ignore an installed <dlpack/dlpack.h>.
 *
 * Facts: the DLPack specification, https://dmlc.github.io/dlpack/latest/c_api.html
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef DLBRIDGE_DLPACK_ABI_H
#define DLBRIDGE_DLPACK_ABI_H

#include <stddef.h>
#include <stdint.h>

#if !defined(DLPACK_DLPACK_H_) && !defined(DLB_NO_SYSTEM_DLPACK) && defined(__has_include)
#if __has_include(<dlpack/dlpack.h>)
#include <dlpack/dlpack.h>
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

#ifndef DLPACK_DLPACK_H_
#define DLPACK_DLPACK_H_
#define DLB_DECLARES_DLPACK

#define DLPACK_MAJOR_VERSION 1
#define DLPACK_MINOR_VERSION 3

/* Where memory is. The host can read kDLCPU, kDLCUDAHost, kDLROCMHost and kDLCUDAManaged. */
#ifdef __cplusplus
typedef enum : int32_t {
#else
typedef enum {
#endif
  kDLCPU = 1,
  kDLCUDA = 2,
  kDLCUDAHost = 3,
  kDLOpenCL = 4,
  kDLVulkan = 7,
  kDLMetal = 8,
  kDLVPI = 9,
  kDLROCM = 10,
  kDLROCMHost = 11,
  kDLExtDev = 12,
  kDLCUDAManaged = 13,
  kDLOneAPI = 14,
  kDLWebGPU = 15,
  kDLHexagon = 16,
  kDLMAIA = 17,
  kDLTrn = 18
} DLDeviceType;

/* A device: its kind, and which one of that kind (0 for host and managed memory). */
typedef struct {
  DLDeviceType device_type;
  int32_t device_id;
} DLDevice;

/* What an element is. */
typedef enum {
  kDLInt = 0U,
  kDLUInt = 1U,
  kDLFloat = 2U,
  kDLOpaqueHandle = 3U,
  kDLBfloat = 4U,
  kDLComplex = 5U,
  kDLBool = 6U,
  kDLFloat8_e3m4 = 7U,
  kDLFloat8_e4m3 = 8U,
  kDLFloat8_e4m3b11fnuz = 9U,
  kDLFloat8_e4m3fn = 10U,
  kDLFloat8_e4m3fnuz = 11U,
  kDLFloat8_e5m2 = 12U,
  kDLFloat8_e5m2fnuz = 13U,
  kDLFloat8_e8m0fnu = 14U,
  kDLFloat6_e2m3fn = 15U,
  kDLFloat6_e3m2fn = 16U,
  kDLFloat4_e2m1fn = 17U
} DLDataTypeCode;

/* An element type: a DLDataTypeCode, the bits of one lane, and how many lanes an element has. */
typedef struct {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
} DLDataType;

/* A description of memory, which it does not own. The first element is `byte_offset` bytes behind `data`. */
typedef struct {
  void *data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t *shape;   /* `ndim` sizes */
  int64_t *strides; /* `ndim` steps in elements; NULL, before DLPack 1.2, for row-major */
  uint64_t byte_offset;
} DLTensor;

/* A description with an owner, as it was before DLPack 1.0. */
typedef struct DLManagedTensor {
  DLTensor dl_tensor;
  void *manager_ctx;
  void (*deleter)(struct DLManagedTensor *self);
} DLManagedTensor;

#endif /* DLPACK_DLPACK_H_ */

#if !defined(DLPACK_MAJOR_VERSION) || defined(DLB_DECLARES_DLPACK)

#define DLPACK_FLAG_BITMASK_READ_ONLY (1UL << 0UL)
#define DLPACK_FLAG_BITMASK_IS_COPIED (1UL << 1UL)

/* The version of the producer: equal major versions can read each other. */
typedef struct {
  uint32_t major;
  uint32_t minor;
} DLPackVersion;

/* A description with an owner, a version and flags. Everything up to `flags` keeps its place in every version, so
 * that a consumer that cannot read the rest can still call the deleter. */
typedef struct DLManagedTensorVersioned {
  DLPackVersion version;
  void *manager_ctx;
  void (*deleter)(struct DLManagedTensorVersioned *self);
  uint64_t flags;
  DLTensor dl_tensor;
} DLManagedTensorVersioned;

#endif

/* Names that an older dlpack.h lacks, with the values that DLPack 1.3 gives them. */
#ifndef DLB_DECLARES_DLPACK
#if !defined(DLPACK_MAJOR_VERSION)
#define kDLOneAPI ((DLDeviceType)14)
#define kDLWebGPU ((DLDeviceType)15)
#define kDLHexagon ((DLDeviceType)16)
#define kDLBool 6U
#endif
#if !defined(DLPACK_MAJOR_VERSION) || (DLPACK_MAJOR_VERSION == 1 && DLPACK_MINOR_VERSION < 1)
#define kDLMAIA ((DLDeviceType)17)
#define kDLFloat8_e3m4 7U
#define kDLFloat8_e4m3 8U
#define kDLFloat8_e4m3b11fnuz 9U
#define kDLFloat8_e4m3fn 10U
#define kDLFloat8_e4m3fnuz 11U
#define kDLFloat8_e5m2 12U
#define kDLFloat8_e5m2fnuz 13U
#define kDLFloat8_e8m0fnu 14U
#define kDLFloat6_e2m3fn 15U
#define kDLFloat6_e3m2fn 16U
#define kDLFloat4_e2m1fn 17U
#endif
#if !defined(DLPACK_MAJOR_VERSION) || (DLPACK_MAJOR_VERSION == 1 && DLPACK_MINOR_VERSION < 2)
#define kDLTrn ((DLDeviceType)18)
#endif
#endif

#ifndef DLPACK_FLAG_BITMASK_IS_SUBBYTE_TYPE_PADDED
#define DLPACK_FLAG_BITMASK_IS_SUBBYTE_TYPE_PADDED (1UL << 2UL)
#endif

#ifdef DLB_DECLARES_DLPACK

/* The functions of the exchange table. Each returns 0, or -1 with a Python exception set (the allocator calls
 * `set_error` instead); none of them synchronises with a stream. Python objects travel as void pointers. */
typedef int (*DLPackManagedTensorAllocator)(DLTensor *prototype, DLManagedTensorVersioned **out, void *error_ctx,
                                            void (*set_error)(void *error_ctx, const char *kind,
                                                              const char *message));
typedef int (*DLPackManagedTensorFromPyObjectNoSync)(void *py_object, DLManagedTensorVersioned **out);
typedef int (*DLPackDLTensorFromPyObjectNoSync)(void *py_object, DLTensor *out);
typedef int (*DLPackCurrentWorkStream)(DLDeviceType device_type, int32_t device_id, void **out_current_stream);
typedef int (*DLPackManagedTensorToPyObjectNoSync)(DLManagedTensorVersioned *tensor, void **out_py_object);

/* The part of the table that every version keeps. */
typedef struct DLPackExchangeAPIHeader {
  DLPackVersion version;
  struct DLPackExchangeAPIHeader *prev_api;
} DLPackExchangeAPIHeader;

/* What a Python array type offers to C code, in the capsule `__dlpack_c_exchange_api__` of the type. */
typedef struct DLPackExchangeAPI {
  DLPackExchangeAPIHeader header;
  DLPackManagedTensorAllocator managed_tensor_allocator;
  DLPackManagedTensorFromPyObjectNoSync managed_tensor_from_py_object_no_sync;
  DLPackManagedTensorToPyObjectNoSync managed_tensor_to_py_object_no_sync;
  DLPackDLTensorFromPyObjectNoSync dltensor_from_py_object_no_sync;
  DLPackCurrentWorkStream current_work_stream;
} DLPackExchangeAPI;

#endif /* DLB_DECLARES_DLPACK */

#ifdef __cplusplus
}
#endif

#endif /* DLBRIDGE_DLPACK_ABI_H */
