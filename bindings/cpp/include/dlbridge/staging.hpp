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
 *
 * A staging is a handle: copies of it share one ring, and threads each use one of their own. A slot has one owner, and so has
 * a batch; tensors, views and exports of a batch keep its memory, which is never overwritten before.
 */
#ifndef DLBRIDGE_STAGING_HPP
#define DLBRIDGE_STAGING_HPP

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "stream.hpp"

namespace dlbridge {

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

  /** A tensor by its position, or its name: a reference of its own. Throws std::out_of_range. */
  tensor operator[](std::size_t index) const { return share(dlb_batch_tensor(get(), index)); }
  tensor operator[](const std::string &name) const { return share(dlb_batch_find(get(), name.c_str())); }

  /** Says that the last use is what is queued on `on` by now. Empty afterwards. */
  void release(const stream &on) noexcept { dlb_batch_release(raw_.release(), on.get()); }

 private:
  struct releaser {
    void operator()(dlb_batch *owned) const noexcept { dlb_batch_release(owned, nullptr); }
  };
  explicit batch(dlb_batch *owned) noexcept : raw_(owned) {}

  static tensor share(dlb_tensor *borrowed) {
    if (borrowed == nullptr) throw std::out_of_range("the batch has no such tensor");
    return tensor::adopt(dlb_tensor_retain(borrowed));
  }

  std::unique_ptr<dlb_batch, releaser> raw_;
};

/** An empty slot, to be filled. Letting it go without submit() gives it back, and no batch comes of it. */
class slot {
 public:
  /** Takes over what a C function gave. */
  static slot adopt(dlb_slot *owned) noexcept { return slot(owned); }
  /** For C functions: borrowed, NULL if it was submitted. */
  dlb_slot *get() const noexcept { return raw_.get(); }

  std::uint64_t number() const noexcept { return dlb_slot_number(get()); }

  /** A tensor by its position, for writing until the slot is submitted. Throws std::out_of_range. */
  tensor operator[](std::size_t index) const {
    dlb_tensor *borrowed = dlb_slot_tensor(get(), index);
    if (borrowed == nullptr) throw std::out_of_range("the slot has no such tensor, or was submitted");
    return tensor::adopt(dlb_tensor_retain(borrowed));
  }

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

/** A ring of slots. See dlb_staging. */
class staging {
 public:
  /** On `device`, with `slots` batches on their way (0 for 3) and memory for `keep` more while consumers keep them (0 is
   * none). */
  explicit staging(std::size_t slots = 3, std::size_t keep = 16, staging_order order = staging_order::in_order,
                   DLDevice device = DLDevice{kDLCPU, 0})
      : handle_(create(slots, keep, order, device)) {}

  /** Takes over a reference that a C function gave. */
  static staging adopt(dlb_staging *owned) noexcept { return staging(owned); }
  /** For C functions: borrowed, NULL if moved from. */
  dlb_staging *get() const noexcept { return handle_.get(); }

  /** An empty slot; waits until there is one, at most `timeout_ns`. */
  slot acquire(const std::vector<leaf> &leaves, std::uint64_t timeout_ns = DLB_WAIT_FOREVER) const {
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

  /** The next batch; waits until there is one, at most `timeout_ns`. Empty after the last one of a closed ring; throws
   * where it was aborted, with the reason. */
  batch next(std::uint64_t timeout_ns = DLB_WAIT_FOREVER) const { return next_on(nullptr, timeout_ns); }
  /** The same: what is queued on `on` after it finds the batch complete. */
  batch next(const stream &on, std::uint64_t timeout_ns = DLB_WAIT_FOREVER) const {
    return next_on(on.get(), timeout_ns);
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

  static dlb_staging *create(std::size_t slots, std::size_t keep, staging_order order, DLDevice device) {
    dlb_staging_options options = {};
    options.struct_size = sizeof options;
    options.device = device;
    options.slots = slots;
    options.keep = keep;
    options.order = static_cast<std::int32_t>(order);
    dlb_staging *raw = nullptr;
    detail::check(dlb_staging_create(&options, &raw));
    return raw;
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

#endif  /* DLBRIDGE_STAGING_HPP */
