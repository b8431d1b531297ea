/* Tensors as std::span (C++20), and as std::mdspan (C++23) where the standard library has it. */
#include <cstdint>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

#include "harness.hpp"

using dlbridge::as_span;
using dlbridge::tensor;

static tensor counted(dlbridge::int64_span shape, std::size_t size) {
  std::vector<float> values(size);
  std::iota(values.begin(), values.end(), 0.0F);
  return tensor::from_vector(std::move(values), shape);
}

TEST(a_span_is_the_buffer) {
  const tensor numbers = counted({2, 3}, 6);
  const auto span = as_span<float>(numbers);
  static_assert(std::is_same_v<decltype(span), const std::span<float>>);
  EXPECT(span.data() == numbers.view().data && span.size() == 6);
  span[5] = 50;
  EXPECT(as_span<const float>(numbers)[5] == 50);
}

TEST(a_span_of_nothing_is_empty) {
  const tensor nothing = counted({0, 3}, 0);
  EXPECT(as_span<const float>(nothing).empty());
}

TEST(a_span_is_refused_for_gaps_in_words) {
  const tensor numbers = counted({2, 3}, 6);
  const tensor column = numbers.slice(1, 0, 1), turned = numbers.permute({1, 0});
  const tensor reversed = numbers.slice(1, DLB_SLICE_END, DLB_SLICE_END, -1);
  THROWS(DLB_ERROR_UNSUPPORTED, "strides [3, 1] of shape [2, 1]", as_span<const float>(column));
  THROWS(DLB_ERROR_UNSUPPORTED, "strides [1, 3] of shape [3, 2]", as_span<float>(turned));
  THROWS(DLB_ERROR_UNSUPPORTED, "strides [3, -1] of shape [2, 3] leave gaps or another order; walk data() with strides()",
         as_span<float>(reversed));
}

TEST(a_span_to_write_to_is_refused_for_read_only_memory) {
  const tensor frozen = counted({6}, 6).read_only();
  THROWS(DLB_ERROR_READ_ONLY, "read-only", as_span<float>(frozen));
  EXPECT(as_span<const float>(frozen)[1] == 1);
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "int32", as_span<const std::int32_t>(frozen));
}

template <class Tensor>
concept spannable = requires(Tensor &&source) { as_span<const float>(std::forward<Tensor>(source)); };
static_assert(spannable<tensor &> && !spannable<tensor>, "a span of a temporary would dangle");

#if defined(__cpp_lib_mdspan)

using dlbridge::as_mdspan;

TEST(an_mdspan_shows_padded_permuted_and_stepped_layouts) {
  const tensor numbers = counted({4, 6}, 24);
  const tensor cases[] = {numbers, numbers.slice(1, 0, 4), numbers.permute({1, 0}), numbers.slice(0, 0, 4, 2),
                          numbers.slice(1, 2, 3), numbers.slice(0, 3, 4)};
  for (const tensor &view : cases) {
    const auto span = as_mdspan<const float, 2>(view);
    EXPECT(span.extent(0) == view.shape()[0] && span.extent(1) == view.shape()[1]);
    for (std::int64_t i = 0; i < view.shape()[0]; ++i) {
      for (std::int64_t j = 0; j < view.shape()[1]; ++j) {
        const tensor element = view.select(0, i).select(0, j);
        EXPECT(&span[i, j] == element.data<float>());
      }
    }
  }
}

TEST(an_mdspan_writes_to_the_buffer) {
  const tensor numbers = counted({2, 3}, 6);
  as_mdspan<float, 2>(numbers)[1, 2] = 50;
  EXPECT(as_span<const float>(numbers)[5] == 50);
  const tensor frozen = numbers.read_only();
  THROWS(DLB_ERROR_READ_ONLY, "read-only", as_mdspan<float, 2>(frozen));
}

TEST(an_mdspan_may_be_empty_or_without_dimensions) {
  const tensor nothing = counted({3, 0, 5}, 0), one = counted({}, 1);
  EXPECT((as_mdspan<const float, 3>(nothing).empty()));
  EXPECT((as_mdspan<const float, 0>(one)[] == 0));
}

TEST(an_mdspan_is_refused_for_what_layout_stride_cannot_say) {
  const tensor numbers = counted({1, 6}, 6);
  const tensor reversed = numbers.slice(1, DLB_SLICE_END, DLB_SLICE_END, -1), repeated = numbers.expand({4, 6});
  THROWS(DLB_ERROR_UNSUPPORTED, "stride -1 of axis 1", as_mdspan<const float, 2>(reversed));
  THROWS(DLB_ERROR_UNSUPPORTED, "stride 0 of axis 0", as_mdspan<const float, 2>(repeated));
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "has 2 dimensions, not 3", as_mdspan<const float, 3>(numbers));
}

TEST(an_mdspan_reaches_as_far_as_a_tensor_may) {
  static std::uint8_t byte;
  std::int64_t shape[] = {2, 2}, strides[] = {std::int64_t{1} << 62, 1};  // twice the first does not fit an int64_t
  DLTensor far{&byte, {kDLCPU, 0}, 2, {kDLUInt, 8, 1}, shape, strides, 0};
  const tensor apart = tensor::borrow(far);
  const auto span = as_mdspan<const std::uint8_t, 2>(apart);
  EXPECT(span.stride(0) == std::int64_t{1} << 62 && span.stride(1) == 1);
}

#endif

int main() { return harness::run(); }
