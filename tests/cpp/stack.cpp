/* dlbridge/stack.hpp and dlbridge/compare.hpp: batches, and whether they are what they should be. */
#include <cmath>

#include "harness.hpp"

using dlbridge::tensor;

namespace {

std::vector<tensor> pictures(std::size_t count) {
  std::vector<tensor> made;
  for (std::size_t picture = 0; picture < count; ++picture) {
    std::vector<std::uint8_t> pixels(2 * 4 * 3);
    for (std::size_t index = 0; index < pixels.size(); ++index) {
      pixels[index] = static_cast<std::uint8_t>(31 * index + picture);
    }
    made.push_back(tensor::from_vector(std::move(pixels), {2, 4, 3}));
  }
  return made;
}

}  // namespace

TEST(pictures_become_a_batch) {
  const std::vector<tensor> from = pictures(3);
  const tensor batch = dlbridge::empty<float>({3, 3, 2, 4});
  dlbridge::stack_options options;
  options.layout = dlbridge::layout::chw;
  options.scale = {0.5, 1, 2};
  options.bias = {-1};
  dlbridge::stack(from, batch, options);
  for (std::size_t at = 0; at < batch.size(); ++at) {
    const std::size_t picture = at / 24, channel = at / 8 % 3, pixel = at % 8;
    const float value = from[picture].data<std::uint8_t>()[3 * pixel + channel];
    EXPECT(batch.data<float>()[at] == value * static_cast<float>(options.scale[channel]) - 1);
  }
}

TEST(values_out_of_range_are_cast_as_they_are_asked_to_be) {
  const std::vector<tensor> from{tensor::from_vector(std::vector<float>{-1, 300}, {2})};
  const tensor batch = dlbridge::empty<std::uint8_t>({1, 2});
  dlbridge::stack_options options;
  options.casting = dlbridge::casting::saturate;
  dlbridge::stack(from, batch, options);
  EXPECT(batch.data<std::uint8_t>()[0] == 0 && batch.data<std::uint8_t>()[1] == 255);
  options.casting = dlbridge::casting::same_kind;
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "", dlbridge::stack(from, batch, options));
}

TEST(what_is_refused_is_named) {
  std::vector<tensor> from = pictures(3);
  const tensor batch = dlbridge::empty<float>({3, 2, 4, 3});
  dlbridge::stack(from, batch);
  EXPECT(dlbridge::equal(batch.select(0, 1), from[1]));
  from[2] = tensor();
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "array 2: ", dlbridge::stack(from, batch));
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "no arrays", dlbridge::stack({}, batch));
}

TEST(what_differs_is_found) {
  const tensor a = tensor::from_vector(std::vector<double>{1, 2, 3, 4}, {2, 2});
  const tensor b = tensor::from_vector(std::vector<float>{1, 2, 3.5f, 4}, {2, 2});
  EXPECT(dlbridge::equal(a, a) && !dlbridge::equal(a, b) && !dlbridge::allclose(a, b));
  dlbridge::compare_options options;
  options.atol = 0.5;
  EXPECT(dlbridge::allclose(a, b, options));
  const dlb_comparison found = dlbridge::compare(a, b), close = dlbridge::compare_close(a, b, options);
  EXPECT(found.differing == 1 && found.first.place == 2 && found.first.a[0] == 3 && found.first.b[0] == 3.5);
  EXPECT(close.differing == 0 && close.absolute.error == 0.5);
  options.strict = true;
  EXPECT(!dlbridge::equal(a, tensor::from_vector(std::vector<float>{1, 2, 3, 4}, {2, 2}), options));
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "a is NULL", dlbridge::equal(tensor(), a));
}

int main() { return harness::run(); }
