/* dlbridge/tensor.hpp: handles to buffers that somebody owns. Included by dlbridge.hpp, which has the rules.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef DLBRIDGE_TENSOR_HPP
#define DLBRIDGE_TENSOR_HPP

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "dtype.hpp"
#include "error.hpp"
#include "owner.hpp"
#include "shape.hpp"

namespace dlbridge {

namespace detail {

/** A description in host memory; without strides it is row-major. */
inline DLTensor describe(const void *data, DLDataType dtype, int64_span shape, int64_span strides) {
  if (!strides.empty() && strides.size() != shape.size()) {
    throw error(DLB_ERROR_INVALID_ARGUMENT, "strides " + list(strides) + " were given for shape " + list(shape) +
                                                "; pass one for each dimension, in elements, or none for row-major");
  }
  constexpr std::size_t limit = DLB_MAX_NDIM + 1;  // one more is refused by the library, in its words
  DLTensor description = DLTensor();
  description.data = const_cast<void *>(data);
  description.device.device_type = kDLCPU;
  description.ndim = static_cast<std::int32_t>(shape.size() < limit ? shape.size() : limit);
  description.dtype = dtype;
  description.shape = const_cast<std::int64_t *>(shape.data());
  description.strides = strides.empty() ? nullptr : const_cast<std::int64_t *>(strides.data());
  return description;
}

struct call_deleter {
  template <class Managed>
  void operator()(Managed *managed) const noexcept {
    if (managed->deleter != nullptr) managed->deleter(managed);
  }
};

}  // namespace detail

/** A DLPack struct that is ours: its deleter is called at the end, unless release() hands it to somebody who will. */
using managed_tensor = std::unique_ptr<DLManagedTensorVersioned, detail::call_deleter>;
using managed_tensor_legacy = std::unique_ptr<DLManagedTensor, detail::call_deleter>;

/** In which order the elements of a copy lie: see DLB_ORDER_C and its neighbours. */
enum class order : std::int32_t { c = DLB_ORDER_C, f = DLB_ORDER_F, a = DLB_ORDER_A, k = DLB_ORDER_K };

/** A handle to a description of a buffer that somebody owns. */
class tensor {
 public:
  /** An empty handle. */
  tensor() noexcept : raw_(nullptr) {}
  tensor(const tensor &other) noexcept : raw_(dlb_tensor_retain(other.raw_)) {}
  tensor(tensor &&other) noexcept : raw_(other.release()) {}
  tensor &operator=(tensor other) noexcept {
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~tensor() { dlb_tensor_release(raw_); }

  /* --- making one --- */

  /** Wraps memory that `owner` keeps alive, without a copy. The owner is anything that can be moved or copied:
   *
   *   tensor::wrap(description, [frame] { give_back(frame); })      a callable is called, then destroyed
   *   tensor::wrap(description, std::move(unique))                  anything else is destroyed
   *
   * It is moved or copied in, and `description` has to hold then: of a vector that is moved it does, of one that is
   * copied it does not. A raw pointer, and what is called with a pointer as a deleter is, are refused by the compiler.
   * The owner is let go exactly once, on whichever thread drops the last user of the buffer; it must not throw. If wrap
   * throws, the owner is as it was: not called, not moved from. Shape and strides of `description` are copied; NULL
   * strides mean row-major. `flags` is 0 or DLPACK_FLAG_BITMASK_READ_ONLY. */
  template <class Owner>
  static tensor wrap(const DLTensor &description, Owner &&owner, std::uint64_t flags = 0) {
    using slot = detail::slot<typename std::decay<Owner>::type>;
    std::unique_ptr<slot> place(new slot);
    tensor wrapped = made_by(dlb_tensor_wrap, &description, flags, &slot::release, place.get());
    place.release()->fill(std::forward<Owner>(owner));
    return wrapped;
  }

  /** The same for elements in host memory, row-major or with strides, which count elements:
   *
   *   tensor::wrap(pixels, {480, 640, 3}, {2048, 3, 1}, [frame] { give_back(frame); })      rows are padded to 2048
   *
   * `const` elements make a read-only tensor. */
  template <class T, class Owner>
  static tensor wrap(T *data, int64_span shape, Owner &&owner) {
    return wrap(data, shape, int64_span(), std::forward<Owner>(owner));
  }
  template <class T, class Owner>
  static tensor wrap(T *data, int64_span shape, int64_span strides, Owner &&owner) {
    return wrap(detail::describe(data, dtype_of<typename std::remove_const<T>::type>::get(), shape, strides),
                std::forward<Owner>(owner), flags_of<T>());
  }

  /** Wraps memory that outlives every tensor and every export on it: nobody is told when they are gone. */
  static tensor borrow(const DLTensor &description, std::uint64_t flags = 0) {
    return made_by(dlb_tensor_wrap, &description, flags, nullptr, nullptr);
  }
  template <class T>
  static tensor borrow(T *data, int64_span shape, int64_span strides = int64_span()) {
    return borrow(detail::describe(data, dtype_of<typename std::remove_const<T>::type>::get(), shape, strides),
                  flags_of<T>());
  }

  /** A row-major tensor over the elements of a vector, which moves in. If this throws, `values` is as it was. */
  template <class T, class Allocator>
  static tensor from_vector(std::vector<T, Allocator> &&values, int64_span shape) {
    if (!detail::holds(shape, values.size())) {
      throw error(DLB_ERROR_INVALID_ARGUMENT, std::to_string(values.size()) + " elements were given for shape " +
                                                  detail::list(shape) + "; make the two agree");
    }
    T *data = values.data();
    return wrap(data, shape, std::move(values));
  }

  /** Takes over a DLPack struct, without a copy. It is consumed even if this throws: its deleter has been called. */
  static tensor import_(DLManagedTensorVersioned *managed) { return made_by(dlb_tensor_import, managed); }
  static tensor import_(DLManagedTensor *managed) { return made_by(dlb_tensor_import_legacy, managed); }
  static tensor import_(managed_tensor managed) { return import_(managed.release()); }
  static tensor import_(managed_tensor_legacy managed) { return import_(managed.release()); }

  /** Takes over a reference that a C function gave, such as dlb_python_import(). */
  static tensor adopt(dlb_tensor *owned) noexcept { return tensor(owned); }

  /* --- handing it out --- */

  /** As a DLPack struct with a header of its own, which keeps the buffer alive by itself. */
  managed_tensor export_() const {
    DLManagedTensorVersioned *managed = nullptr;
    detail::check(dlb_tensor_export(raw_, &managed));
    return managed_tensor(managed);
  }

  /** As the struct from before DLPack 1.0, which cannot say "read-only": DLB_ERROR_READ_ONLY if the tensor is. */
  managed_tensor_legacy export_legacy() const {
    DLManagedTensor *managed = nullptr;
    detail::check(dlb_tensor_export_legacy(raw_, &managed));
    return managed_tensor_legacy(managed);
  }

  /** For C functions: borrowed, NULL if empty. */
  dlb_tensor *get() const noexcept { return raw_; }

  /** Gives the reference away, to be dropped with dlb_tensor_release(); the handle is empty then. */
  dlb_tensor *release() noexcept {
    dlb_tensor *raw = raw_;
    raw_ = nullptr;
    return raw;
  }

  /* --- asking --- */

  explicit operator bool() const noexcept { return raw_ != nullptr; }

  /** The DLPack description. Like shape() and strides() borrowed: valid while the tensor or a copy of it lives. While a
   * copy into the memory goes on (copy_async()), this waits for it, and so does all that asks it: shape(), strides(),
   * dtype(), device(). Throws what dlb_tensor_export() would where such a copy failed. */
  const DLTensor &view() const {
    const DLTensor *view = dlb_tensor_view(raw_);
    if (view == nullptr) throw_no_view();
    return *view;
  }
  std::size_t ndim() const { return static_cast<std::size_t>(view().ndim); }
  int64_span shape() const { return int64_span(view().shape, ndim()); }
  /** In elements, as the producer gave them. */
  int64_span strides() const { return int64_span(view().strides, ndim()); }
  DLDataType dtype() const { return view().dtype; }
  DLDevice device() const { return view().device; }
  /** Whether the elements have the dtype of a C++ type. */
  template <class T>
  bool is() const {
    const DLDataType mine = dtype(), asked = dtype_of<T>::get();
    return mine.code == asked.code && mine.bits == asked.bits && mine.lanes == asked.lanes;
  }
  /** DLPACK_FLAG_BITMASK_READ_ONLY or 0. */
  std::uint64_t flags() const noexcept { return dlb_tensor_flags(raw_); }
  bool is_read_only() const noexcept { return (flags() & DLPACK_FLAG_BITMASK_READ_ONLY) != 0; }
  /** Number of elements. */
  std::size_t size() const noexcept { return dlb_tensor_size(raw_); }
  /** Bytes of the packed elements, not the span that the strides reach. */
  std::size_t nbytes() const noexcept { return dlb_tensor_nbytes(raw_); }
  /** Whether the elements lie packed in row-major ('C') or column-major ('F') order. */
  bool is_contiguous(char order = 'C') const noexcept { return dlb_tensor_is_contiguous(raw_, order); }
  /** The largest power of two that divides the address of the first element; 0 where there is none. */
  std::size_t alignment() const noexcept { return dlb_tensor_alignment(raw_); }

  /** The first element, for reading on the host; the others lie where shape and strides say. NULL where there is none.
   * Throws for another dtype, memory the host cannot read, a misaligned address. */
  template <class T>
  const T *data() const {
    const void *data = nullptr;
    detail::check(dlb_tensor_data(raw_, dtype_of<T>::get(), &data));
    return static_cast<const T *>(data);
  }

  /** The first element, for writing. Throws besides if the tensor is read-only, or if several indices share one
   * element. */
  template <class T>
  T *mutable_data() const {
    void *data = nullptr;
    detail::check(dlb_tensor_mutable_data(raw_, dtype_of<T>::get(), &data));
    return static_cast<T *>(data);
  }

  /* --- views: other tensors on the same buffer; a negative axis counts from the last --- */

  /** [start:stop:step] along `axis`, as in Python; DLB_SLICE_END stands for a bound left out. */
  tensor slice(std::int32_t axis, std::int64_t start, std::int64_t stop, std::int64_t step = 1) const {
    return made_by(dlb_tensor_slice, raw_, axis, start, stop, step);
  }
  /** One position of `axis`, which disappears. A negative index counts from the end. */
  tensor select(std::int32_t axis, std::int64_t index) const { return made_by(dlb_tensor_select, raw_, axis, index); }
  /** The axes in another order: axis i of the result is axis axes[i]. */
  tensor permute(int64_span axes) const { return made_by(dlb_tensor_permute, raw_, axes.data(), count(axes)); }
  /** Broadcasts; where a dimension grows the result is read-only. */
  tensor expand(int64_span shape) const { return made_by(dlb_tensor_expand, raw_, shape.data(), count(shape)); }
  /** Without `axis`, which must have size 1. */
  tensor squeeze(std::int32_t axis) const { return made_by(dlb_tensor_squeeze, raw_, axis); }
  /** With an axis of size 1 at position `axis` of the result. */
  tensor unsqueeze(std::int32_t axis) const { return made_by(dlb_tensor_unsqueeze, raw_, axis); }
  /** Another shape in the same row-major order; one size may be -1. DLB_ERROR_COPY_REQUIRED where no view can. */
  tensor reshape(int64_span shape) const { return made_by(dlb_tensor_reshape, raw_, shape.data(), count(shape)); }
  /** The same bytes as another dtype; the last dimension shrinks or grows to fit. */
  tensor reinterpret(DLDataType dtype) const { return made_by(dlb_tensor_reinterpret, raw_, dtype); }
  /** The same memory, not to be written to. */
  tensor read_only() const { return made_by(dlb_tensor_read_only, raw_); }

  /** A tensor of its own with the same elements, writable and without gaps. Nobody may write this one meanwhile. */
  tensor copy(order how = order::c) const {
    dlb_copy_options options{};
    options.struct_size = sizeof options;
    options.order = static_cast<std::int32_t>(how);
    return made_by(dlb_tensor_copy, static_cast<const dlb_tensor *>(raw_), static_cast<const dlb_copy_options *>(&options),
                   static_cast<dlb_copy_report *>(nullptr));
  }

 private:
  explicit tensor(dlb_tensor *owned) noexcept : raw_(owned) {}

  template <class T>
  static constexpr std::uint64_t flags_of() noexcept {
    return std::is_const<T>::value ? DLPACK_FLAG_BITMASK_READ_ONLY : 0;
  }

  /** What a C function makes whose last argument is `dlb_tensor **out`. */
  template <class Function, class... Arguments>
  static tensor made_by(Function function, Arguments... arguments) {
    dlb_tensor *raw = nullptr;
    detail::check(function(arguments..., &raw));
    return tensor(raw);
  }

  [[noreturn]] void throw_no_view() const {
    if (raw_ != nullptr) export_();  // fails for the same reason, and has a status for it
    throw error(DLB_ERROR_INVALID_ARGUMENT, "the tensor is empty; wrap or import a buffer first");
  }

  /** How many values a C function is told of; what no int32_t holds is too much for it anyway. */
  static std::int32_t count(int64_span values) noexcept {
    constexpr std::int32_t most = (std::numeric_limits<std::int32_t>::max)();
    return values.size() < static_cast<std::size_t>(most) ? static_cast<std::int32_t>(values.size()) : most;
  }

  dlb_tensor *raw_;
};

}  // namespace dlbridge

#endif  /* DLBRIDGE_TENSOR_HPP */
