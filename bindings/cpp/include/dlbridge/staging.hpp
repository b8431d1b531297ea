/* dlbridge/staging.hpp: several batches in flight between threads that load and threads that compute. C++11; included by
 * dlbridge.hpp.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 *   dlbridge::staging ring;                                                  // on the host, three slots
 *   // a producer
 *   dlbridge::slot slot = ring.acquire({{"frames", {480, 640}, dlbridge::dtype_of<float>::get()}});
 *   fill(slot[0].mutable_data<float>());
 *   std::move(slot).submit();
 *   // a consumer
 *   while (dlbridge::batch batch = ring.next()) use(batch["frames"].data<float>());
 *   // and where one of them fails, so that the other does not wait for ever
 *   ring.abort(error.what());
 *
 * A staging is a handle: copies of it share one ring, and threads each use one of their own. A slot has one owner, and so has
 * a batch; tensors, views and exports of a batch keep its memory, which is never overwritten before.
 */
#ifndef DLBRIDGE_STAGING_HPP
#define DLBRIDGE_STAGING_HPP

#include <cstddef>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "stream.hpp"

#pragma push_macro("slots")  /* of Qt's, where nothing may be called by that name */
#undef slots

namespace dlbridge {

namespace detail {

/** Goes over the tensors of a slot or a batch, which stays where it is meanwhile. */
template <class Holder>
class walk {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = tensor;
  using difference_type = std::ptrdiff_t;
  using pointer = void;
  using reference = tensor;

  walk() noexcept : holder_(nullptr), index_(0) {}
  walk(const Holder &holder, std::size_t index) noexcept : holder_(&holder), index_(index) {}
  tensor operator*() const { return (*holder_)[index_]; }
  walk &operator++() noexcept {
    ++index_;
    return *this;
  }
  walk operator++(int) noexcept { return walk(*holder_, index_++); }
  bool operator==(const walk &other) const noexcept { return index_ == other.index_; }
  bool operator!=(const walk &other) const noexcept { return index_ != other.index_; }

 private:
  const Holder *holder_;
  std::size_t index_;
};

/** A reference to what a slot or a batch has at a position. */
inline tensor share(dlb_tensor *borrowed, const std::string &noun, std::size_t index, std::size_t count) {
  if (borrowed != nullptr) return tensor::adopt(dlb_tensor_retain(borrowed));
  throw error(DLB_ERROR_INVALID_ARGUMENT,
              count == 0 ? "the " + noun + " is empty: made so, moved from or handed on; ask the ring for another"
                         : "the " + noun + " has " + std::to_string(count) + " tensors and no number " +
                               std::to_string(index) + "; pass 0 to " + std::to_string(count - 1));
}

}  // namespace detail

/** One tensor of a batch: its name ("" for its position), its shape, its dtype. */
struct leaf {
  std::string name;
  std::vector<std::int64_t> shape;
  DLDataType dtype;
};

/** A batch that a consumer has. Empty, and false, once a ring that was closed has no more. Letting it go says that the
 * consumer is done with it. */
class batch {
 public:
  batch() noexcept = default;

  /** Takes over what a C function gave. */
  static batch adopt(dlb_batch *owned) noexcept { return batch(owned); }
  /** For C functions: borrowed, NULL if empty. */
  dlb_batch *get() const noexcept { return raw_.get(); }
  explicit operator bool() const noexcept { return raw_ != nullptr; }

  std::size_t size() const noexcept { return dlb_batch_count(get()); }
  std::uint64_t number() const noexcept { return dlb_batch_number(get()); }

  /** A tensor by its position, or its name: a reference of its own. Throws where there is none. */
  tensor operator[](std::size_t index) const {
    return detail::share(dlb_batch_tensor(get(), index), "batch", index, size());
  }
  tensor operator[](const std::string &name) const {
    dlb_tensor *found = dlb_batch_find(get(), name.c_str());
    if (found != nullptr || size() == 0) return detail::share(found, "batch", 0, 0);
    std::string words = "the batch has no tensor \"" + name + "\"; it has";
    for (std::size_t index = 0; index < size(); ++index) words += " \"" + this->name(index) + "\"";
    throw error(DLB_ERROR_INVALID_ARGUMENT, words);
  }

  /** The name of a tensor by its position: "" where there is none. */
  std::string name(std::size_t index) const {
    const char *found = dlb_batch_name(get(), index);
    return found == nullptr ? std::string() : found;
  }

  /** Over the tensors: `for (const dlbridge::tensor &each : batch)`. */
  detail::walk<batch> begin() const noexcept { return {*this, 0}; }
  detail::walk<batch> end() const noexcept { return {*this, size()}; }

  /** Says that the last use is what is queued on `on` by now. Empty afterwards. */
  void release(const stream &on) noexcept { dlb_batch_release(raw_.release(), on.get()); }

 private:
  struct releaser {
    void operator()(dlb_batch *owned) const noexcept { dlb_batch_release(owned, nullptr); }
  };
  explicit batch(dlb_batch *owned) noexcept : raw_(owned) {}

  std::unique_ptr<dlb_batch, releaser> raw_;
};

/** A slot, to be filled. Letting it go without submit() gives it back, and no batch comes of it. Empty, and false, if
 * default-constructed, moved from or submitted. */
class slot {
 public:
  slot() noexcept = default;

  /** Takes over what a C function gave. */
  static slot adopt(dlb_slot *owned) noexcept { return slot(owned); }
  /** For C functions: borrowed, NULL if empty. */
  dlb_slot *get() const noexcept { return raw_.get(); }
  explicit operator bool() const noexcept { return raw_ != nullptr; }

  std::size_t size() const noexcept {
    std::size_t count = 0;
    while (dlb_slot_tensor(get(), count) != nullptr) ++count;
    return count;
  }
  std::uint64_t number() const noexcept { return dlb_slot_number(get()); }

  /** A tensor by its position, for writing until the slot is submitted. Throws where there is none. */
  tensor operator[](std::size_t index) const {
    return detail::share(dlb_slot_tensor(get(), index), "slot", index, size());
  }

  /** Over the tensors: `for (const dlbridge::tensor &each : slot)`. */
  detail::walk<slot> begin() const noexcept { return {*this, 0}; }
  detail::walk<slot> end() const noexcept { return {*this, size()}; }

  /** Copies the elements of `source`, of the same shape and dtype, into a tensor of the slot. */
  void fill(std::size_t index, const tensor &source) { detail::check(dlb_slot_fill(get(), index, source.get())); }

  /** Gives the batch to the consumers: `std::move(slot).submit()`. Throws DLB_ERROR_CLOSED where the ring was aborted. */
  void submit() && { detail::check(dlb_slot_submit(raw_.release())); }

 private:
  struct releaser {
    void operator()(dlb_slot *owned) const noexcept { dlb_slot_release(owned); }
  };
  explicit slot(dlb_slot *owned) noexcept : raw_(owned) {}

  std::unique_ptr<dlb_slot, releaser> raw_;
};

/** In which order batches come out: see DLB_STAGING_IN_ORDER and DLB_STAGING_FIRST_COME. */
enum class staging_order : std::int32_t { in_order = DLB_STAGING_IN_ORDER, first_come = DLB_STAGING_FIRST_COME };

/** What a ring is like: see dlb_staging_options. */
struct staging_options {
  /** Where the batches are to be. */
  DLDevice device = DLDevice{kDLCPU, 0};
  /** How many batches may be on their way, being filled and being used. */
  std::size_t slots = 3;
  /** How many more there may be memory for while consumers keep batches; 0 is none. */
  std::size_t keep = 16;
  staging_order order = staging_order::in_order;
};

/** A ring of slots. See dlb_staging. */
class staging {
 public:
  staging() : staging(staging_options()) {}
  explicit staging(const staging_options &options) : handle_(create(options)) {}

  /** Takes over a reference that a C function gave. */
  static staging adopt(dlb_staging *owned) noexcept { return staging(owned); }
  /** For C functions: borrowed, NULL if moved from. */
  dlb_staging *get() const noexcept { return handle_.get(); }

  /** An empty slot; waits until there is one. */
  slot acquire(const std::vector<leaf> &leaves) const { return slot_of(leaves, DLB_WAIT_FOREVER); }
  /** The same, for at most `time`: throws DLB_ERROR_TIMEOUT then. */
  template <class Number, class Period>
  slot acquire(const std::vector<leaf> &leaves, std::chrono::duration<Number, Period> time) const {
    return slot_of(leaves, detail::nanoseconds(time));
  }

  /** The next batch; waits until there is one. Empty after the last one of a closed ring; throws where it was aborted, with
   * the reason. */
  batch next() const { return next_on(nullptr, DLB_WAIT_FOREVER); }
  /** The same, for at most `time`: throws DLB_ERROR_TIMEOUT then. */
  template <class Number, class Period>
  batch next(std::chrono::duration<Number, Period> time) const {
    return next_on(nullptr, detail::nanoseconds(time));
  }
  /** The same two for work on a stream: what is queued on `on` after it finds the batch complete. */
  batch next(const stream &on) const { return next_on(on.get(), DLB_WAIT_FOREVER); }
  template <class Number, class Period>
  batch next(const stream &on, std::chrono::duration<Number, Period> time) const {
    return next_on(on.get(), detail::nanoseconds(time));
  }

  /** Consumers get what is on its way, and nothing after it. */
  void close() const noexcept { dlb_staging_close(get()); }
  /** Ends it for both sides, with a reason for who waits or asks. */
  void abort(const char *reason) const noexcept { dlb_staging_abort(get(), reason); }

  /** What the ring has done so far; of its sets of buffers there are at most as many as slots, each made when first
   * needed, and more where batches were kept. */
  dlb_staging_totals totals() const {
    dlb_staging_totals found = {};
    found.struct_size = sizeof found;
    detail::check(dlb_staging_stats(get(), &found));
    return found;
  }

 private:
  explicit staging(dlb_staging *owned) noexcept : handle_(owned) {}

  static dlb_staging *create(const staging_options &options) {
    dlb_staging_options given = {};
    given.struct_size = sizeof given;
    given.device = options.device;
    given.slots = options.slots;
    given.keep = options.keep;
    given.order = static_cast<std::int32_t>(options.order);
    dlb_staging *raw = nullptr;
    detail::check(dlb_staging_create(&given, &raw));
    return raw;
  }

  slot slot_of(const std::vector<leaf> &leaves, std::uint64_t timeout_ns) const {
    std::vector<DLTensor> tensors;
    std::vector<const char *> names;
    for (const leaf &each : leaves) {
      DLTensor like = {};
      like.shape = const_cast<std::int64_t *>(each.shape.data());
      like.ndim = static_cast<std::int32_t>(each.shape.size());
      like.dtype = each.dtype;
      tensors.push_back(like);
      names.push_back(each.name.c_str());
    }
    dlb_slot *raw = nullptr;
    detail::check(dlb_staging_acquire(get(), tensors.data(), names.data(), static_cast<std::int32_t>(tensors.size()),
                                      timeout_ns, &raw));
    return slot::adopt(raw);
  }

  batch next_on(dlb_stream *on, std::uint64_t timeout_ns) const {
    dlb_batch *raw = nullptr;
    const dlb_status status = dlb_staging_next(get(), on, timeout_ns, &raw);
    if (status == DLB_ERROR_CLOSED && !dlb_staging_aborted(get())) return batch();
    detail::check(status);
    return batch::adopt(raw);
  }

  detail::counted<dlb_staging, dlb_staging_retain, dlb_staging_release> handle_;
};

}  // namespace dlbridge

#pragma pop_macro("slots")

#endif  /* DLBRIDGE_STAGING_HPP */
