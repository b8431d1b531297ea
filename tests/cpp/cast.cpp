/* dlbridge.hpp: casts, and what they say was lost. */
#include <cstdint>
#include <vector>

#include "harness.hpp"

using dlbridge::casting;
using dlbridge::tensor;

namespace {

tensor doubles(std::vector<double> values) {
  const std::int64_t count = static_cast<std::int64_t>(values.size());
  return tensor::from_vector(std::move(values), {count});
}

template <class T>
std::vector<T> elements(const tensor &tensor) {
  return std::vector<T>(tensor.data<T>(), tensor.data<T>() + tensor.size());
}

}  // namespace

TEST(a_cast_makes_a_tensor_of_its_own) {
  const tensor source = doubles({1.5, -2, 16777217});
  EXPECT((elements<float>(dlbridge::cast<float>(source)) == std::vector<float>{1.5F, -2, 16777216}));
  const tensor half = dlbridge::cast(source, dlbridge::parse_dtype("bfloat16"));
  EXPECT(half.dtype().code == kDLBfloat && half.size() == 3);
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "DLB_CASTING_SAME_VALUE", dlbridge::cast<std::int8_t>(source));
  EXPECT((elements<std::int8_t>(dlbridge::cast<std::int8_t>(source, casting::saturate)) ==
          std::vector<std::int8_t>{1, -2, 127}));
  EXPECT((elements<std::int8_t>(dlbridge::cast<std::int8_t>(source, casting::unsafe)) ==
          std::vector<std::int8_t>{1, -2, 1}));
}

TEST(a_report_says_what_was_lost_and_is_there_after_a_refusal) {
  dlbridge::loss_report report;
  dlbridge::cast<float>(doubles({1.5, 0.1, 16777217}), casting::same_kind, &report);
  EXPECT(report.lost() == 2 && report.inexact == 2 && report.elements == 3 && report.first == 1);
  EXPECT(report.first_value[0] == 0.1 && report.first_result[0] == static_cast<double>(0.1F));
  EXPECT(report.max_absolute_error == 1);
  THROWS(DLB_ERROR_LOSSY, "1 of 2 elements is out of range on the way from float64 to float32; the first, at index 1",
         dlbridge::cast<float>(doubles({1, 1e300}), casting::same_kind, &report));
  EXPECT(report.overflow == 1 && report.lost() == 1 && report.elements == 2);
  dlbridge::cast<double>(doubles({1, 1e300}), casting::same_value, &report);
  EXPECT(report.lost() == 0 && report.first == -1);
}

TEST(a_cast_fills_a_tensor_that_is_there) {
  const tensor source = doubles({1, 2, 300, 4}).reshape({2, 2});
  const tensor bytes = dlbridge::empty<std::uint8_t>({2, 2});
  dlbridge::cast(source, bytes.permute({1, 0}), casting::saturate);
  EXPECT((elements<std::uint8_t>(bytes) == std::vector<std::uint8_t>{1, 255, 2, 4}));
  THROWS(DLB_ERROR_LOSSY, "(1, 0)", dlbridge::cast(source, bytes, casting::same_value));
  EXPECT((elements<std::uint8_t>(bytes) == std::vector<std::uint8_t>{255, 255, 255, 255}));
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "shape", dlbridge::cast(source, dlbridge::empty<float>({4})));
  THROWS(DLB_ERROR_READ_ONLY, "read-only", dlbridge::cast(source, dlbridge::empty<float>({2, 2}).read_only()));
  THROWS(DLB_ERROR_UNSUPPORTED, "overlap", dlbridge::cast(source, source));
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "", dlbridge::cast(tensor(), source));
}

int main() { return harness::run(); }
