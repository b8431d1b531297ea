/* dlbridge.hpp: dlbridge for C++11 and later. Header-only; link to libdlbridge.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 *   std::vector<float> samples = simulate();
 *   dlbridge::tensor tensor = dlbridge::tensor::from_vector(std::move(samples), {1000, 64});
 *   dlbridge::managed_tensor out = tensor.export_();   // for any DLPack consumer: consume(out.release())
 *
 * The rules, which hold for everything here unless it says otherwise:
 *
 *  - A `tensor` is a handle, as a shared_ptr is: copies share one description of one buffer, which never changes, and
 *    the buffer's owner is let go after the last tensor and the last export on it. No element is ever copied.
 *  - What fails throws `dlbridge::error`, or std::bad_alloc, and has then changed nothing. Destructors, moves and the
 *    members marked noexcept never throw.
 *  - Threads may share what a tensor describes, each through a handle of its own; a single handle is like any other
 *    object, to be changed by one thread at a time. The elements are plain shared memory.
 *  - Everything may be asked of an empty handle (default-constructed or moved from); what needs a tensor then throws.
 *
 * dlbridge/memory.hpp comes along (empty(), allocators, pools), dlbridge/stream.hpp (streams, events, asynchronous
 * copies), dlbridge/compare.hpp (equal(), allclose()) and dlbridge/stack.hpp (stack()). From C++20 on so does
 * dlbridge/span.hpp, which shows elements as std::span and, in C++23, as std::mdspan.
 *
 * dlbridge.h has the reference of the C functions behind this; a member does what the function of its name does.
 */
#ifndef DLBRIDGE_HPP
#define DLBRIDGE_HPP

#include <complex>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "dlbridge.h"

namespace dlbridge {

/** What every failure throws: the status code, and in what() what was wrong, with the values, and what to do. */
class error : public std::runtime_error {
 public:
  error(dlb_status status, const std::string &words) : std::runtime_error(words), status_(status) {}

  /** One of the DLB_ERROR_ codes. */
  dlb_status status() const noexcept { return status_; }

 private:
  dlb_status status_;
};

/** In which order the elements of a copy lie: see DLB_ORDER_C and its neighbours. */
enum class order : std::int32_t { c = DLB_ORDER_C, f = DLB_ORDER_F, a = DLB_ORDER_A, k = DLB_ORDER_K };

/** A borrowed run of integers: a shape, strides, axes. As an argument it is made of {2, 3}, a vector, an array. */
class int64_span {
 public:
  constexpr int64_span() noexcept : data_(nullptr), size_(0) {}
  constexpr int64_span(const std::int64_t *data, std::size_t size) noexcept : data_(data), size_(size) {}

  /** For arguments only: the braces live until the call returns. */
  int64_span(std::initializer_list<std::int64_t> values) noexcept : int64_span(values.begin(), values.size()) {}

  template <std::size_t N>
  constexpr int64_span(const std::int64_t (&values)[N]) noexcept : data_(values), size_(N) {}

  /** From a container of std::int64_t that lies in one piece, such as std::vector and std::array. */
  template <class Container, class Data = decltype(std::declval<const Container &>().data()),
            class = typename std::enable_if<std::is_convertible<Data, const std::int64_t *>::value>::type>
  int64_span(const Container &values) noexcept : data_(values.data()), size_(values.size()) {}

  const std::int64_t *data() const noexcept { return data_; }
  const std::int64_t *begin() const noexcept { return data_; }
  const std::int64_t *end() const noexcept { return data_ + size_; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  const std::int64_t &operator[](std::size_t index) const noexcept { return data_[index]; }

 private:
  const std::int64_t *data_;
  std::size_t size_;
};

/** The dtype that elements of a C++ type have: integers, float, double, std::complex of these. Specialise it for a
 * type of your own. bool is missing on purpose, since a foreign bool may hold any byte: read
 * `tensor.reinterpret(dtype_of<std::uint8_t>::get())` instead. */
template <class T, class = void>
struct dtype_of {
  static_assert(sizeof(T) == 0, "no dtype for this type; for bool reinterpret the tensor as std::uint8_t");
};

template <class T>
struct dtype_of<T, typename std::enable_if<std::is_integral<T>::value && !std::is_same<T, bool>::value>::type> {
  static constexpr DLDataType get() noexcept {
    return DLDataType{static_cast<std::uint8_t>(std::is_signed<T>::value ? kDLInt : kDLUInt), 8 * sizeof(T), 1};
  }
};

template <>
struct dtype_of<float> {
  static constexpr DLDataType get() noexcept { return DLDataType{kDLFloat, 32, 1}; }
};

template <>
struct dtype_of<double> {
  static constexpr DLDataType get() noexcept { return DLDataType{kDLFloat, 64, 1}; }
};

template <class T>
struct dtype_of<std::complex<T>> {
  static constexpr DLDataType get() noexcept { return DLDataType{kDLComplex, 2 * dtype_of<T>::get().bits, 1}; }
};

namespace detail {

inline void check(dlb_status status) {
  if (status != DLB_OK) throw error(status, dlb_error_message());
}

inline std::string list(int64_span values) {
  std::string words = "[";
  for (const std::int64_t &value : values) words += (&value == values.data() ? "" : ", ") + std::to_string(value);
  return words + "]";
}

/** Whether a tensor of this shape has `count` elements. */
inline bool holds(int64_span shape, std::size_t count) noexcept {
  std::size_t size = 1;
  for (std::int64_t extent : shape) {
    const std::size_t factor = static_cast<std::size_t>(extent);
    if (extent < 0 || (factor != 0 && size > std::numeric_limits<std::size_t>::max() / factor)) return false;
    size *= factor;
  }
  return size == count;
}

/** A row-major description in host memory. */
inline DLTensor describe(const void *data, DLDataType dtype, int64_span shape) {
  constexpr std::size_t limit = DLB_MAX_NDIM + 1;  // one more is refused by the library, in its words
  DLTensor description = DLTensor();
  description.data = const_cast<void *>(data);
  description.device.device_type = kDLCPU;
  description.ndim = static_cast<std::int32_t>(shape.size() < limit ? shape.size() : limit);
  description.dtype = dtype;
  description.shape = const_cast<std::int64_t *>(shape.data());
  return description;
}

/** Whether an owner can be called, without arguments. */
template <class Owner>
auto callable(int) -> decltype(static_cast<void>(std::declval<Owner &>()()), std::true_type());
template <class Owner>
std::false_type callable(long);

template <class Owner>
void let_go(Owner &owner, std::true_type) {
  owner();
}
template <class Owner>
void let_go(Owner &, std::false_type) {}

/** Where an owner stays until the last user of its buffer is gone. It is filled once the tensor is made, so that the
 * caller keeps the owner where that fails. */
template <class Owner>
class slot {
  using calls = decltype(callable<Owner>(0));
  static_assert(!std::is_pointer<Owner>::value || calls::value,
                "a raw pointer owns nothing, and a function is called without arguments; pass a callable, a smart "
                "pointer, or use borrow()");

 public:
  slot() noexcept : full_(false) {}
  slot(const slot &) = delete;
  slot &operator=(const slot &) = delete;
  ~slot() {
    if (!full_) return;
    let_go(owner_, calls());
    owner_.~Owner();
  }

  template <class Source>
  void fill(Source &&owner) {
    ::new (static_cast<void *>(std::addressof(owner_))) Owner(std::forward<Source>(owner));
    full_ = true;
  }

  /** Once it is filled. */
  Owner &owner() noexcept { return owner_; }

  /** A dlb_release_fn. */
  static void release(void *context) noexcept { delete static_cast<slot *>(context); }

 private:
  union {
    Owner owner_;
  };
  bool full_;
};

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
   * copied it does not. A raw pointer, and a function that takes arguments, are refused by the compiler.
   * That happens exactly once, on whichever thread drops the last user of the buffer; it must not throw. If wrap
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

  /** The same for row-major elements in host memory. `const` elements make a read-only tensor. */
  template <class T, class Owner>
  static tensor wrap(T *data, int64_span shape, Owner &&owner) {
    return wrap(detail::describe(data, dtype_of<typename std::remove_const<T>::type>::get(), shape),
                std::forward<Owner>(owner), std::is_const<T>::value ? DLPACK_FLAG_BITMASK_READ_ONLY : 0);
  }

  /** Wraps memory that outlives every tensor and every export on it: nobody is told when they are gone. */
  static tensor borrow(const DLTensor &description, std::uint64_t flags = 0) {
    return made_by(dlb_tensor_wrap, &description, flags, nullptr, nullptr);
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
    constexpr std::int32_t most = std::numeric_limits<std::int32_t>::max();
    return values.size() < static_cast<std::size_t>(most) ? static_cast<std::int32_t>(values.size()) : most;
  }

  dlb_tensor *raw_;
};

/** What a copy did, or would do; `kernel` is static. */
struct copy_report {
  const char *kernel;
  std::size_t bytes;
  /** Bytes of the temporary that source and destination need where they share memory, else 0. */
  std::size_t temporary;
  /** How often the elements are moved: 2 through a temporary, 0 where there is nothing to do, else 1. */
  int passes;
  int threads;
};

namespace detail {

inline copy_report reported(dlb_status (*function)(const dlb_tensor *, dlb_tensor *, const dlb_copy_options *,
                                                   dlb_copy_report *),
                            const tensor &source, const tensor &destination) {
  dlb_copy_report report{};
  report.struct_size = sizeof report;
  check(function(source.get(), destination.get(), nullptr, &report));
  return copy_report{report.kernel, report.bytes, report.temporary, static_cast<int>(report.passes),
                     static_cast<int>(report.threads)};
}

inline dlb_status plan(const dlb_tensor *source, dlb_tensor *destination, const dlb_copy_options *options,
                       dlb_copy_report *report) {
  return dlb_copy_plan(source, destination, options, report);
}

}  // namespace detail

/** Copies the elements of `source` to where `destination`, of the same shape and dtype, has those of the same indices;
 * strides may be anything. See dlb_copy(). Meanwhile nobody else may write the source, nor access the destination. */
inline copy_report copy(const tensor &source, const tensor &destination) {
  return detail::reported(dlb_copy, source, destination);
}

/** What copy() would do. Moves nothing. */
inline copy_report copy_plan(const tensor &source, const tensor &destination) {
  return detail::reported(detail::plan, source, destination);
}

/** How many threads share the work of one large copy, the caller's among them; see dlb_threads_set(). */
inline std::size_t num_threads() noexcept { return dlb_threads_get(); }
inline void set_num_threads(std::size_t count) noexcept { dlb_threads_set(count); }

/** Takes a tensor from any Python producer, a borrowed PyObject *; see dlb_python_import(). Where Python raised, what()
 * has its words, and a caller that holds the GIL finds the exception set. */
inline tensor from_python(void *object) {
  dlb_tensor *raw = nullptr;
  detail::check(dlb_python_import(object, &raw));
  return tensor::adopt(raw);
}

/** A Python capsule with an export of `source`: a new reference to a PyObject; see dlb_python_capsule(). */
inline void *to_capsule(const tensor &source, bool legacy = false) {
  void *capsule = nullptr;
  detail::check(dlb_python_capsule(source.get(), legacy ? 1 : 0, &capsule));
  return capsule;
}

/** The name of a dtype, as NumPy writes it: float32, uint8, bfloat16. */
inline std::string to_string(DLDataType dtype) {
  char name[64];
  return std::string(name, dlb_dtype_name(dtype, name, sizeof name));
}

/** The name of a device: cpu, cuda:1. */
inline std::string to_string(DLDevice device) {
  char name[64];
  return std::string(name, dlb_device_name(device, name, sizeof name));
}

/** Reads a dtype from its name, as to_string() writes it. */
inline DLDataType parse_dtype(const std::string &name) {
  DLDataType dtype;
  detail::check(dlb_dtype_parse(name.c_str(), &dtype));
  return dtype;
}

}  // namespace dlbridge

#include "dlbridge/cast.hpp"
#include "dlbridge/compare.hpp"
#include "dlbridge/memory.hpp"
#include "dlbridge/stack.hpp"
#include "dlbridge/stream.hpp"
#include "dlbridge/staging.hpp"

#if __cplusplus >= 202002L
#include "dlbridge/span.hpp"
#endif

#endif  /* DLBRIDGE_HPP */
