/* What only C++ can ask of libtorch: to describe an at::Tensor, and to make one. The Rust side is lib.rs.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * No exception leaves a function: it returns a verdict, and the words behind `words`, for dlbridge_tch_free().
 *
 * at::toDLPack() and at::fromDLPack() are gone past: their names and structs differ between versions of libtorch, they
 * hand on lazily negated tensors with the wrong sign, and after their failures nobody knows whether the deleter has run.
 */
#include <ATen/ATen.h>
#include <ATen/DLConvertor.h>
#include <ATen/EmptyTensor.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

namespace {

/* As in lib.rs. */
enum verdict : std::int32_t { done = 0, refused = 1, thrown = 2 };

struct refusal {
  std::string words;
};

template <class Body>
verdict attempt(char **words, Body body) noexcept {
  try {
    body();
    return done;
  } catch (const refusal &error) {
    *words = strdup(error.words.c_str());
    return refused;
  } catch (const c10::Error &error) {
    *words = strdup(error.what_without_backtrace());
  } catch (const std::exception &error) {
    *words = strdup(error.what());
  } catch (...) {
    *words = strdup("something that is no std::exception");
  }
  return thrown;
}

[[noreturn]] void refuse(std::string words) { throw refusal{std::move(words)}; }

#ifdef USE_ROCM
constexpr DLDeviceType torch_cuda = kDLROCM;
#else
constexpr DLDeviceType torch_cuda = kDLCUDA;
#endif

DLDevice dlpack_device(at::Device device) {
  if (device.is_cpu()) return DLDevice{kDLCPU, 0};
  if (device.is_cuda()) return DLDevice{torch_cuda, device.index()};
  refuse("memory on " + device.str() + " cannot be shared; call .to_device(tch::Device::Cpu) first");
}

at::Device torch_device(DLDevice device) {
  if (device.device_type == kDLCPU) return at::Device(at::kCPU);
  if (device.device_type == torch_cuda) {
    return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(device.device_id));
  }
  refuse("this libtorch is built for other devices than the memory is on; copy it to the cpu first");
}

DLDataType dlpack_dtype(const at::Tensor &x) {
  try {
    const DLDataType dtype = at::getDLDataType(x);
    /* Torch describes its 1 to 7 bit integers as if they had 8. */
    if (at::toScalarType(dtype) == x.scalar_type()) return dtype;
  } catch (const c10::Error &) {
  }
  refuse(std::string("DLPack has no dtype for ") + c10::toString(x.scalar_type()) +
         "; share the bytes: x.view_dtype(tch::Kind::Uint8)");
}

/* What DLPack cannot say of a torch tensor, and what would be said wrongly. */
void check_shareable(const at::Tensor &x) {
  if (!x.defined()) refuse("the torch tensor is undefined; assign it first");
  if (x.layout() != at::kStrided) {
    refuse(c10::str("layout ", x.layout(), " has no strides; call .to_dense(None, false) first"));
  }
  if (x.is_nested()) refuse("the torch tensor is nested; call .to_padded_tensor(0.0, None::<&[i64]>) first");
  if (x.is_meta()) refuse("the torch tensor is on meta and has no memory; make it on tch::Device::Cpu");
  if (x.is_quantized()) refuse("the torch tensor is quantized; share .int_repr() or .dequantize()");
  if (x.is_conj()) refuse("the torch tensor is conjugated lazily; call .resolve_conj() first");
  if (x.is_neg()) refuse("the torch tensor is negated lazily; call .resolve_neg() first");
  if (x._is_zerotensor()) refuse("the torch tensor holds its zeros in no memory; call .copy() first");
  if (x.requires_grad()) refuse("the torch tensor requires grad, which would be lost; call .detach() first");
  if (!x.has_storage()) refuse("the torch tensor has no storage of its own; call .contiguous() outside transforms");
}

/* A resize_ that fails, as it does on a shared storage, leaves the new shape behind: elements that are not there. */
void check_held(const at::Tensor &x) {
  const std::size_t shown = at::detail::computeStorageNbytes(
      x.sizes(), x.strides(), x.itemsize(), static_cast<std::size_t>(x.storage_offset()));
  const std::size_t held = x.storage().nbytes();
  if (shown <= held) return;
  refuse(c10::str("the torch tensor reaches to byte ", shown, " of a storage of ", held,
                  ", as after a resize_ that failed; call .resize_() with a size that fits"));
}

}  // namespace

extern "C" {

/* Describes `x`, shape and strides borrowed from it, and says what keeps the memory: `lender`, the context that
 * dlbridge_tch_adopt() got with `release`, borrowed as well; or else `storage`, a reference to the tensor's storage for
 * dlbridge_tch_release_storage(). That storage cannot be resized from then on, as after x.numpy() in Python: it would
 * move the elements. */
std::int32_t dlbridge_tch_describe(const at::Tensor *x, void (*release)(void *), DLTensor *description, void **lender,
                                   void **storage, char **words) {
  return attempt(words, [&] {
    check_shareable(*x);
    check_held(*x);
    description->device = dlpack_device(x->device());
    description->dtype = dlpack_dtype(*x);
    description->data = x->data_ptr();
    description->byte_offset = 0;
    description->ndim = static_cast<std::int32_t>(x->dim());
    description->shape = const_cast<std::int64_t *>(x->sizes().data());
    description->strides = const_cast<std::int64_t *>(x->strides().data());
    const at::DataPtr &memory = x->storage().data_ptr();
    if (memory.get_deleter() == release) {
      *lender = memory.get_context();
      return;
    }
    auto kept = std::make_unique<c10::Storage>(x->storage());
    kept->unsafeGetStorageImpl()->set_resizable(false);
    *storage = kept.release();
  });
}

void dlbridge_tch_release_storage(void *storage) { delete static_cast<c10::Storage *>(storage); }

/* A new torch tensor on the memory described. `context` is given away: release(context) is called when the memory is no
 * longer needed, at once if this fails. */
std::int32_t dlbridge_tch_adopt(const DLTensor *description, void *context, void (*release)(void *), at::Tensor **out,
                                char **words) {
  std::unique_ptr<void, void (*)(void *)> kept(context, release);
  return attempt(words, [&] {
    const auto ndim = static_cast<std::size_t>(description->ndim);
    const at::Device device = torch_device(description->device);
    const at::ScalarType dtype = at::toScalarType(description->dtype);
    at::Tensor made = at::for_blob(description->data, at::IntArrayRef(description->shape, ndim))
                          .strides(at::IntArrayRef(description->strides, ndim))
                          .context(kept.release(), release)
                          .options(at::TensorOptions(dtype).device(device))
                          .target_device(device)
                          .make_tensor();
    *out = new at::Tensor(std::move(made));
  });
}

void dlbridge_tch_free(char *words) { std::free(words); }

}  // extern "C"
