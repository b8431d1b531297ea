/* A buffer that the program owns becomes a torch tensor: torch changes it, the program reads the change back. */
#include <cstdio>
#include <vector>

#include "dlbridge.hpp"
#include "dlbridge/torch.hpp"

int main() {
  std::vector<float> samples = {1, 2, 3, 4, 5, 6};  // stays ours: torch borrows it

  const dlbridge::tensor mine = dlbridge::tensor::wrap(samples.data(), {2, 3}, [] { std::puts("torch is done"); });
  at::Tensor theirs = dlbridge::to_torch(mine);
  std::printf("our samples %p, torch's %p\n", static_cast<void *>(samples.data()), theirs.data_ptr());

  theirs.mul_(10);
  std::printf("our samples are %g to %g now\n", samples.front(), samples.back());

  // And back: a tensor that torch made, read as plain memory.
  at::Tensor sums = theirs.sum(1);
  const dlbridge::tensor read = dlbridge::from_torch(sums);
  const float *values = read.data<float>();
  std::printf("torch's sums %p, ours %p: %g, %g\n", sums.data_ptr(), static_cast<const void *>(values), values[0],
              values[1]);

  // What cannot be shared is refused, in words.
  try {
    dlbridge::to_torch(mine.read_only());
  } catch (const dlbridge::error &error) {
    std::printf("refused: %s\n", error.what());
  }
  return samples[5] == 60 && values[1] == 150 ? 0 : 1;
}
