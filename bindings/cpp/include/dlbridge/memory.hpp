/* dlbridge/memory.hpp: tensors on memory of their own, and where that memory comes from. Included by dlbridge.hpp.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 *   dlbridge::tensor frame = dlbridge::empty<std::uint8_t>({480, 640, 3});
 *
 *   auto pool = dlbridge::allocator::pool(dlbridge::allocator::of(arena(64)), 1 << 30);   // at most 1 GiB
 *   dlbridge::tensor batch = dlbridge::empty<float>({32, 1000}, pool);
 *
 * An `allocator` is a handle, as a tensor is: copies share one allocator, and every tensor on its memory keeps it. Any
 * thread may use it.
 */
#ifndef DLBRIDGE_MEMORY_HPP
#define DLBRIDGE_MEMORY_HPP

#include "tensor.hpp"

namespace dlbridge {

/** Who gives memory and takes it back. An empty handle stands for the allocator that all share: a pool for what is 1 MiB
 * and more, the C library's allocator for the rest. */
class allocator {
 public:
  /** The shared one. */
  allocator() noexcept : raw_(nullptr) {}
  allocator(const allocator &other) noexcept : raw_(dlb_allocator_retain(other.raw_)) {}
  allocator(allocator &&other) noexcept : raw_(other.raw_) { other.raw_ = nullptr; }
  allocator &operator=(allocator other) noexcept {
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~allocator() { dlb_allocator_release(raw_); }

  /** The host's allocator, which caches nothing. */
  static allocator host() {
    allocator made;
    detail::check(dlb_allocator_host(&made.raw_));
    return made;
  }

  /** Memory of a device: a pool of that device, which all share; for the CPU the allocator that all share. */
  static allocator device(DLDevice device) {
    allocator made;
    detail::check(dlb_allocator_device(device, &made.raw_));
    return made;
  }

  /** Page-locked memory of the host, which a CUDA device copies from and to without help of the CPU: a pool that all
   * share. Throws DLB_ERROR_UNAVAILABLE where there is no driver, saying why. */
  static allocator pinned(DLDevice for_device = DLDevice{kDLCUDA, 0}) {
    allocator made;
    detail::check(dlb_allocator_pinned(for_device, &made.raw_));
    return made;
  }

  /** An object of the program, which moves in and is destroyed when the last user of its memory is gone:
   *
   *   void *allocate(std::size_t bytes, std::size_t alignment);    nullptr or an exception where there is none
   *   void deallocate(void *data, std::size_t bytes, std::size_t alignment) noexcept;
   *
   * Both are called from any thread, also several at a time. If this throws, `object` is as it was. */
  template <class Object>
  static allocator of(Object &&object, DLDevice device = DLDevice{kDLCPU, 0}) {
    using slot = detail::slot<typename std::decay<Object>::type>;
    std::unique_ptr<slot> place(new slot);
    dlb_allocator_functions functions = dlb_allocator_functions();
    functions.struct_size = sizeof functions;
    functions.context = place.get();
    functions.allocate = [](void *context, std::size_t bytes, std::size_t alignment) noexcept -> void * {
      try {
        return static_cast<slot *>(context)->owner().allocate(bytes, alignment);
      } catch (...) {
        return nullptr;
      }
    };
    functions.deallocate = [](void *context, void *data, std::size_t bytes, std::size_t alignment) noexcept {
      static_cast<slot *>(context)->owner().deallocate(data, bytes, alignment);
    };
    functions.release = &slot::release;
    functions.device = device;
    allocator made;
    detail::check(dlb_allocator_create(&functions, &made.raw_));
    place.release()->fill(std::forward<Object>(object));
    return made;
  }

  /** A pool over `over` (empty: over the host's allocator), which gives blocks out again instead of freeing them. It
   * holds at most `limit` bytes, in use and cached, and caches at most `cached`; 0 for any amount. */
  static allocator pool(const allocator &over = allocator(), std::size_t limit = 0, std::size_t cached = 0) {
    dlb_pool_options options = dlb_pool_options();
    options.struct_size = sizeof options;
    options.limit = limit;
    options.cached = cached;
    allocator made;
    detail::check(dlb_allocator_pool(over.raw_, &options, &made.raw_));
    return made;
  }

  /** Frees what the pool caches until at most `keep` bytes are left; how many bytes were freed. */
  std::size_t trim(std::size_t keep = 0) const noexcept { return dlb_allocator_trim(raw_, keep); }

  /** Changes how many bytes the pool may cache: 0 caches nothing. */
  void limit(std::size_t cached) const { detail::check(dlb_allocator_limit(raw_, cached)); }

  /** What the pool has and did. */
  dlb_pool_stats stats() const {
    dlb_pool_stats stats = dlb_pool_stats();
    stats.struct_size = sizeof stats;
    detail::check(dlb_allocator_stats(raw_, &stats));
    return stats;
  }

  /** For C functions: borrowed, NULL for the shared one. */
  dlb_allocator *get() const noexcept { return raw_; }

 private:
  dlb_allocator *raw_;
};

/** Memory of the program's own, page-locked where it is for as long as this lives: CUDA devices copy from and to it without
 * help of the CPU. The memory must outlive it. Pinning what is pinned counts: it is unlocked with the last one. Moves, and
 * is not copied; empty when default-constructed or moved from. */
class pin {
 public:
  pin() noexcept : raw_(nullptr) {}
  /** Throws where it cannot be pinned, with the reason. */
  pin(void *data, std::size_t bytes) : raw_(nullptr) { detail::check(dlb_memory_pin(data, bytes, &raw_)); }
  pin(pin &&other) noexcept : raw_(other.raw_) { other.raw_ = nullptr; }
  pin &operator=(pin other) noexcept {
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~pin() { dlb_pin_release(raw_); }

  explicit operator bool() const noexcept { return raw_ != nullptr; }

 private:
  dlb_pin *raw_;
};

namespace detail {
inline tensor make(dlb_status (*make)(const dlb_tensor_options *, dlb_tensor **), int64_span shape, DLDataType dtype,
                   const allocator &from, std::size_t alignment, DLDevice device = DLDevice()) {
  constexpr std::size_t limit = DLB_MAX_NDIM + 1;  // one more is refused by the library, in its words
  dlb_tensor_options options = dlb_tensor_options();
  options.struct_size = sizeof options;
  options.shape = shape.data();
  options.ndim = static_cast<std::int32_t>(shape.size() < limit ? shape.size() : limit);
  options.dtype = dtype;
  options.device = device;
  options.alignment = alignment;
  options.allocator = from.get();
  dlb_tensor *raw = nullptr;
  check(make(&options, &raw));
  return tensor::adopt(raw);
}

inline tensor make_like(dlb_status (*make)(const dlb_tensor_options *, dlb_tensor **), const tensor &source,
                        const allocator &from) {
  return detail::make(make, source.shape(), source.dtype(), from, 0,
                      from.get() == nullptr ? source.device() : DLDevice());
}
}  // namespace detail

/** A row-major tensor on memory of its own, writable, its values anything, at a multiple of `alignment` bytes (a power
 * of two; 0 for 256). */
inline tensor empty(int64_span shape, DLDataType dtype, const allocator &from = allocator(), std::size_t alignment = 0) {
  return detail::make(dlb_tensor_empty, shape, dtype, from, alignment);
}

/** The same with every byte 0. Fresh pages of the system are not touched for it; memory of a CUDA device is written there,
 * and this waits for that. */
inline tensor zeros(int64_span shape, DLDataType dtype, const allocator &from = allocator(), std::size_t alignment = 0) {
  return detail::make(dlb_tensor_zeros, shape, dtype, from, alignment);
}

/** The same with the dtype of a C++ type. */
template <class T>
tensor empty(int64_span shape, const allocator &from = allocator(), std::size_t alignment = 0) {
  return empty(shape, dtype_of<T>::get(), from, alignment);
}

template <class T>
tensor zeros(int64_span shape, const allocator &from = allocator(), std::size_t alignment = 0) {
  return zeros(shape, dtype_of<T>::get(), from, alignment);
}

/** empty() with the shape and the dtype of another tensor, and on its device where no allocator is named; row-major,
 * whatever the strides of that one. */
inline tensor empty_like(const tensor &source, const allocator &from = allocator()) {
  return detail::make_like(dlb_tensor_empty, source, from);
}

/** The same of zeros(). */
inline tensor zeros_like(const tensor &source, const allocator &from = allocator()) {
  return detail::make_like(dlb_tensor_zeros, source, from);
}

}  // namespace dlbridge

#endif  /* DLBRIDGE_MEMORY_HPP */
