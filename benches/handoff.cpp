/* What a hand-off costs: dlbridge beside dlpark 0.10.0 and libtorch, in one process and one run, in nanoseconds.
 *
 * Every contestant does the same job on the same layout, from a buffer of float32 that somebody else owns; rounds
 * take turns, and the median counts. dlpark's loops run inside Rust, where the compiler inlines all of dlpark;
 * dlbridge's run here, in C++, and cross the C ABI at every call. Both box the owner, but where it says C. libtorch
 * is called as its own C++ users call it. In the round trips dlbridge knows its own export when it comes back
 * unchanged; "import" alone is that of somebody else's struct, and dlpark's import shares nothing: it keeps the
 * struct as it is. No time is asserted: the table says whether the goals are met.
 */
#include <ATen/ATen.h>
#include <ATen/DLConvertor.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "dlbridge.hpp"
#include "dlbridge/torch.hpp"

using dlbridge::managed_tensor;
using dlbridge::tensor;

namespace {

constexpr std::size_t rounds = 41, times = 4000;

/** What benches/dlpark_peer declares as well: a buffer somebody else owns, whose releases are counted. */
struct buffer {
  void *data;
  std::size_t ndim;
  const std::int64_t *shape;
  const std::int64_t *strides;
  std::uint64_t *released;
};

extern "C" {
void dlpark_produce(const buffer &, std::size_t times);
void dlpark_export(const buffer &, std::size_t times);
void dlpark_import(DLManagedTensorVersioned *, std::size_t times);
void dlpark_round_trip(const buffer &, std::size_t times);
}

using loop = std::function<void()>;

/** Runs a job `times` over; the job is a template argument, so it is inlined. */
template <class Job>
loop repeat(Job job) {
  return [job] {
    for (std::size_t time = 0; time < times; ++time) job();
  };
}

/** One way to do a job, and how often one run of it releases the buffer. None, where it has no such way. */
struct contestant {
  loop run;
  std::size_t releases = 0;
  std::vector<double> samples = {};

  void measure(const std::uint64_t &released) {
    if (!run) return;
    const std::uint64_t before = released;
    const auto start = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - start;
    samples.push_back(taken.count() / times);
    if (released - before != releases) throw std::logic_error("a buffer was not released as often as it was taken");
  }

  double median() {
    std::nth_element(samples.begin(), samples.begin() + samples.size() / 2, samples.end());
    return samples[samples.size() / 2];
  }
};

/** One line of the table. */
struct row {
  const char *job;
  contestant dlbridge, dlpark, libtorch;
};

constexpr const char *torch_goal = "round trip: export, import, release";

/** All that the jobs of one layout need; it stays where it is. */
class layout {
 public:
  layout(const char *name, std::vector<std::int64_t> shape, std::vector<std::int64_t> strides)
      : name(name), shape_(std::move(shape)), strides_(std::move(strides)) {
    description_.data = memory();
    description_.device = {kDLCPU, 0};
    description_.ndim = static_cast<std::int32_t>(shape_.size());
    description_.dtype = {kDLFloat, 32, 1};
    description_.shape = shape_.data();
    description_.strides = strides_.data();
    managed_.version = {1, 3};
    managed_.manager_ctx = &released_;
    managed_.deleter = [](DLManagedTensorVersioned *self) { ++*static_cast<std::uint64_t *>(self->manager_ctx); };
    managed_.dl_tensor = description_;
    mine_ = tensor::borrow(description_);
    theirs_ = at::from_blob(memory(), shape_, strides_, at::kFloat);
    add_rows();
  }
  layout(const layout &) = delete;

  const std::string name;
  std::vector<row> rows;

  const std::uint64_t &released() const { return released_; }

 private:
  static void *memory() {
    static std::vector<float> elements(1 << 20);
    return elements.data();
  }

  tensor wrap() {
    return tensor::wrap(description_, [this] { ++released_; });
  }
  at::Tensor from_blob() {
    return at::from_blob(memory(), shape_, strides_, [this](void *) { ++released_; }, at::kFloat);
  }
  managed_tensor torch_export(const at::Tensor &source) { return managed_tensor(at::toDLPackVersioned(source)); }
  at::Tensor torch_import(managed_tensor managed) { return at::fromDLPackVersioned(managed.release()); }

  void wrap_in_c() {
    dlb_tensor *raw = nullptr;
    DLManagedTensorVersioned *out = nullptr;
    const auto release = [](void *counter) { ++*static_cast<std::uint64_t *>(counter); };
    dlb_tensor_wrap(&description_, 0, release, &released_, &raw);
    dlb_tensor_export(raw, &out);
    dlb_tensor_release(raw);
    out->deleter(out);
  }

  void add_rows() {
    rows = {
        {"wrap, export, delete",
         {repeat([this] { wrap().export_(); }), times},
         {[this] { dlpark_produce(buffer_, times); }, times},
         {repeat([this] { torch_export(from_blob()); }), times}},
        {"the same in C, where nothing is boxed",
         {repeat([this] { wrap_in_c(); }), times},
         {[this] { dlpark_produce(buffer_, times); }, times},
         {}},
        {"import, release",
         {repeat([this] { tensor::import_(&managed_); }), times},
         {[this] { dlpark_import(&managed_, times); }, times},
         {repeat([this] { torch_import(managed_tensor(&managed_)); }), times}},
        {"wrap, export, import, release",
         {repeat([this] { tensor::import_(wrap().export_()); }), times},
         {[this] { dlpark_round_trip(buffer_, times); }, times},
         {repeat([this] { torch_import(torch_export(from_blob())); }), times}},
        {"export, delete (dlpark: an Arc as owner)",
         {repeat([this] { mine_.export_(); })},
         {[this] { dlpark_export(buffer_, times); }, 1},
         {repeat([this] { torch_export(theirs_); })}},
        {torch_goal,
         {repeat([this] { tensor::import_(mine_.export_()); })},
         {},
         {repeat([this] { torch_import(torch_export(theirs_)); })}},
        {"to_torch (libtorch: fromDLPackVersioned)",
         {repeat([this] { dlbridge::to_torch(mine_); })},
         {},
         {repeat([this] { torch_import(managed_tensor(&managed_)); }), times}},
        {"from_torch (libtorch: toDLPackVersioned)",
         {repeat([this] { dlbridge::from_torch(theirs_); })},
         {},
         {repeat([this] { torch_export(theirs_); })}},
    };
  }

  std::vector<std::int64_t> shape_, strides_;
  std::uint64_t released_ = 0;
  DLTensor description_ = DLTensor();
  DLManagedTensorVersioned managed_ = DLManagedTensorVersioned();
  buffer buffer_ = {memory(), shape_.size(), shape_.data(), strides_.data(), &released_};
  tensor mine_;
  at::Tensor theirs_;
};

/** The worst ratio of a goal over all rows that have it. */
struct verdict {
  const char *words;
  double wanted;
  double worst = 1e9;

  void see(double ratio) { worst = std::min(worst, ratio); }
  void print() const {
    std::printf("%-58s %.2f (goal %.1f): %s\n", words, worst, wanted, worst >= wanted ? "met" : "NOT met");
  }
};

void print_peer(contestant &peer, double ours) {
  if (peer.samples.empty()) {
    std::printf("  %19s", "-");
  } else {
    std::printf("  %9.1f %8.2fx", peer.median(), peer.median() / ours);
  }
}

void print(layout &layout, verdict &beside_dlpark, verdict &beside_libtorch) {
  std::printf("\n%-42s %10s  %19s  %19s\n", layout.name.c_str(), "dlbridge", "dlpark", "libtorch");
  for (row &row : layout.rows) {
    const double ours = row.dlbridge.median();
    std::printf("  %-40s %10.1f", row.job, ours);
    print_peer(row.dlpark, ours);
    print_peer(row.libtorch, ours);
    std::printf("\n");
    if (!row.dlpark.samples.empty()) beside_dlpark.see(row.dlpark.median() / ours);
    if (row.job == torch_goal) beside_libtorch.see(row.libtorch.median() / ours);
  }
}

}  // namespace

int main() {
  layout layouts[] = {
      {"1-d, 1000", {1000}, {1}},
      {"1-d, 333 of every third", {333}, {3}},
      {"4-d, 2 x 3 x 64 x 80", {2, 3, 64, 80}, {15360, 5120, 80, 1}},
      {"4-d, 1 x 7 x 1 x 5 transposed", {1, 7, 1, 5}, {99, 1, 3, 7}},
  };
  for (std::size_t round = 0; round < rounds; ++round) {
    for (layout &layout : layouts) {
      for (row &row : layout.rows) {
        for (contestant *each : {&row.dlbridge, &row.dlpark, &row.libtorch}) each->measure(layout.released());
      }
    }
  }
  std::printf("Nanoseconds, medians of %zu rounds of %zu; x: how many times as long as dlbridge.\n", rounds, times);
  verdict beside_dlpark = {"dlpark's time over ours, worst row", 1.0};
  verdict beside_libtorch = {"libtorch's round trip over ours, worst row", 3.0};
  for (layout &layout : layouts) print(layout, beside_dlpark, beside_libtorch);
  std::printf("\n");
  beside_dlpark.print();
  beside_libtorch.print();
}
