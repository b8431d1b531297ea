/* dlbridge/torch.hpp: one buffer as a dlbridge::tensor and as an at::Tensor. Header-only, C++17; link to libdlbridge
 * and libtorch.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 *   at::Tensor theirs = dlbridge::to_torch(mine);        // the same memory: what one writes the other reads
 *   dlbridge::tensor again = dlbridge::from_torch(theirs);
 *
 * No element is copied, and each side keeps the memory alive for as long as it uses it. What cannot be shared is
 * refused with a `dlbridge::error` that names the value and the call that mends it, before torch sees it: torch would
 * abort the process, or show other values. Nothing leaks and nothing is freed twice where torch itself throws
 * (`c10::Error`). Any thread may call these.
 *
 * They go past at::toDLPack() and at::fromDLPack(), whose names and structs differ between versions of libtorch, and
 * after whose failures nobody knows whether the deleter has run.
 */
#ifndef DLBRIDGE_TORCH_HPP
#define DLBRIDGE_TORCH_HPP

#include <ATen/ATen.h>
#include <ATen/DLConvertor.h>
#include <ATen/EmptyTensor.h>

#include "dlbridge.hpp"

namespace dlbridge {

/** What to_torch() does with a read-only tensor. Torch has no read-only tensors. */
enum class read_only {
  refuse, /**< throws DLB_ERROR_READ_ONLY */
  alias,  /**< shares the memory all the same; the program must not let torch write to it */
};

namespace detail {

/* The DLPack device that torch calls "cuda". */
#ifdef USE_ROCM
constexpr DLDeviceType torch_cuda = kDLROCM;
#else
constexpr DLDeviceType torch_cuda = kDLCUDA;
#endif

[[noreturn]] inline void refuse(const std::string &words) { throw error(DLB_ERROR_UNSUPPORTED, words); }

/** Where torch is to find the memory: what is page-locked or managed is to it plain memory of the host. */
inline at::Device torch_device(DLDevice device) {
  const DLDeviceType type = device.device_type;
  if (type == kDLCPU || type == kDLCUDAHost || type == kDLROCMHost || type == kDLCUDAManaged) return at::Device(at::kCPU);
  const bool fits = device.device_id <= (std::numeric_limits<at::DeviceIndex>::max)();
  if (device.device_type == torch_cuda && fits) {
    return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(device.device_id));
  }
  refuse("torch shares memory on cpu and cuda, not on " + to_string(device) +
         "; copy it there, or wrap the address as cpu memory if the host can read it");
}

inline DLDevice dlpack_device(at::Device device) {
  if (device.is_cpu()) return DLDevice{kDLCPU, 0};
  if (device.is_cuda()) return DLDevice{torch_cuda, device.index()};
  refuse("memory on " + device.str() + " cannot be shared; call .to(at::kCPU) first");
}

inline at::ScalarType torch_dtype(DLDataType dtype) {
  // Before 2.1 torch did not know DLPack's bool, and sent its own out as uint8.
  if (dtype.code == kDLBool && dtype.bits == 8 && dtype.lanes == 1) return at::kBool;
  try {
    return at::toScalarType(dtype);
  } catch (const c10::Error &) {
    refuse("this libtorch has no dtype for " + to_string(dtype) +
           "; pass the bytes: tensor.reinterpret(dlbridge::dtype_of<std::uint8_t>::get())");
  }
}

inline DLDataType dlpack_dtype(const at::Tensor &source) {
  if (source.scalar_type() == at::kBool) return DLDataType{kDLBool, 8, 1};
  try {
    const DLDataType dtype = at::getDLDataType(source);
    // Torch describes its 1 to 7 bit integers as if they had 8.
    if (at::toScalarType(dtype) == source.scalar_type()) return dtype;
  } catch (const c10::Error &) {
  }
  refuse(std::string("DLPack has no dtype for ") + c10::toString(source.scalar_type()) +
         "; pass the bytes: x.view(at::kByte)");
}

/** The strides as torch takes them: where nothing is ever stepped along, a negative one becomes 1. */
inline at::DimVector torch_strides(const tensor &source) {
  at::DimVector strides(source.strides().begin(), source.strides().end());
  for (std::size_t axis = 0; axis < strides.size(); ++axis) {
    if (strides[axis] >= 0) continue;
    if (source.size() != 0 && source.shape()[axis] != 1) {
      const std::string index = std::to_string(axis);
      refuse("stride " + std::to_string(strides[axis]) + " of axis " + index + " is negative, which torch cannot " +
             "have; pass slice(" + index + ", DLB_SLICE_END, DLB_SLICE_END, -1) and call .flip(" + index + ") there");
    }
    strides[axis] = 1;
  }
  return strides;
}

/** Refuses what DLPack cannot say of a torch tensor, and what would be said wrongly. */
inline void check_shareable(const at::Tensor &x) {
  if (!x.defined()) throw error(DLB_ERROR_INVALID_ARGUMENT, "the torch tensor is undefined; assign it first");
  if (x.layout() != at::kStrided) refuse(c10::str("layout ", x.layout(), " has no strides; call .to_dense() first"));
  if (x.is_nested()) refuse("the torch tensor is nested; call .to_padded_tensor(0) first");
  if (x.is_meta()) refuse("the torch tensor is on meta and has no memory; make it with at::empty_like(x, at::kCPU)");
  if (x.is_quantized()) refuse("the torch tensor is quantized; pass .int_repr() or .dequantize()");
  if (x.is_conj()) refuse("the torch tensor is conjugated lazily; call .resolve_conj() first");
  if (x.is_neg()) refuse("the torch tensor is negated lazily; call .resolve_neg() first");
  if (x._is_zerotensor()) refuse("the torch tensor holds its zeros in no memory; call .clone() first");
  if (x.requires_grad()) refuse("the torch tensor requires grad, which would be lost; call .detach() first");
  if (!x.has_storage()) refuse("the torch tensor has no storage of its own; call .contiguous() outside transforms");
  // A resize_ that fails, as it does on a shared storage, leaves the new shape behind: elements that are not there.
  const std::size_t shown = at::detail::computeStorageNbytes(x.sizes(), x.strides(), x.itemsize(),
                                                             static_cast<std::size_t>(x.storage_offset()));
  if (shown > x.storage().nbytes()) {
    refuse("the torch tensor reaches to byte " + std::to_string(shown) + " of a storage of " +
           std::to_string(x.storage().nbytes()) + ", as after a resize_ that failed; resize_() it to what fits");
  }
}

}  // namespace detail

/** A torch tensor on the memory of `source`, which it keeps alive; pinned memory as that of the cpu.
 *
 * Refused: a read-only tensor, unless `policy` is `read_only::alias`; negative strides; more than 64 dimensions;
 * devices other than cpu and cuda; dtypes this libtorch does not have (sub-byte integers, lanes, float6). */
inline at::Tensor to_torch(const tensor &source, read_only policy = read_only::refuse) {
  constexpr std::size_t most = 64;
  if (source.is_read_only() && policy == read_only::refuse) {
    throw error(DLB_ERROR_READ_ONLY, "the tensor is read-only and torch could write to it; pass a copy, or "
                                     "dlbridge::read_only::alias if nothing will");
  }
  if (source.ndim() > most) {
    detail::refuse(std::to_string(source.ndim()) + " dimensions are more than the 64 of torch; reshape it first");
  }
  const at::Device device = detail::torch_device(source.device());
  const at::ScalarType dtype = detail::torch_dtype(source.dtype());
  const at::DimVector strides = detail::torch_strides(source);
  const auto release = [](void *kept) { dlb_tensor_release(static_cast<dlb_tensor *>(kept)); };
  return at::for_blob(source.view().data, at::IntArrayRef(source.shape().data(), source.ndim()))
      .strides(strides)
      .context(tensor(source).release(), release)
      .options(at::TensorOptions(dtype).device(device))
      .target_device(device)
      .make_tensor();
}

/** A tensor on the memory of `source`, whose storage it keeps alive. That storage cannot be resized from then on, as after
 * x.numpy() in Python: resize_() would move the elements away, and throws instead.
 *
 * Refused: tensors that require grad, are conjugated or negated lazily, sparse, nested, quantized, on meta; devices
 * other than cpu and cuda; dtypes that DLPack does not have. */
inline tensor from_torch(const at::Tensor &source) {
  detail::check_shareable(source);
  DLTensor description = DLTensor();
  description.device = detail::dlpack_device(source.device());
  description.dtype = detail::dlpack_dtype(source);
  description.data = source.data_ptr();
  description.ndim = static_cast<std::int32_t>(source.dim());
  description.shape = const_cast<std::int64_t *>(source.sizes().data());
  description.strides = const_cast<std::int64_t *>(source.strides().data());
  tensor wrapped = tensor::wrap(description, source.storage());
  source.storage().unsafeGetStorageImpl()->set_resizable(false);
  return wrapped;
}

}  // namespace dlbridge

#endif  /* DLBRIDGE_TORCH_HPP */
