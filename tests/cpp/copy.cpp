/* dlbridge.hpp: copies, and what they say. */
#include <numeric>
#include <string>
#include <vector>

#include "harness.hpp"

using dlbridge::tensor;

namespace {

tensor counting(std::initializer_list<std::int64_t> shape, std::size_t size) {
  std::vector<std::int32_t> values(size);
  std::iota(values.begin(), values.end(), 0);
  return tensor::from_vector(std::move(values), shape);
}

}  // namespace

TEST(a_copy_arrives_and_says_how) {
  const tensor source = counting({2, 3}, 6);
  const tensor turned = dlbridge::empty<std::int32_t>({3, 2});
  const dlbridge::copy_report planned = dlbridge::copy_plan(source.permute({1, 0}), turned);
  const dlbridge::copy_report done = dlbridge::copy(source.permute({1, 0}), turned);
  const std::int32_t *values = turned.data<std::int32_t>();
  EXPECT((std::vector<std::int32_t>(values, values + 6) == std::vector<std::int32_t>{0, 3, 1, 4, 2, 5}));
  EXPECT(done.bytes == 24 && done.passes == 1 && done.threads == 1 && done.temporary == 0);
  EXPECT(std::string(planned.kernel) == done.kernel && planned.bytes == done.bytes);
}

TEST(a_tensor_makes_one_of_its_own) {
  const tensor source = counting({2, 3}, 6);
  const tensor rows = source.permute({1, 0}).copy(), columns = source.copy(dlbridge::order::f);
  EXPECT(rows.data<std::int32_t>()[1] == 3 && columns.data<std::int32_t>()[1] == 3);
  EXPECT(rows.mutable_data<std::int32_t>() != source.data<std::int32_t>());
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "order is 9; pass DLB_ORDER_C", source.copy(static_cast<dlbridge::order>(9)));
}

TEST(what_does_not_fit_is_refused) {
  const tensor source = counting({2, 3}, 6);
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "shape", dlbridge::copy(source, dlbridge::empty<std::int32_t>({6})));
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "does not convert", dlbridge::copy(source, dlbridge::empty<float>({2, 3})));
  THROWS(DLB_ERROR_READ_ONLY, "read-only", dlbridge::copy(source, dlbridge::empty<std::int32_t>({2, 3}).read_only()));
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "", dlbridge::copy(tensor(), source));
  DLTensor elsewhere = source.view();
  elsewhere.device.device_type = kDLVulkan;
  const tensor there = tensor::borrow(elsewhere);
  const char *const first = "the source is on vulkan:0, and this is done in host memory; copy it to the host first (dlb_copy_async())";
  THROWS(DLB_ERROR_UNSUPPORTED, first, there.copy());
  THROWS(DLB_ERROR_UNSUPPORTED, first, dlbridge::cast<double>(there));
  THROWS(DLB_ERROR_UNSUPPORTED, "the destination is on vulkan:0, and this is done in host memory; pass one on the host",
         dlbridge::copy(source, there));
}

TEST(threads_can_be_counted_and_set) {
  const std::size_t usual = dlbridge::num_threads();
  dlbridge::set_num_threads(3);
  EXPECT(usual >= 1 && dlbridge::num_threads() == 3);
  dlbridge::set_num_threads(0);
  EXPECT(dlbridge::num_threads() == usual);
}

int main() { return harness::run(); }
