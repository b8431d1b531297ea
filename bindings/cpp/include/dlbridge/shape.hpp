/* dlbridge/shape.hpp: runs of integers, as which shapes, strides and axes come and go. Included by dlbridge.hpp.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef DLBRIDGE_SHAPE_HPP
#define DLBRIDGE_SHAPE_HPP

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

namespace dlbridge {

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

namespace detail {

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
    if (extent < 0 || (factor != 0 && size > (std::numeric_limits<std::size_t>::max)() / factor)) return false;
    size *= factor;
  }
  return size == count;
}

}  // namespace detail

}  // namespace dlbridge

#endif  /* DLBRIDGE_SHAPE_HPP */
