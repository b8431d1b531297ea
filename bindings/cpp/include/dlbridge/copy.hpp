/* dlbridge/copy.hpp: copies between tensors. Included by dlbridge.hpp.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef DLBRIDGE_COPY_HPP
#define DLBRIDGE_COPY_HPP

#include <cstddef>

#include "tensor.hpp"

namespace dlbridge {

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
  return copy_report{report.kernel, report.bytes, report.temporary, report.passes, report.threads};
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

}  // namespace dlbridge

#endif  /* DLBRIDGE_COPY_HPP */
