#include <dlbridge.hpp>

int main() {
  std::vector<float> samples(6);
  const float *data = samples.data();
  {
    dlbridge::tensor mine = dlbridge::tensor::from_vector(std::move(samples), {2, 3});
    dlbridge::managed_tensor handed = mine.export_();
    if (handed->dl_tensor.data != data) return 1;
    const dlbridge::tensor theirs = dlbridge::tensor::import_(std::move(handed));
    if (theirs.data<float>() != data || theirs.shape()[1] != 3) return 2;
  }
  return dlb_live_tensors() || dlb_live_exports() ? 3 : 0;
}
