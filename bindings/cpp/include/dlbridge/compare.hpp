/* dlbridge/compare.hpp: are two tensors equal, are they close, and what differs. C++11; included by dlbridge.hpp.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 *   if (!dlbridge::equal(before, after)) {
 *     const dlb_comparison found = dlbridge::compare(before, after);
 *     std::cerr << found.differing << " differ, the first at " << found.first.place;
 *   }
 *
 * Nobody may write to the elements meanwhile.
 */
#ifndef DLBRIDGE_COMPARE_HPP
#define DLBRIDGE_COMPARE_HPP

#include "tensor.hpp"

namespace dlbridge {

/** How tensors are compared: as NumPy does by default. */
struct compare_options {
  bool equal_nan = false;
  /** equal(): the dtypes must be the same too. */
  bool strict = false;
  /** allclose(): |a - b| <= atol + rtol * |b|. */
  double rtol = 1e-5;
  double atol = 1e-8;
};

namespace detail {

inline dlb_compare_options raw(const compare_options &options) noexcept {
  dlb_compare_options raw = {};
  raw.struct_size = sizeof raw;
  raw.equal_nan = options.equal_nan;
  raw.strict = options.strict;
  raw.rtol = options.rtol;
  raw.atol = options.atol;
  return raw;
}

using comparing = dlb_status (*)(const dlb_tensor *, const dlb_tensor *, const dlb_compare_options *, dlb_comparison *,
                                 std::int32_t *);

inline bool holds(comparing call, const tensor &a, const tensor &b, const compare_options &options) {
  const dlb_compare_options given = raw(options);
  std::int32_t answer = 0;
  check(call(a.get(), b.get(), &given, nullptr, &answer));
  return answer != 0;
}

inline dlb_comparison report(comparing call, const tensor &a, const tensor &b, const compare_options &options) {
  const dlb_compare_options given = raw(options);
  dlb_comparison found = {};
  found.struct_size = sizeof found;
  std::int32_t answer = 0;
  check(call(a.get(), b.get(), &given, &found, &answer));
  return found;
}

}  // namespace detail

/** Whether both have the same shape and the same values. Ends at the first difference. */
inline bool equal(const tensor &a, const tensor &b, const compare_options &options = compare_options()) {
  return detail::holds(dlb_equal, a, b, options);
}

/** Whether all are close, where the shapes broadcast. Ends at the first that is not. */
inline bool allclose(const tensor &a, const tensor &b, const compare_options &options = compare_options()) {
  return detail::holds(dlb_allclose, a, b, options);
}

/** What keeps both from being equal: how many, the first, the worst. Looks at everything; at nothing where the shapes differ. */
inline dlb_comparison compare(const tensor &a, const tensor &b, const compare_options &options = compare_options()) {
  return detail::report(dlb_equal, a, b, options);
}

/** The same of what keeps both from being close. */
inline dlb_comparison compare_close(const tensor &a, const tensor &b,
                                    const compare_options &options = compare_options()) {
  return detail::report(dlb_allclose, a, b, options);
}

}  // namespace dlbridge

#endif  // DLBRIDGE_COMPARE_HPP
