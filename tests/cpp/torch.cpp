/* dlbridge/torch.hpp with a real libtorch. ATen comes first here, so that its copy of dlpack.h is the one in use; the
 * example includes it last. */
#include <ATen/ATen.h>
#include <ATen/DLConvertor.h>
#include <torch/version.h>

#include <atomic>
#include <thread>

#include "dlbridge/torch.hpp"
#include "harness.hpp"

/* What came with a later libtorch than the oldest tested. */
#define TORCH_SINCE(major, minor) \
  (TORCH_VERSION_MAJOR > (major) || (TORCH_VERSION_MAJOR == (major) && TORCH_VERSION_MINOR >= (minor)))

using dlbridge::from_torch;
using dlbridge::tensor;
using dlbridge::to_torch;

namespace {

const auto nobody = [] {};

/** A description of 12 elements of zeros, on whatever device and of whatever dtype it claims. */
struct twelve {
  alignas(16) char memory[12 * 16] = {};
  std::int64_t shape[2] = {3, 4};
  DLTensor description = {memory, {kDLCPU, 0}, 2, {kDLFloat, 32, 1}, shape, nullptr, 0};

  explicit twelve(const char *dtype = "float32") { description.dtype = dlbridge::parse_dtype(dtype); }
};

tensor ramp(std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t index = 0; index < values.size(); ++index) values[index] = static_cast<float>(index);
  return tensor::from_vector(std::move(values), {count});
}

}  // namespace

// --- to_torch ---

TEST(both_sides_see_one_memory) {
  const tensor mine = ramp(6);
  const at::Tensor theirs = to_torch(mine.reshape({2, 3}));
  EXPECT(theirs.data_ptr() == mine.data<float>() && theirs.sizes() == at::IntArrayRef({2, 3}));
  theirs.mul_(10);
  EXPECT(mine.data<float>()[5] == 50);
  mine.mutable_data<float>()[0] = -1;
  EXPECT(theirs[0][0].item<float>() == -1);
}

TEST(torch_keeps_the_owner_alive) {
  int calls = 0;
  float values[6] = {};
  at::Tensor theirs = to_torch(tensor::wrap(values, {6}, [&calls] { ++calls; }));
  at::Tensor view = theirs.slice(0, 2, 4);
  theirs.reset();
  EXPECT(calls == 0);
  view.reset();
  EXPECT(calls == 1);
}

TEST(torch_lets_go_on_any_thread) {
  std::atomic<int> calls{0};
  float values[6] = {};
  at::Tensor theirs = to_torch(tensor::wrap(values, {6}, [&calls] { ++calls; }));
  std::thread([taken = std::move(theirs)]() mutable { taken.reset(); }).join();
  EXPECT(calls == 1);
}

TEST(strides_come_along) {
  const tensor mine = ramp(24).reshape({2, 3, 4});
  const at::Tensor theirs = to_torch(mine.permute({2, 0, 1}).slice(0, 1, 4, 2));
  EXPECT(theirs.sizes() == at::IntArrayRef({2, 2, 3}) && theirs.strides() == at::IntArrayRef({2, 12, 4}));
  EXPECT(theirs[1][1][2].item<float>() == 23);
}

TEST(empty_and_0d_tensors_come_along_and_leak_nothing) {
  int calls = 0;
  float value = 7;
  const auto count = [&calls] { ++calls; };
  EXPECT(to_torch(tensor::wrap(&value, {3, 0}, count)).sizes() == at::IntArrayRef({3, 0}));
  EXPECT(to_torch(tensor::wrap(&value, {}, count)).item<float>() == 7);
  EXPECT(calls == 2);
}

TEST(every_dtype_torch_has_comes_along) {
  const std::pair<const char *, at::ScalarType> dtypes[] = {
      {"uint8", at::kByte},
      {"int8", at::kChar},
      {"int16", at::kShort},
      {"int32", at::kInt},
      {"int64", at::kLong},
      {"float16", at::kHalf},
      {"bfloat16", at::kBFloat16},
      {"float32", at::kFloat},
      {"float64", at::kDouble},
      {"bool", at::kBool},
      {"complex32", at::kComplexHalf},
      {"complex64", at::kComplexFloat},
      {"complex128", at::kComplexDouble},
#if TORCH_SINCE(2, 3)
      {"uint16", at::kUInt16},
      {"uint32", at::kUInt32},
      {"uint64", at::kUInt64},
#endif
#if TORCH_SINCE(2, 9)
      {"float8_e5m2", at::kFloat8_e5m2},
      {"float8_e4m3fn", at::kFloat8_e4m3fn},
      {"float8_e8m0fnu", at::kFloat8_e8m0fnu},
      {"float4_e2m1fnx2", at::kFloat4_e2m1fn_x2},
#endif
  };
  for (const auto &[name, expected] : dtypes) {
    twelve memory(name);
    const at::Tensor theirs = to_torch(tensor::wrap(memory.description, nobody));
    EXPECT(theirs.scalar_type() == expected && theirs.data_ptr() == memory.memory);
    EXPECT(dlbridge::to_string(from_torch(theirs).dtype()) == name);
  }
}

TEST(read_only_tensors_are_refused_unless_aliasing_is_asked_for) {
  const tensor mine = ramp(6).read_only();
  THROWS(DLB_ERROR_READ_ONLY, "dlbridge::read_only::alias", to_torch(mine));
  THROWS(DLB_ERROR_READ_ONLY, "read-only", to_torch(ramp(1).expand({4})));
  EXPECT(to_torch(mine, dlbridge::read_only::alias).data_ptr() == mine.data<float>());
  EXPECT(to_torch(ramp(1).expand({4}), dlbridge::read_only::alias).strides() == at::IntArrayRef({0}));
}

TEST(negative_strides_are_refused_with_a_remedy_that_works) {
  const tensor reversed = ramp(12).reshape({3, 4}).slice(1, DLB_SLICE_END, DLB_SLICE_END, -1);
  THROWS(DLB_ERROR_UNSUPPORTED, "stride -1 of axis 1", to_torch(reversed));
  THROWS(DLB_ERROR_UNSUPPORTED, "slice(1, DLB_SLICE_END, DLB_SLICE_END, -1) and call .flip(1)", to_torch(reversed));
  const at::Tensor theirs = to_torch(reversed.slice(1, DLB_SLICE_END, DLB_SLICE_END, -1)).flip(1);
  EXPECT(theirs[2][0].item<float>() == 11);
}

TEST(negative_strides_that_are_never_stepped_along_are_no_matter) {
  const tensor one = ramp(6).reshape({2, 3}).slice(1, 2, 1, -1);
  twelve memory;
  std::int64_t strides[] = {-5, -7};
  memory.description.strides = strides;
  memory.shape[0] = 1;
  memory.shape[1] = 1;
  EXPECT(to_torch(one)[1][0].item<float>() == 5);
  EXPECT(to_torch(tensor::wrap(memory.description, nobody)).item<float>() == 0);
  memory.shape[0] = 0;
  memory.shape[1] = 4;
  EXPECT(to_torch(tensor::wrap(memory.description, nobody)).numel() == 0);
}

TEST(the_largest_stride_on_a_dimension_of_size_1_is_no_matter) {
  twelve memory;
  std::int64_t strides[] = {INT64_MAX, 1};
  memory.description.strides = strides;
  memory.shape[0] = 1;
  EXPECT(to_torch(tensor::wrap(memory.description, nobody)).sum().item<float>() == 0);
}

TEST(more_than_64_dimensions_are_refused) {
  float value = 1;
  const std::vector<std::int64_t> ones(65, 1);
  THROWS(DLB_ERROR_UNSUPPORTED, "65 dimensions", to_torch(tensor::wrap(&value, ones, nobody)));
  EXPECT(to_torch(tensor::wrap(&value, {ones.data(), 64}, nobody)).dim() == 64);
}

TEST(dtypes_torch_has_not_are_refused) {
  for (const char *name : {"int4", "uint1", "float4_e2m1fn", "float6_e2m3fn", "float32x4", "float8_e3m4", "int128"}) {
    twelve memory(name);
    memory.description.ndim = 1;
    memory.shape[0] = 8;
    const tensor mine = tensor::wrap(memory.description, nobody);
    THROWS(DLB_ERROR_UNSUPPORTED, name, to_torch(mine));
    THROWS(DLB_ERROR_UNSUPPORTED, "reinterpret", to_torch(mine));
  }
  twelve unknown;
  unknown.description.dtype.code = 42;
  THROWS(DLB_ERROR_UNSUPPORTED, "code=42", to_torch(tensor::wrap(unknown.description, nobody)));
}

TEST(devices_torch_does_not_take_are_refused) {
  const std::pair<DLDevice, const char *> devices[] = {
      {{kDLMetal, 0}, "metal"},
      {{kDLROCM, 1}, "rocm:1"},
      {{kDLCUDA, 300}, "cuda:300"},
  };
  for (const auto &[device, name] : devices) {
    twelve memory;
    memory.description.device = device;
    THROWS(DLB_ERROR_UNSUPPORTED, name, to_torch(tensor::wrap(memory.description, nobody)));
  }
}

TEST(pinned_memory_is_the_hosts_to_torch) {
  for (const DLDeviceType type : {kDLCUDAHost, kDLROCMHost, kDLCUDAManaged}) {
    twelve memory;
    memory.description.device = {type, 0};
    const at::Tensor theirs = to_torch(tensor::wrap(memory.description, nobody));
    EXPECT(theirs.is_cpu() && theirs.data_ptr() == memory.description.data && theirs.numel() == 12);
  }
}

TEST(what_torch_itself_throws_leaks_nothing) {
  int calls = 0;
  twelve memory;
  memory.description.device = {kDLCUDA, 99};
  const tensor mine = tensor::wrap(memory.description, [&calls] { ++calls; });
  try {
    to_torch(mine);
  } catch (const std::exception &) {
  }
  EXPECT(calls == 0 && mine.size() == 12);
}

TEST(an_empty_handle_is_refused) {
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "empty", to_torch(tensor()));
}

// --- from_torch ---

TEST(a_torch_tensor_is_shared) {
  const at::Tensor theirs = at::arange(12, at::kFloat).view({3, 4}).t().slice(0, 1, 3);
  const tensor mine = from_torch(theirs);
  EXPECT(mine.data<float>() == theirs.data_ptr() && !mine.is_read_only());
  EXPECT(at::IntArrayRef(mine.shape().data(), mine.ndim()) == theirs.sizes());
  EXPECT(at::IntArrayRef(mine.strides().data(), mine.ndim()) == theirs.strides());
  mine.mutable_data<float>()[0] = -1;
  EXPECT(theirs[0][0].item<float>() == -1);
}

TEST(the_storage_lives_as_long_as_the_tensor) {
  at::Tensor theirs = at::full({1000}, 3, at::kInt);
  const tensor mine = from_torch(theirs);
  theirs.set_(at::zeros({5}, at::kInt));
  theirs.reset();
  EXPECT(mine.data<std::int32_t>()[999] == 3);
}

TEST(empty_0d_and_expanded_torch_tensors_are_shared) {
  EXPECT(from_torch(at::empty({0, 3})).size() == 0);
  EXPECT(*from_torch(at::scalar_tensor(7, at::kDouble)).data<double>() == 7);
  const tensor expanded = from_torch(at::zeros({1}).expand({4}));
  THROWS(DLB_ERROR_UNSUPPORTED, "share", expanded.mutable_data<float>());
}

TEST(a_round_trip_is_the_same_memory) {
  const at::Tensor theirs = at::arange(6);
  const at::Tensor again = to_torch(from_torch(theirs));
  EXPECT(again.data_ptr() == theirs.data_ptr() && at::equal(again, theirs));
#if TORCH_SINCE(2, 9)
  EXPECT(at::fromDLPackVersioned(from_torch(theirs).export_().release()).data_ptr() == theirs.data_ptr());
  EXPECT(tensor::import_(at::toDLPackVersioned(theirs)).view().data == theirs.data_ptr());
#endif
  EXPECT(tensor::import_(at::toDLPack(theirs)).view().data == theirs.data_ptr());
}

TEST(a_shared_storage_cannot_be_resized) {
  at::Tensor theirs = at::arange(6, at::kFloat);
  const tensor mine = from_torch(theirs);
  bool refused = false;
  try {
    theirs.resize_({1 << 20});
  } catch (const c10::Error &error) {
    refused = std::string(error.what()).find("not resizable") != std::string::npos;
  }
  EXPECT(refused && mine.data<float>()[5] == 5);
  // torch leaves the new shape on the tensor all the same.
  THROWS(DLB_ERROR_UNSUPPORTED, "reaches to byte 4194304 of a storage of 24", from_torch(theirs));
  theirs.resize_({2});  // within what it has
  EXPECT(mine.data<float>() == theirs.data_ptr());
}

TEST(what_would_be_lost_is_refused) {
  THROWS(DLB_ERROR_UNSUPPORTED, ".detach()", from_torch(at::zeros({3}).requires_grad_()));
  THROWS(DLB_ERROR_UNSUPPORTED, ".detach()", from_torch(at::zeros({3}).requires_grad_().mul(2)));
  const at::Tensor complex = at::zeros({3}, at::kComplexFloat).conj();
  THROWS(DLB_ERROR_UNSUPPORTED, ".resolve_conj()", from_torch(complex));
  EXPECT(from_torch(complex.resolve_conj()).size() == 3);
  EXPECT(from_torch(at::zeros({3}).requires_grad_().detach()).size() == 3);
}

TEST(a_negative_bit_is_refused_which_torch_itself_exports_wrongly) {
  const at::Tensor negated = at::imag(at::full({1}, c10::complex<float>(0, 5)).conj());
  EXPECT(negated.is_neg() && negated.item<float>() == -5);
  THROWS(DLB_ERROR_UNSUPPORTED, ".resolve_neg()", from_torch(negated));
  EXPECT(*from_torch(negated.resolve_neg()).data<float>() == -5);
}

TEST(what_has_no_strided_memory_is_refused) {
  THROWS(DLB_ERROR_UNSUPPORTED, "Sparse has no strides; call .to_dense()", from_torch(at::eye(3).to_sparse()));
  THROWS(DLB_ERROR_UNSUPPORTED, "SparseCsr", from_torch(at::eye(3).to_sparse_csr()));
  THROWS(DLB_ERROR_UNSUPPORTED, "meta", from_torch(at::empty({3}, at::kMeta)));
  THROWS(DLB_ERROR_UNSUPPORTED, ".clone()", from_torch(at::_efficientzerotensor({3})));
  const at::Tensor quantized = at::quantize_per_tensor(at::zeros({3}), 0.1, 0, at::kQInt8);
  THROWS(DLB_ERROR_UNSUPPORTED, ".int_repr()", from_torch(quantized));
  EXPECT(from_torch(quantized.int_repr()).size() == 3);
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "undefined", from_torch(at::Tensor()));
}

#if TORCH_SINCE(2, 3)
TEST(dtypes_dlpack_has_not_are_refused) {
  THROWS(DLB_ERROR_UNSUPPORTED, "UInt4; pass the bytes: x.view(at::kByte)", from_torch(at::empty({8}, at::kUInt4)));
  THROWS(DLB_ERROR_UNSUPPORTED, "Bits8", from_torch(at::empty({8}, at::kBits8)));
  EXPECT(from_torch(at::empty({8}, at::kUInt4).view(at::kByte)).nbytes() == 8);
}
#endif

int main() { return harness::run(); }
