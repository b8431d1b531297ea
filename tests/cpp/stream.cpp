/* dlbridge/stream.hpp: copies that go on, and handles that share a stream or an event. */
#include <future>
#include <thread>

#include "harness.hpp"

using dlbridge::copy_async;
using dlbridge::event;
using dlbridge::stream;
using dlbridge::tensor;

static_assert(std::is_nothrow_move_constructible<stream>::value && std::is_nothrow_copy_constructible<event>::value, "");
static_assert(std::is_nothrow_move_assignable<event>::value && !std::is_convertible<event, bool>::value, "");
static_assert(!std::is_convertible<DLDevice, stream>::value, "");

/** Members of aggregates that are made with {}. */
stream made_of_nothing() { return {}; }

namespace {

tensor counting(std::size_t size) {
  std::vector<float> values(size);
  for (std::size_t index = 0; index < size; ++index) values[index] = static_cast<float>(index + 1);
  return tensor::from_vector(std::move(values), {static_cast<std::int64_t>(size)});
}

tensor zeros(std::size_t size) {
  return tensor::from_vector(std::vector<float>(size), {static_cast<std::int64_t>(size)});
}

/** Holds a stream up until it is opened: a source whose owner blocks the stream's thread when it is let go there. Where
 * this thread happens to be the last to let go, it is tried again. */
class gate {
 public:
  explicit gate(const stream &on) {
    std::shared_future<void> opened = open_.get_future().share();
    const std::thread::id here = std::this_thread::get_id();
    bool missed = true;
    while (missed) {
      missed = false;
      tensor source = tensor::wrap(&element_, {1}, [&missed, here, opened] {
        if (std::this_thread::get_id() == here) {
          missed = true;
        } else {
          opened.wait();
        }
      });
      copy_async(source, zeros(1), on);
    }
  }
  void open() { open_.set_value(); }

 private:
  std::promise<void> open_;
  float element_ = 0;
};

TEST(an_export_on_a_stream_waits_for_nothing_here) {
  const stream on;
  const tensor destination = zeros(100);
  gate held(on);
  copy_async(counting(100), destination, on);
  const dlbridge::managed_tensor out = dlbridge::export_on(destination, on);
  held.open();
  on.synchronize();
  EXPECT(static_cast<const float *>(out->dl_tensor.data)[99] == 100);
}

TEST(a_copy_goes_on_and_the_data_waits_for_it) {
  stream on;
  const tensor source = counting(100), destination = zeros(100);
  gate held(on);
  const event done = copy_async(source, destination, on);
  EXPECT(!done.done());
  EXPECT(!done.wait_for(std::chrono::milliseconds(5)));
  EXPECT(!done.wait_for(std::chrono::nanoseconds(0)));
  std::thread opener([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    held.open();
  });
  EXPECT(destination.data<float>()[99] == 100);
  EXPECT(done.done() && done.wait_for(std::chrono::hours::max()));
  done.wait();
  opener.join();
}

TEST(a_description_that_cannot_be_had_says_why) {
  const stream on;
  const tensor destination = zeros(3);
  std::promise<std::string> said;
  std::promise<void> queued;
  std::shared_future<void> is_queued = queued.get_future().share();
  float element = 0;
  gate held(on);  // so that the copy, and not this thread, is the last to hold the source
  tensor source = tensor::wrap(&element, {1}, [&said, &destination, is_queued] {
    is_queued.wait();
    try {
      destination.shape();
      said.set_value("nothing");
    } catch (const dlbridge::error &error) {
      said.set_value(error.what());
    }
  });
  copy_async(source, zeros(1), on);
  copy_async(counting(3), destination, on);
  source = tensor();
  held.open();
  queued.set_value();
  const std::string words = said.get_future().get();
  EXPECT(words.find("the stream's own thread") != std::string::npos);
  EXPECT(destination.shape()[0] == 3);
}

TEST(streams_wait_for_events) {
  const stream one, other;
  const tensor source = counting(3), destination = zeros(3);
  gate held(one);
  copy_async(source, destination, one);
  other.wait_event(one.record());
  const event last = other.record();
  EXPECT(!last.done());
  EXPECT(!other.synchronize_for(std::chrono::milliseconds(5)));
  held.open();
  EXPECT(other.synchronize_for(std::chrono::minutes(10)));
  other.synchronize();
  EXPECT(last.done());
  EXPECT(destination.data<float>()[2] == 3);
}

TEST(handles_are_copied_moved_and_shared) {
  stream on;
  event done = on.record(), copied = done, moved = std::move(done);
  EXPECT(!done && copied.get() == moved.get() && moved.done());
  stream again = on, taken = std::move(on);
  EXPECT(!on && again.get() == taken.get());
  again = taken;
  again.synchronize();
  EXPECT(event().done() && !event());
  EXPECT(made_of_nothing() && made_of_nothing().device().device_type == kDLCPU);
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "event is NULL", event().wait());
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "stream is NULL; pass a valid pointer, in C++ a handle that is not empty", on.record());
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "the stream is empty", dlbridge::upload(zeros(1), on));
}

TEST(a_future_gives_its_tensor_away_when_it_is_done) {
  const stream on;
  gate held(on);
  dlbridge::future later = dlbridge::download(counting(100), on);
  EXPECT(later.valid() && !later.done());
  EXPECT(!later.wait_for(std::chrono::milliseconds(5)));
  held.open();
  later.wait();
  EXPECT(later.done() && later.wait_for(std::chrono::hours(1)));
  const tensor here = later.get();
  EXPECT(!later.valid() && here.data<float>()[99] == 100);
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "get() has given its tensor away", later.get());
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "the future is empty", dlbridge::future().wait());
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "the future is empty", later.wait_for(std::chrono::seconds(1)));
}

/** Where there is a driver, or its stand-in, that is the device; a stream of the CPU is one too. */
DLDevice any_device() {
  const DLDevice cuda{kDLCUDA, 0};
  return dlb_device_check(cuda) == DLB_OK ? cuda : DLDevice{kDLCPU, 0};
}

TEST(there_and_back_again_is_two_copies) {
  const stream on(any_device());
  EXPECT(on.device().device_type == any_device().device_type);
  const auto count = [](const dlb_transfer_counts &counts) {
    return counts.host_to_host + counts.host_to_device + counts.device_to_host + counts.device_to_device;
  };
  const std::uint64_t before = count(dlbridge::transfer_stats());
  const tensor there = dlbridge::upload(counting(1000), on);
  dlbridge::future later = dlbridge::download(there, on);
  EXPECT(count(dlbridge::transfer_stats()) == before + 2);
  EXPECT(later.get().data<float>()[999] == 1000);
}

TEST(streams_of_others_are_taken_where_there_are_any) {
  if (any_device().device_type == kDLCPU) {
    THROWS(DLB_ERROR_UNSUPPORTED, "no native streams", stream().native());
    THROWS(DLB_ERROR_UNSUPPORTED, "no native streams", stream::from_native(DLDevice{kDLCPU, 0}, nullptr));
    THROWS(DLB_ERROR_UNAVAILABLE, "no streams on cuda:0 here", stream::from_native(DLDevice{kDLCUDA, 0}, nullptr));
    return;
  }
  const stream own(any_device()), same = stream::from_native(any_device(), own.native());
  EXPECT(same.native() == own.native());
  const tensor there = dlbridge::upload(counting(1000), same);
  EXPECT(dlbridge::download(there, stream::from_native(any_device(), nullptr)).get().data<float>()[999] == 1000);
  same.synchronize();  // which lets go of the upload
}

TEST(what_cannot_be_done_is_refused) {
  const stream on;
  EXPECT(!dlbridge::devices().empty() && dlbridge::devices()[0].device_type == kDLCPU);
  THROWS(DLB_ERROR_UNAVAILABLE, "cuda:63 cannot be used here", stream(DLDevice{kDLCUDA, 63}));
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "shape [3]", copy_async(counting(3), zeros(4), on));
  THROWS(DLB_ERROR_READ_ONLY, "read-only", copy_async(counting(3), zeros(3).read_only(), on));
}

}  // namespace

int main() { return harness::run(); }
