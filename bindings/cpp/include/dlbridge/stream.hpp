/* dlbridge/stream.hpp: streams, events, and copies that go on after the call that started them. C++11; included by
 * dlbridge.hpp.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 *   dlbridge::stream stream;                                          // on the CPU: a thread
 *   dlbridge::event done = dlbridge::copy_async(source, destination, stream);
 *   if (!done.wait_for(std::chrono::milliseconds(5))) go_on_with_something_else();
 *   const float *first = destination.data<float>();                   // waits for the copy
 *
 * Both are handles, as a tensor is: copies of them share one stream, one event. Threads may share what they stand for,
 * each through a handle of its own. Letting go of a stream waits for nothing, and what is queued is carried
 * out all the same, as long as the process lives.
 */
#ifndef DLBRIDGE_STREAM_HPP
#define DLBRIDGE_STREAM_HPP

#include <chrono>

#include "tensor.hpp"

namespace dlbridge {
namespace detail {

/** A counted reference to what a C function made. */
template <class Raw, Raw *(*Retain)(Raw *), void (*Release)(Raw *)>
class counted {
 public:
  counted() noexcept : raw_(nullptr) {}
  explicit counted(Raw *owned) noexcept : raw_(owned) {}
  counted(const counted &other) noexcept : raw_(Retain(other.raw_)) {}
  counted(counted &&other) noexcept : raw_(other.raw_) { other.raw_ = nullptr; }
  counted &operator=(counted other) noexcept {
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~counted() { Release(raw_); }

  Raw *get() const noexcept { return raw_; }

 private:
  Raw *raw_;
};

/** As the C functions take it: in floating point, for the longest durations do not fit; what is too long is for ever. */
template <class Number, class Period>
std::uint64_t nanoseconds(std::chrono::duration<Number, Period> time) {
  const double wanted = std::chrono::duration<double, std::nano>(time).count();
  return !(wanted > 0) ? 0 : wanted < 1e19 ? static_cast<std::uint64_t>(wanted) : DLB_WAIT_FOREVER;
}

/** Whether a wait was over in time; throws what failed. */
inline bool in_time(dlb_status status) {
  if (status == DLB_ERROR_TIMEOUT) return false;
  check(status);
  return true;
}

}  // namespace detail

/** A point in a stream: done once everything queued before it is. Empty if default-constructed or moved from; waiting
 * for an empty one throws. */
class event {
 public:
  event() noexcept = default;

  /** Takes over a reference that a C function gave. */
  static event adopt(dlb_event *owned) noexcept { return event(owned); }
  /** For C functions: borrowed, NULL if empty. */
  dlb_event *get() const noexcept { return handle_.get(); }
  explicit operator bool() const noexcept { return get() != nullptr; }

  /** Whether it is done, or never will be (in a child of a fork). Never blocks. */
  bool done() const noexcept { return dlb_event_done(get()); }

  /** Waits until it is done; throws what failed before it. */
  void wait() const { detail::check(dlb_event_wait(get(), DLB_WAIT_FOREVER)); }

  /** Waits for at most `time`; whether it is done. Throws what failed before it. */
  template <class Number, class Period>
  bool wait_for(std::chrono::duration<Number, Period> time) const {
    return detail::in_time(dlb_event_wait(get(), detail::nanoseconds(time)));
  }

 private:
  explicit event(dlb_event *owned) noexcept : handle_(owned) {}

  detail::counted<dlb_event, dlb_event_retain, dlb_event_release> handle_;
};

/** An ordered queue of work on a device. Never empty, but when moved from. */
class stream {
 public:
  /** A new one, of the CPU where no device is named. Throws DLB_ERROR_UNAVAILABLE where there is no such device, saying
   * why. */
  stream() : stream(DLDevice{kDLCPU, 0}) {}
  explicit stream(DLDevice device) : handle_(create(device)) {}

  /** One that somebody else made on the device: a `cudaStream_t`, of torch or of the program, which must outlive the result.
   * nullptr is CUDA's legacy default stream. What is queued on either is one order. */
  static stream from_native(DLDevice device, void *handle) {
    dlb_stream *raw = nullptr;
    detail::check(dlb_stream_from_native(device, handle, &raw));
    return stream(raw);
  }

  /** Takes over a reference that a C function gave. */
  static stream adopt(dlb_stream *owned) noexcept { return stream(owned); }
  /** For C functions: borrowed, NULL if empty. */
  dlb_stream *get() const noexcept { return handle_.get(); }
  explicit operator bool() const noexcept { return get() != nullptr; }

  /** Where it works. */
  DLDevice device() const noexcept { return dlb_stream_device(get()); }

  /** The `cudaStream_t`, for work of the program's own. Throws DLB_ERROR_UNSUPPORTED on the CPU, which has none. */
  void *native() const {
    void *handle = nullptr;
    detail::check(dlb_stream_native(get(), &handle));
    return handle;
  }

  /** An event that is done when everything queued so far is. */
  event record() const {
    dlb_event *raw = nullptr;
    detail::check(dlb_stream_record(get(), &raw));
    return event::adopt(raw);
  }

  /** Has everything queued from now on wait for an event of any stream. The caller does not wait, unless this is a stream of
   * CUDA and the event one of the CPU. */
  void wait_event(const event &other) const { detail::check(dlb_stream_wait_event(get(), other.get())); }

  /** Waits until everything queued so far is done; throws what failed since the last time. */
  void synchronize() const { detail::check(dlb_stream_synchronize(get())); }

  /** synchronize() for at most `time`; whether it is done. Where it is not, what failed is thrown by a later call. */
  template <class Number, class Period>
  bool synchronize_for(std::chrono::duration<Number, Period> time) const {
    return detail::in_time(dlb_stream_synchronize_for(get(), detail::nanoseconds(time)));
  }

 private:
  explicit stream(dlb_stream *owned) noexcept : handle_(owned) {}

  static dlb_stream *create(DLDevice device) {
    dlb_stream *raw = nullptr;
    detail::check(dlb_stream_create(device, &raw));
    return raw;
  }

  detail::counted<dlb_stream, dlb_stream_retain, dlb_stream_release> handle_;
};

/** An export for a consumer that works on `on`: what is queued there from now on waits for the copies into the memory, and
 * the memory is not used again before what is queued there when the consumer lets go. See dlb_tensor_export_on(). */
inline managed_tensor export_on(const tensor &source, const stream &on) {
  DLManagedTensorVersioned *managed = nullptr;
  detail::check(dlb_tensor_export_on(source.get(), on.get(), &managed));
  return managed_tensor(managed);
}

/** Queues a copy of the elements of `source` to `destination`, of the same shape and dtype, and returns. Both tensors are
 * kept until it is done; access to their elements through tensors waits for it. See dlb_copy_async(). */
inline event copy_async(const tensor &source, const tensor &destination, const stream &on) {
  dlb_event *raw = nullptr;
  detail::check(dlb_copy_async(source.get(), destination.get(), on.get(), &raw));
  return event::adopt(raw);
}

/** A copy under way, whose tensor can be had when it is done, as with std::future. */
class future {
 public:
  future() noexcept = default;
  future(tensor result, event done) noexcept : result_(std::move(result)), done_(std::move(done)) {}

  /** Whether there is a copy to wait for: false where default-constructed, moved from, or after get(). */
  bool valid() const noexcept { return static_cast<bool>(done_); }

  /** Whether it is done, or never will be. Never blocks. */
  bool done() const noexcept { return done_.done(); }

  /** Waits until it is done; throws what failed. */
  void wait() const { started().wait(); }

  /** Waits for at most `time`; whether it is done. Throws what failed. */
  template <class Number, class Period>
  bool wait_for(std::chrono::duration<Number, Period> time) const {
    return started().wait_for(time);
  }

  /** Waits, and gives the tensor away: once. */
  tensor get() {
    started().wait();
    done_ = event();
    return std::move(result_);
  }

 private:
  const event &started() const {
    if (!valid()) {
      throw error(DLB_ERROR_INVALID_ARGUMENT,
                  "the future is empty: it was made so, moved from, or get() has given its tensor away, which it does once; "
                  "keep what get() returned");
    }
    return done_;
  }

  tensor result_;
  event done_;
};

namespace detail {

inline tensor empty_for(const tensor &source, DLDevice device) {
  dlb_tensor *raw = nullptr;
  check(dlb_tensor_empty_for(source.get(), device, &raw));
  return tensor::adopt(raw);
}

}  // namespace detail

/** A copy of `source` in memory of its own on the device of the stream, under way. Returns at once, but as dlb_copy_async()
 * says of memory that is not pinned and of copies on a stream of the CPU that come before. Whoever reaches the elements of
 * the result waits for them. */
inline tensor upload(const tensor &source, const stream &on) {
  if (!on) throw error(DLB_ERROR_INVALID_ARGUMENT, "the stream is empty: it was moved from; pass one that is not");
  tensor there = detail::empty_for(source, on.device());
  copy_async(source, there, on);
  return there;
}

/** A copy of `source` in host memory of its own, under way; from a CUDA device in pinned memory. */
inline future download(const tensor &source, const stream &on) {
  tensor here = detail::empty_for(source, DLDevice{kDLCPU, 0});
  event done = copy_async(source, here, on);
  return future(std::move(here), std::move(done));
}

/** What was copied so far in this process, by direction. */
inline dlb_transfer_counts transfer_stats() {
  dlb_transfer_counts counts = dlb_transfer_counts();
  counts.struct_size = sizeof counts;
  detail::check(dlb_transfer_stats(&counts));
  return counts;
}

/** The devices that streams can be made on. */
inline std::vector<DLDevice> devices() {
  std::vector<DLDevice> found(dlb_device_list(nullptr, 0));
  dlb_device_list(found.data(), found.size());
  return found;
}

}  // namespace dlbridge

#endif  /* DLBRIDGE_STREAM_HPP */
