/* dlbridge/span.hpp: the elements of a tensor as a std::span (C++20) and a std::mdspan (C++23). Included by dlbridge.hpp
 * where the standard library has them.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 *   for (float &sample : dlbridge::as_span<float>(tensor)) sample *= 2;
 *   auto pixels = dlbridge::as_mdspan<const std::uint8_t, 3>(frame);   // pixels[y, x, channel]
 *
 * `const T` is for reading; plain T is for writing too, and is refused for read-only memory and for indices that share
 * an element. What comes back is borrowed: valid while the tensor or a copy of it lives, so none is given of a
 * temporary. Both throw `dlbridge::error` where `data()` or `mutable_data()` does: for another dtype, memory the host
 * cannot read, a misaligned address.
 */
#ifndef DLBRIDGE_SPAN_HPP
#define DLBRIDGE_SPAN_HPP

#include <version>

#include "tensor.hpp"

#if defined(__cpp_lib_span)

#include <span>

namespace dlbridge {
namespace detail {

/** The first element, checked for what T promises. */
template <class T>
T *first(const tensor &source) {
  if constexpr (std::is_const_v<T>) {
    return source.data<std::remove_const_t<T>>();
  } else {
    return source.mutable_data<T>();
  }
}

}  // namespace detail

/** All elements in row-major order. DLB_ERROR_UNSUPPORTED where they do not lie like that, one after the other. */
template <class T>
std::span<T> as_span(const tensor &source) {
  if (!source.is_contiguous()) {
    throw error(DLB_ERROR_UNSUPPORTED, "strides " + detail::list(source.strides()) + " of shape " +
                                           detail::list(source.shape()) + " leave gaps or another order; walk data() " +
                                           "with strides()");
  }
  return std::span<T>(detail::first<T>(source), source.size());
}

template <class T>
std::span<T> as_span(const tensor &&temporary) = delete;

}  // namespace dlbridge

#endif  // __cpp_lib_span

#if defined(__cpp_lib_mdspan)

#include <algorithm>
#include <array>
#include <mdspan>

namespace dlbridge {
namespace detail {

/** What std::layout_stride asks for: positive strides, each past everything that the smaller ones reach. Dimensions that
 * are never stepped along get a 1. */
template <std::size_t Rank>
std::array<std::int64_t, Rank> layout_strides(const tensor &source) {
  std::array<std::int64_t, Rank> strides{};
  std::array<std::size_t, Rank> order{};
  for (std::size_t axis = 0; axis < Rank; ++axis) {
    strides[axis] = source.shape()[axis] == 1 ? 1 : source.strides()[axis];
    order[axis] = axis;
  }
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return strides[a] != strides[b] ? strides[a] < strides[b] : source.shape()[a] < source.shape()[b];
  });
  std::uint64_t reached = 1;  // as far as one stride past the last element, which an int64_t may not hold
  for (const std::size_t axis : order) {
    const std::uint64_t stride = static_cast<std::uint64_t>(strides[axis]);
    if (strides[axis] < 1 || stride < reached) {
      throw error(DLB_ERROR_UNSUPPORTED, "stride " + std::to_string(strides[axis]) + " of axis " +
                                             std::to_string(axis) + " turns back or meets other elements, which " +
                                             "std::layout_stride cannot say; walk data() with strides()");
    }
    reached = stride * static_cast<std::uint64_t>(source.shape()[axis]);
  }
  return strides;
}

/** Row-major strides, which is as good as any where there are no elements. */
template <std::size_t Rank>
std::array<std::int64_t, Rank> empty_strides(const tensor &source) {
  std::array<std::int64_t, Rank> strides{};
  std::int64_t step = 1;
  for (std::size_t axis = Rank; axis-- > 0;) {
    strides[axis] = step;
    step *= std::max<std::int64_t>(source.shape()[axis], 1);
  }
  return strides;
}

}  // namespace detail

/** The elements under `Rank` indices, where they lie: rows may be padded, axes permuted or stepped.
 *
 * DLB_ERROR_INVALID_ARGUMENT for another number of dimensions; DLB_ERROR_UNSUPPORTED for strides that
 * std::layout_stride cannot have: negative ones, and those of expanded or otherwise overlapping views. */
template <class T, std::size_t Rank>
auto as_mdspan(const tensor &source) {
  using extents = std::dextents<std::int64_t, Rank>;
  if (source.ndim() != Rank) {
    throw error(DLB_ERROR_INVALID_ARGUMENT, "the tensor has " + std::to_string(source.ndim()) + " dimensions, not " +
                                                std::to_string(Rank) + "; name that many, or reshape it");
  }
  std::array<std::int64_t, Rank> shape{};
  std::copy_n(source.shape().begin(), Rank, shape.begin());
  const auto strides =
      source.size() == 0 ? detail::empty_strides<Rank>(source) : detail::layout_strides<Rank>(source);
  const std::layout_stride::mapping<extents> mapping(extents(shape), strides);
  return std::mdspan<T, extents, std::layout_stride>(detail::first<T>(source), mapping);
}

template <class T, std::size_t Rank>
auto as_mdspan(const tensor &&temporary) = delete;

}  // namespace dlbridge

#endif  // __cpp_lib_mdspan

#endif  /* DLBRIDGE_SPAN_HPP */
