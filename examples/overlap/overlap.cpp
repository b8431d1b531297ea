/* overlap.c in C++: a camera thread that fills slots, a consumer that takes batches, a slow side each way. What a slot and a
 * batch own goes with them, so nothing is released by hand; a slot that was submitted is moved from. */
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <thread>
#include <utility>

#include "dlbridge.hpp"

namespace {

constexpr int frames = 30;
constexpr std::int64_t rows = 480, columns = 640;

void record(const dlbridge::staging &ring, std::chrono::milliseconds each) {
  try {
    for (int number = 0; number < frames; ++number) {
      // Waits while the consumer is behind: that is the back-pressure.
      dlbridge::slot slot = ring.acquire({{"frame", {rows, columns}, dlbridge::dtype_of<std::uint8_t>::get()}});
      std::this_thread::sleep_for(each);  // in place of this, a driver fills the pixels
      std::fill_n(slot[0].mutable_data<std::uint8_t>(), rows * columns, static_cast<std::uint8_t>(number));
      std::move(slot).submit();
    }
    ring.close();
  } catch (const std::exception &error) {
    ring.abort(error.what());  // the consumer gets the reason
  }
}

bool run(std::chrono::milliseconds load, std::chrono::milliseconds compute) {
  dlbridge::staging_options options;
  options.slots = 2;
  options.keep = 4;
  const dlbridge::staging ring(options);
  const auto begin = std::chrono::steady_clock::now();
  std::thread camera([ring, load] { record(ring, load); });
  int seen = 0, wrong = 0;
  while (const dlbridge::batch batch = ring.next()) {
    std::this_thread::sleep_for(compute);
    wrong += batch["frame"].data<std::uint8_t>()[rows * columns - 1] != seen++;
  }
  camera.join();
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  std::printf("camera %lld ms, consumer %lld ms: %.1f ms a frame; %d frames, %d wrong\n",
              static_cast<long long>(load.count()), static_cast<long long>(compute.count()), took.count() / frames, seen,
              wrong);
  return seen == frames && wrong == 0;
}

}  // namespace

int main() try {
  using std::chrono::milliseconds;
  return run(milliseconds(10), milliseconds(2)) && run(milliseconds(2), milliseconds(10)) ? 0 : 1;
} catch (const std::exception &error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
