/* dlbridge/memory.hpp: tensors on memory of their own. */
#include <algorithm>
#include <array>
#include <cstdlib>
#include <thread>

#include "harness.hpp"

using dlbridge::allocator;
using dlbridge::tensor;

static_assert(std::is_nothrow_move_constructible<allocator>::value, "");
static_assert(std::is_nothrow_copy_constructible<allocator>::value, "");
static_assert(std::is_nothrow_move_assignable<allocator>::value, "");

namespace {

struct book {
  int allocated = 0, freed = 0, ended = 0;
  std::size_t bytes = 0;
};

/** Writes down what it does; at its end too. */
struct arena {
  explicit arena(book &entries) : entries_(&entries) {}
  arena(arena &&other) noexcept : entries_(other.entries_) { other.entries_ = nullptr; }
  ~arena() {
    if (entries_ != nullptr) ++entries_->ended;
  }

  void *allocate(std::size_t bytes, std::size_t alignment) {
    if (bytes > 1000000) throw std::bad_alloc();
    ++entries_->allocated;
    entries_->bytes += bytes;
    void *data = nullptr;
    return posix_memalign(&data, alignment, bytes) == 0 ? data : nullptr;
  }
  void deallocate(void *data, std::size_t bytes, std::size_t) noexcept {
    ++entries_->freed;
    entries_->bytes -= bytes;
    std::free(data);
  }

 private:
  book *entries_;
};

}  // namespace

TEST(p10_own_memory_is_aligned_and_writable) {
  const tensor small = dlbridge::empty<float>({3, 5}), large = dlbridge::empty<std::uint8_t>({3 << 20});
  for (const tensor &each : {small, large}) {
    EXPECT(each.alignment() >= 256 && !each.is_read_only() && each.is_contiguous());
  }
  for (int index = 0; index < 15; ++index) small.mutable_data<float>()[index] = 1.5f;
  EXPECT(small.ndim() == 2 && small.shape()[1] == 5 && small.data<float>()[14] == 1.5f);
  EXPECT(dlbridge::empty({2}, dlbridge::parse_dtype("bfloat16"), allocator(), 4096).alignment() >= 4096);
  EXPECT(dlbridge::empty<double>({}).size() == 1 && dlbridge::empty<double>({0}).alignment() == 0);
}

TEST(zeros_are_zeros_in_memory_that_was_used) {
  for (int turn = 0; turn < 2; ++turn) {
    const tensor made = dlbridge::zeros<std::int32_t>({700, 1000});
    const std::int32_t *values = made.data<std::int32_t>();
    EXPECT(std::all_of(values, values + 700000, [](std::int32_t value) { return value == 0; }));
    std::fill_n(made.mutable_data<std::int32_t>(), 700000, 7);
  }
  EXPECT(dlbridge::zeros({2}, dlbridge::parse_dtype("bfloat16"), allocator(), 4096).alignment() >= 4096);
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "dimension 0 of the shape is -1", dlbridge::zeros<float>({-1}));
}

TEST(what_makes_no_sense_throws) {
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "dimension 0 of the shape is -1", dlbridge::empty<float>({-1}));
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "alignment 3", dlbridge::empty<float>({1}, allocator(), 3));
  THROWS(DLB_ERROR_OUT_OF_MEMORY, "1125899906842624 bytes", dlbridge::empty<std::uint8_t>({std::int64_t(1) << 50}));
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "129 dimensions", dlbridge::empty<float>(std::vector<std::int64_t>(200, 1)));
}

TEST(an_object_of_the_program_gives_the_memory) {
  book entries;
  {
    allocator mine = allocator::of(arena(entries));
    tensor first = dlbridge::empty<float>({100}, mine);
    mine = allocator();
    EXPECT(entries.bytes == 400 && entries.ended == 0);
    const tensor view = first.slice(0, 0, 50);
    first = tensor();
    EXPECT(entries.freed == 0);
  }
  EXPECT(entries.allocated == 1 && entries.freed == 1 && entries.ended == 1 && entries.bytes == 0);
}

TEST(an_exception_of_its_is_out_of_memory) {
  book entries;
  const allocator mine = allocator::of(arena(entries));
  THROWS(DLB_ERROR_OUT_OF_MEMORY, "1000001 bytes", dlbridge::empty<std::uint8_t>({1000001}, mine));
  EXPECT(entries.allocated == 0);
}

TEST(an_allocator_that_is_not_made_takes_nothing) {
  book entries;
  arena object(entries);
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "device(type=77, id=0)", allocator::of(std::move(object), DLDevice{DLDeviceType(77), 0}));
  EXPECT(entries.ended == 0);
}

TEST(a_pool_reuses_and_gives_back) {
  book entries;
  {
    const allocator pool = allocator::pool(allocator::of(arena(entries)), 900000);
    for (int turn = 0; turn < 4; ++turn) dlbridge::empty<std::uint8_t>({300000}, pool);
    EXPECT(entries.allocated == 1 && pool.stats().hits == 3 && pool.stats().cached >= 300000);
    THROWS(DLB_ERROR_OUT_OF_MEMORY, "the pool's limit of 900000", dlbridge::empty<std::uint8_t>({900001}, pool));
    EXPECT(pool.stats().cached == entries.bytes);  // what could not make room stayed
    EXPECT(pool.trim() >= 300000 && entries.bytes == 0);
    dlbridge::empty<std::uint8_t>({300000}, pool);
    pool.limit(1000);
    EXPECT(entries.bytes == 0);
    dlbridge::empty<std::uint8_t>({500}, pool);
    EXPECT(entries.bytes == 512);
  }
  EXPECT(entries.bytes == 0 && entries.ended == 1);
}

TEST(the_shared_one_is_a_pool_and_the_hosts_is_not) {
  const allocator shared, host = allocator::host();
  shared.trim();
  const auto before = shared.stats();
  dlbridge::empty<std::uint8_t>({2 << 20});
  EXPECT(shared.stats().allocations == before.allocations + 1 && shared.trim() == 2 << 20);
  dlbridge::empty<std::uint8_t>({2 << 20}, host);
  EXPECT(shared.stats().allocations == before.allocations + 1);
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "dlb_allocator_pool", host.stats());
}

TEST(threads_share_a_pool) {
  const allocator pool = allocator::pool();
  std::vector<std::thread> threads;
  for (int seed = 0; seed < 8; ++seed) {
    threads.emplace_back([pool, seed] {
      for (int turn = 0; turn < 200; ++turn) {
        const tensor mine = dlbridge::empty<std::int32_t>({1000 + turn}, pool);
        mine.mutable_data<std::int32_t>()[turn] = seed;
        if (mine.data<std::int32_t>()[turn] != seed) std::abort();
      }
    });
  }
  for (std::thread &thread : threads) thread.join();
  EXPECT(pool.stats().held == 0 && pool.stats().allocations == 1600);
}

TEST(a_tensor_like_another_has_its_shape_dtype_and_place) {
  const tensor turned = dlbridge::zeros<std::int16_t>({3, 5}).permute({1, 0});
  const tensor like = dlbridge::empty_like(turned), zeros = dlbridge::zeros_like(turned);
  for (const tensor &each : {like, zeros}) {
    EXPECT(each.ndim() == 2 && each.shape()[0] == 5 && each.is<std::int16_t>() && each.is_contiguous());
    EXPECT(each.device().device_type == kDLCPU && each.get() != turned.get());
  }
  EXPECT(dlbridge::equal(zeros, turned));
  book entries;
  const allocator elsewhere = allocator::of(arena(entries), DLDevice{kDLVulkan, 0});
  const tensor there = dlbridge::empty_like(turned, elsewhere);
  EXPECT(there.device().device_type == kDLVulkan && entries.bytes == 30);
  THROWS(DLB_ERROR_UNAVAILABLE, "vulkan:0", dlbridge::empty_like(there));  // where it is, and not somewhere else
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "empty", dlbridge::empty_like(tensor()));
}

TEST(pinned_memory_is_the_hosts_or_the_reason_is_said) {
  std::vector<float> samples(100000);
  const DLDevice cuda{kDLCUDA, 0};
  if (dlb_device_check(cuda) != DLB_OK) {
    THROWS(DLB_ERROR_UNAVAILABLE, "libcuda", allocator::pinned());
    THROWS(DLB_ERROR_UNAVAILABLE, "libcuda", allocator::device(cuda));
    THROWS(DLB_ERROR_UNAVAILABLE, "libcuda", dlbridge::pin(samples.data(), samples.size() * sizeof(float)));
    return;
  }
  const tensor pinned = dlbridge::empty<float>({300, 1000}, allocator::pinned());
  EXPECT(pinned.device().device_type == kDLCUDAHost);
  EXPECT(dlbridge::zeros_like(pinned).device().device_type == kDLCUDAHost);
  pinned.mutable_data<float>()[299999] = 1;
  EXPECT(dlbridge::empty<float>({300, 1000}, allocator::device(cuda)).device().device_type == kDLCUDA);
  dlbridge::pin outer(samples.data(), samples.size() * sizeof(float)), inner(samples.data(), 4), none;
  none = std::move(outer);
  EXPECT(none && !outer && inner);
  inner = std::move(none);
  EXPECT(inner && !none);
}

TEST(the_cpu_is_a_device_too) {
  const DLDevice cpu{kDLCPU, 0};
  EXPECT(dlbridge::empty<float>({3}, allocator::device(cpu)).device().device_type == kDLCPU);
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "data is NULL", dlbridge::pin(nullptr, 3));
}

int main() { return harness::run(); }
