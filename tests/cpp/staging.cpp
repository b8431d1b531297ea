/* dlbridge/staging.hpp: batches between threads, and slots and batches that have one owner. */
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "harness.hpp"

using dlbridge::batch;
using dlbridge::dtype_of;
using dlbridge::slot;
using dlbridge::staging;
using dlbridge::tensor;
using std::chrono::milliseconds;

static_assert(!std::is_copy_constructible<slot>::value && std::is_nothrow_move_constructible<slot>::value, "");
static_assert(std::is_nothrow_default_constructible<slot>::value && !std::is_convertible<slot, bool>::value, "");
static_assert(!std::is_copy_constructible<batch>::value && !std::is_convertible<batch, bool>::value, "");
static_assert(std::is_nothrow_copy_constructible<staging>::value, "");

namespace {

staging ring_of(std::size_t slots, std::size_t keep, dlbridge::staging_order order = dlbridge::staging_order::in_order) {
  dlbridge::staging_options options;
  options.slots = slots;
  options.keep = keep;
  options.order = order;
  return staging(options);
}

void put(const staging &ring, std::int64_t length, std::int32_t first) {
  slot filled = ring.acquire({{"values", {length}, dtype_of<std::int32_t>::get()}});
  std::int32_t *values = filled[0].mutable_data<std::int32_t>();
  for (std::int32_t at = 0; at < length; ++at) values[at] = first + at;
  std::move(filled).submit();
}

TEST(a_thread_loads_while_another_computes) {
  staging ring;
  std::thread producer([ring] {
    for (std::int32_t number = 0; number < 100; ++number) put(ring, 1 + number, number);
    ring.close();
  });
  std::int32_t seen = 0;
  while (batch next = ring.next()) {
    const tensor values = next["values"];
    EXPECT(values.shape()[0] == 1 + seen && values.data<std::int32_t>()[seen] == 2 * seen);
    EXPECT(next.size() == 1 && next.number() == static_cast<std::uint64_t>(seen));
    ++seen;
  }
  producer.join();
  EXPECT(seen == 100 && ring.totals().handed == 100);
}

staging made_of_nothing() { return {}; }

TEST(a_ring_is_a_member_of_aggregates_that_are_made_of_nothing) {
  EXPECT(made_of_nothing().get() != nullptr);
}

TEST(a_tensor_of_a_batch_keeps_its_memory) {
  const staging ring = ring_of(1, 1);
  put(ring, 4, 10);
  const tensor kept = ring.next()[0];
  put(ring, 4, 20);
  EXPECT(kept.data<std::int32_t>()[3] == 13);
  EXPECT(ring.next()[0].data<std::int32_t>()[3] == 23);
}

TEST(what_was_copied_in_comes_out_on_a_stream) {
  staging ring;
  slot filled = ring.acquire({{"", {3}, dtype_of<float>::get()}});
  filled.fill(0, tensor::from_vector(std::vector<float>{1, 2, 3}, {3}));
  std::move(filled).submit();
  EXPECT(filled.get() == nullptr);
  dlbridge::stream on;
  batch next = ring.next(on, milliseconds(0));
  EXPECT(next[0].data<float>()[2] == 3);
  next.release(on);
  EXPECT(!next);
}

TEST(slots_and_batches_can_be_looped_over) {
  const staging ring;
  slot filled;
  EXPECT(!filled && filled.size() == 0 && filled.begin() == filled.end());
  filled = ring.acquire({{"x", {2}, dtype_of<float>::get()}, {"", {3}, dtype_of<float>::get()}});
  EXPECT(filled && filled.size() == 2);
  for (const tensor &each : filled) each.mutable_data<float>()[0] = static_cast<float>(each.size());
  std::move(filled).submit();
  EXPECT(!filled);
  std::string names;
  std::vector<tensor> kept;
  const batch next = ring.next();
  for (std::size_t index = 0; index < next.size(); ++index) names += next.name(index) + ";";
  for (const tensor &each : next) kept.push_back(each);
  EXPECT(names == "x;1;" && next.name(2).empty());
  EXPECT(kept.size() == 2 && kept[0].data<float>()[0] == 2 && kept[1].data<float>()[0] == 3);
}

TEST(batches_come_out_as_they_were_submitted_on_request) {
  for (const dlbridge::staging_order order : {dlbridge::staging_order::first_come, dlbridge::staging_order::in_order}) {
    const staging ring = ring_of(2, 0, order);
    slot first = ring.acquire({{"", {1}, dtype_of<float>::get()}});
    put(ring, 1, 0);
    std::move(first).submit();
    EXPECT(ring.next().number() == (order == dlbridge::staging_order::first_come ? 1 : 0));
  }
}

TEST(errors_are_thrown) {
  const staging ring = ring_of(1, 0);
  THROWS(DLB_ERROR_TIMEOUT, "within 0 ms", ring.next(milliseconds(0)));
  THROWS(DLB_ERROR_TIMEOUT, "within 1 ms", ring.next(std::chrono::duration<double>(0.001)));
  THROWS(DLB_ERROR_TIMEOUT, "", ring.next(dlbridge::stream(), milliseconds(0)));
  {
    slot given_up = ring.acquire({{"", {1}, dtype_of<float>::get()}});
    THROWS(DLB_ERROR_TIMEOUT, "", ring.acquire({{"", {1}, dtype_of<float>::get()}}, milliseconds(0)));
  }
  const dlbridge::leaf one = {"values", {1}, dtype_of<float>::get()};
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "two tensors of a batch are called \"values\"; give each a name of its own",
         ring.acquire({one, one}));
  put(ring, 1, 0);
  const batch only = ring.next();
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "no tensor \"nothing\"; it has \"values\"", only["nothing"]);
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "the batch has 1 tensors and no number 7; pass 0 to 0", only[7]);
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "the batch is empty", batch()[0]);
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "the batch is empty", batch()["values"]);
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "the slot is empty", slot()[0]);
  ring.abort("enough");
  THROWS(DLB_ERROR_CLOSED, "", ring.next());
  THROWS(DLB_ERROR_CLOSED, "", put(ring, 1, 0));
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "", ring_of(2, 0, static_cast<dlbridge::staging_order>(7)));
  dlbridge::staging_options elsewhere;
  elsewhere.device.device_type = kDLVulkan;
  THROWS(DLB_ERROR_UNAVAILABLE, "vulkan", staging(elsewhere));
}

}  // namespace

int main() { return harness::run(); }
