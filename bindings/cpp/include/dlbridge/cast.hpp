/* dlbridge/cast.hpp: elements as another dtype, and what was lost. Included by dlbridge.hpp.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 *   dlbridge::tensor half = dlbridge::cast(samples, dlbridge::parse_dtype("float16"));   // refuses what is too large
 *   dlbridge::loss_report lost;
 *   dlbridge::cast<float>(samples, dlbridge::casting::same_kind, &lost);                 // says how much was rounded
 *   dlbridge::cast(samples, bytes, dlbridge::casting::saturate);                         // into a tensor that is there
 */
#ifndef DLBRIDGE_CAST_HPP
#define DLBRIDGE_CAST_HPP

#include "tensor.hpp"

namespace dlbridge {

/** What a cast may do to values: see DLB_CASTING_SAME_KIND and its neighbours. */
enum class casting : std::int32_t {
  same_kind = DLB_CASTING_SAME_KIND,
  same_value = DLB_CASTING_SAME_VALUE,
  unsafe = DLB_CASTING_UNSAFE,
  saturate = DLB_CASTING_SATURATE
};

/** What a cast changed: the fields are those of dlb_loss_report. */
struct loss_report : dlb_loss_report {
  loss_report() noexcept : dlb_loss_report() { struct_size = sizeof(dlb_loss_report); }
  /** How many elements changed. */
  std::size_t lost() const noexcept { return inexact + overflow + underflow + nan; }
};

namespace detail {
inline dlb_cast_options cast_options(casting how) noexcept {
  dlb_cast_options options = dlb_cast_options();
  options.struct_size = sizeof options;
  options.casting = static_cast<std::int32_t>(how);
  return options;
}
}  // namespace detail

/** The elements as another dtype, in a row-major tensor of its own; see dlb_tensor_cast(). Throws an error with the status
 * DLB_ERROR_LOSSY where values do not allow this casting; `*report` is filled in then too. */
inline tensor cast(const tensor &source, DLDataType dtype, casting how = casting::same_kind,
                   loss_report *report = nullptr) {
  const dlb_cast_options options = detail::cast_options(how);
  dlb_tensor *raw = nullptr;
  detail::check(dlb_tensor_cast(source.get(), dtype, &options, report, &raw));
  return tensor::adopt(raw);
}

/** The same with the dtype of a C++ type. */
template <class T>
tensor cast(const tensor &source, casting how = casting::same_kind, loss_report *report = nullptr) {
  return cast(source, dtype_of<T>::get(), how, report);
}

/** Casts into a tensor of the same shape, in any layout, as its dtype; see dlb_cast(), also for what it holds after an
 * error. Meanwhile nobody else may write the source, nor access the destination. */
inline void cast(const tensor &source, const tensor &destination, casting how = casting::same_kind,
                 loss_report *report = nullptr) {
  const dlb_cast_options options = detail::cast_options(how);
  detail::check(dlb_cast(source.get(), destination.get(), &options, report));
}

}  // namespace dlbridge

#endif
