/* dlbridge.hpp without any framework. */
#include <array>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <thread>

#include "harness.hpp"

using dlbridge::tensor;

static_assert(std::is_nothrow_move_constructible<tensor>::value, "");
static_assert(std::is_nothrow_copy_constructible<tensor>::value, "");
static_assert(std::is_nothrow_move_assignable<tensor>::value, "");
static_assert(std::is_nothrow_destructible<tensor>::value, "");
static_assert(!std::is_convertible<tensor, bool>::value, "");
static_assert(std::is_base_of<std::runtime_error, dlbridge::error>::value, "");

namespace {

bool same(dlbridge::int64_span span, std::initializer_list<std::int64_t> values) {
  return std::vector<std::int64_t>(span.begin(), span.end()) == std::vector<std::int64_t>(values);
}

/** 0, 1, 2, ... in a row-major tensor. */
tensor counting(dlbridge::int64_span shape) {
  std::size_t size = 1;
  for (std::int64_t extent : shape) size *= static_cast<std::size_t>(extent);
  std::vector<float> values(size);
  for (std::size_t index = 0; index < size; ++index) values[index] = static_cast<float>(index);
  return tensor::from_vector(std::move(values), shape);
}

/** A description of six floats that are always there. */
struct six {
  float values[6] = {0, 1, 2, 3, 4, 5};
  std::int64_t shape[2] = {2, 3};
  DLTensor description = {values, {kDLCPU, 0}, 2, {kDLFloat, 32, 1}, shape, nullptr, 0};
};

/** A producer's managed tensor, whose deleter counts its calls. */
template <class Managed>
struct producer {
  six memory;
  int deleted = 0;
  Managed managed = Managed();

  producer() {
    managed.dl_tensor = memory.description;
    managed.manager_ctx = &deleted;
    managed.deleter = [](Managed *self) { ++*static_cast<int *>(self->manager_ctx); };
  }
};

/** Called for its elements and its regions, as matrices of others are. */
struct matrix {
  float operator()(int, int) const { return 0; }
  matrix operator()(const std::int64_t *) const { return *this; }
};

/** Fails the program where an error of a static destructor says nothing. */
const struct last_words {
  ~last_words() {
    try {
      tensor().copy();
    } catch (const dlbridge::error &error) {
      if (error.what()[0] == '\0') std::_Exit(1);
    }
  }
} words_at_exit;

struct throwing_copy {
  throwing_copy() = default;
  throwing_copy(const throwing_copy &) { throw std::runtime_error("no copy"); }
};

}  // namespace

// --- owners ---

TEST(wrap_calls_a_callable_once_at_the_end) {
  six memory;
  int calls = 0;
  {
    tensor first = tensor::wrap(memory.description, [&calls] { ++calls; });
    const tensor view = first.select(0, 1);
    const dlbridge::managed_tensor out = first.export_();
    first = tensor();
    EXPECT(calls == 0);
  }
  EXPECT(calls == 1);
}

TEST(wrap_takes_functions_and_std_functions) {
  six memory;
  static int calls;
  calls = 0;
  void (*const function)() = [] { ++calls; };
  tensor::wrap(memory.description, function);
  tensor::wrap(memory.description, std::function<void()>(function));
  EXPECT(calls == 2);
  struct once {
    void operator()() && { ++calls; }
  };
  tensor::wrap(memory.description, once());
  EXPECT(calls == 3);
}

TEST(wrap_takes_objects_with_several_call_operators) {
  six memory;
  EXPECT(tensor::wrap(memory.description, matrix()).size() == 6);
}

TEST(wrap_keeps_a_shared_owner_until_the_end) {
  const auto memory = std::make_shared<six>();
  {
    const tensor mine = tensor::wrap(memory->description, memory);
    EXPECT(memory.use_count() == 2 && mine.size() == 6);
  }
  EXPECT(memory.use_count() == 1);
}

TEST(wrap_moves_a_unique_owner_in) {
  int calls = 0;
  const auto deleter = [&calls](six *memory) {
    ++calls;
    delete memory;
  };
  std::unique_ptr<six, decltype(deleter)> memory(new six, deleter);
  {
    const DLTensor description = memory->description;
    const tensor mine = tensor::wrap(description, std::move(memory));
    EXPECT(memory == nullptr && calls == 0 && mine.data<float>()[5] == 5);
  }
  EXPECT(calls == 1);
}

TEST(wrap_that_fails_leaves_the_owner_alone) {
  int calls = 0;
  six memory;
  memory.shape[0] = -1;
  THROWS(DLB_ERROR_INVALID_TENSOR, "-1", tensor::wrap(memory.description, [&calls] { ++calls; }));
  std::unique_ptr<int> owner(new int(7));
  THROWS(DLB_ERROR_INVALID_TENSOR, "-1", tensor::wrap(memory.description, std::move(owner)));
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "flags", tensor::wrap(six().description, std::move(owner), 1U << 9));
  EXPECT(calls == 0 && owner != nullptr && *owner == 7);
}

TEST(an_owner_that_cannot_be_copied_in_leaks_nothing) {
  six memory;
  const throwing_copy owner;
  bool thrown = false;
  try {
    tensor::wrap(memory.description, owner);
  } catch (const std::runtime_error &) {
    thrown = true;
  }
  EXPECT(thrown);
}

TEST(the_owner_is_let_go_on_the_thread_that_drops_the_last_user) {
  six memory;
  std::thread::id where;
  dlbridge::managed_tensor out =
      tensor::wrap(memory.description, [&where] { where = std::this_thread::get_id(); }).export_();
  std::thread last([&out] { out.reset(); });
  const std::thread::id expected = last.get_id();
  last.join();
  EXPECT(where == expected);
}

TEST(an_owner_may_use_the_library_when_it_is_let_go) {
  six memory;
  const tensor other = counting({2});
  std::size_t seen = 0;
  tensor::wrap(memory.description, [&seen, other] { seen = other.slice(0, 0, 1).size(); });
  EXPECT(seen == 1);
}

TEST(typed_wrap_describes_row_major_host_memory) {
  std::vector<std::int16_t> values(24);
  const tensor mine = tensor::wrap(values.data(), {2, 3, 4}, [] {});
  EXPECT(same(mine.shape(), {2, 3, 4}) && same(mine.strides(), {12, 4, 1}));
  EXPECT(dlbridge::to_string(mine.dtype()) == "int16" && dlbridge::to_string(mine.device()) == "cpu");
  EXPECT(mine.mutable_data<std::int16_t>() == values.data() && !mine.is_read_only());
}

TEST(typed_wrap_takes_strides) {
  std::vector<std::uint8_t> pixels(4 * 8, 1);
  pixels[8] = 7;
  std::uint8_t *const data = pixels.data();
  const tensor rows = tensor::wrap(data, {4, 2, 3}, {8, 3, 1}, std::move(pixels));
  EXPECT(same(rows.strides(), {8, 3, 1}) && rows.select(0, 1).data<std::uint8_t>()[0] == 7 && pixels.empty());
  const std::uint8_t *const constant = data;
  const tensor borrowed = tensor::borrow(constant, {4}, {8});
  EXPECT(borrowed.is_read_only() && borrowed.select(0, 1).data<std::uint8_t>()[0] == 7);
  EXPECT(same(tensor::borrow(data, {4, 8}).strides(), {8, 1}) && !tensor::borrow(data, {4, 8}).is_read_only());
  int calls = 0;
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "strides [8] were given for shape [4, 8]; pass one for each dimension",
         tensor::wrap(data, {4, 8}, {8}, [&calls] { ++calls; }));
  EXPECT(calls == 0);
}

TEST(a_tensor_is_asked_for_its_dtype) {
  const tensor mine = counting({2});
  EXPECT(mine.is<float>() && !mine.is<double>() && !mine.is<std::int32_t>() && !mine.is<std::complex<float>>());
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "empty", tensor().is<float>());
}

TEST(const_elements_make_a_read_only_tensor) {
  const double values[] = {1, 2};
  const tensor mine = tensor::wrap(values, {2}, [] {});
  EXPECT(mine.is_read_only() && mine.flags() == DLPACK_FLAG_BITMASK_READ_ONLY && mine.data<double>() == values);
  THROWS(DLB_ERROR_READ_ONLY, "read-only", mine.mutable_data<double>());
}

TEST(more_dimensions_than_there_can_be_are_refused) {
  float value = 0;
  const std::vector<std::int64_t> shape(DLB_MAX_NDIM + 7, 1);
  THROWS(DLB_ERROR_INVALID_TENSOR, "128", tensor::wrap(&value, shape, [] {}));
  EXPECT(tensor::wrap(&value, {shape.data(), DLB_MAX_NDIM}, [] {}).ndim() == DLB_MAX_NDIM);
}

TEST(borrow_tells_nobody) {
  six memory;
  const tensor mine = tensor::borrow(memory.description, DLPACK_FLAG_BITMASK_READ_ONLY);
  EXPECT(mine.is_read_only() && mine.data<float>() == memory.values);
}

TEST(from_vector_moves_the_elements_in) {
  std::vector<float> values(6, 2.5F);
  const float *const data = values.data();
  const tensor mine = tensor::from_vector(std::move(values), {2, 3});
  EXPECT(mine.data<float>() == data && mine.data<float>()[5] == 2.5F);
  EXPECT(tensor::from_vector(std::vector<int>{7}, {}).ndim() == 0);
  EXPECT(tensor::from_vector(std::vector<int>(), {3, 0}).size() == 0);
}

TEST(from_vector_of_the_wrong_length_leaves_the_vector_alone) {
  std::vector<float> values(6);
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "6 elements were given for shape [2, 4]",
         tensor::from_vector(std::move(values), {2, 4}));
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "[-2, -3]", tensor::from_vector(std::move(values), {-2, -3}));
  const std::int64_t huge = std::int64_t(1) << 62;
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "make the two agree", tensor::from_vector(std::move(values), {huge, huge, 6}));
  EXPECT(values.size() == 6);
}

// --- handles ---

TEST(copies_and_moves_count) {
  int calls = 0;
  six memory;
  tensor first = tensor::wrap(memory.description, [&calls] { ++calls; });
  tensor second = first;
  EXPECT(first.get() == second.get());
  tensor third = std::move(first);
  EXPECT(!first && third);
  second = second.read_only().read_only();
  tensor &self = third;
  third = self;
  EXPECT(third && third.size() == 6 && calls == 0);
  second = tensor();
  third = std::move(second);
  EXPECT(!third && calls == 1);
}

TEST(references_travel_through_c) {
  tensor mine = counting({3});
  dlb_tensor *const raw = mine.release();
  EXPECT(!mine && raw != nullptr);
  const tensor again = tensor::adopt(raw);
  EXPECT(again.get() == raw && again.size() == 3);
}

TEST(an_empty_handle_can_be_asked) {
  const tensor empty;
  EXPECT(!empty && empty.get() == nullptr && empty.size() == 0 && empty.nbytes() == 0 && empty.flags() == 0);
  EXPECT(!empty.is_contiguous() && empty.alignment() == 0 && !tensor(empty));
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "the tensor is empty", empty.shape());
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "NULL", empty.export_());
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "NULL", empty.export_legacy());
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "NULL", empty.slice(0, 0, 1));
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "NULL", empty.data<float>());
}

TEST(threads_share_a_tensor) {
  std::atomic<int> calls{0};
  six memory;
  {
    const tensor mine = tensor::wrap(memory.description, [&calls] { ++calls; });
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([mine] {
        for (int turn = 0; turn < 1000; ++turn) tensor::import_(tensor(mine).select(0, 1).export_()).data<float>();
      });
    }
    for (std::thread &thread : threads) thread.join();
    EXPECT(calls == 0);
  }
  EXPECT(calls == 1);
}

// --- exports and imports ---

TEST(an_export_keeps_the_buffer_alive_by_itself) {
  dlbridge::managed_tensor out = counting({2, 3}).export_();
  EXPECT(out->version.major == 1 && out->version.minor == 3 && out->flags == 0);
  EXPECT(same({out->dl_tensor.shape, 2}, {2, 3}) && same({out->dl_tensor.strides, 2}, {3, 1}));
  EXPECT(static_cast<const float *>(out->dl_tensor.data)[5] == 5);
}

TEST(an_export_is_handed_on) {
  dlbridge::managed_tensor out = counting({2, 3}).export_();
  DLManagedTensorVersioned *const raw = out.release();
  raw->deleter(raw);
  EXPECT(dlb_live_exports() == 0);
}

TEST(read_only_survives_an_export_and_has_no_legacy_one) {
  const tensor mine = counting({2}).read_only();
  EXPECT(mine.export_()->flags == DLPACK_FLAG_BITMASK_READ_ONLY);
  EXPECT(tensor::import_(mine.export_()).is_read_only());
  THROWS(DLB_ERROR_READ_ONLY, "legacy", mine.export_legacy());
}

TEST(import_takes_over_both_structs) {
  producer<DLManagedTensorVersioned> versioned;
  versioned.managed.version = {1, 0};
  producer<DLManagedTensor> legacy;
  {
    const tensor first = tensor::import_(&versioned.managed), second = tensor::import_(&legacy.managed);
    EXPECT(first.data<float>() == versioned.memory.values && second.data<float>() == legacy.memory.values);
    EXPECT(versioned.deleted == 0 && legacy.deleted == 0);
  }
  EXPECT(versioned.deleted == 1 && legacy.deleted == 1);
  EXPECT(tensor::import_(counting({4}).export_legacy()).size() == 4);
}

TEST(import_that_fails_has_called_the_deleter) {
  producer<DLManagedTensorVersioned> future;
  future.managed.version = {2, 0};
  THROWS(DLB_ERROR_UNSUPPORTED, "2.0", tensor::import_(&future.managed));
  producer<DLManagedTensor> malformed;
  malformed.managed.dl_tensor.data = nullptr;
  THROWS(DLB_ERROR_INVALID_TENSOR, "data is NULL", tensor::import_(&malformed.managed));
  EXPECT(future.deleted == 1 && malformed.deleted == 1);
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "NULL", tensor::import_(dlbridge::managed_tensor()));
}

TEST(a_null_deleter_is_nothing_to_call) {
  producer<DLManagedTensorVersioned> forever;
  forever.managed.version = {1, 3};
  forever.managed.deleter = nullptr;
  dlbridge::managed_tensor handle(&forever.managed);
  EXPECT(tensor::import_(handle.get()).size() == 6);
}

// --- views ---

TEST(slices_follow_python) {
  const tensor mine = counting({4, 5});
  const tensor tail = mine.slice(0, -2, DLB_SLICE_END);
  EXPECT(same(tail.shape(), {2, 5}) && tail.data<float>() == mine.data<float>() + 10);
  const tensor reversed = mine.slice(-1, DLB_SLICE_END, DLB_SLICE_END, -2);
  EXPECT(same(reversed.shape(), {4, 3}) && same(reversed.strides(), {5, -2}) && *reversed.data<float>() == 4);
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "step", mine.slice(0, 0, 1, 0));
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "axis 2", mine.slice(2, 0, 1));
}

TEST(views_rearrange_without_a_copy) {
  const tensor mine = counting({2, 3, 4});
  EXPECT(*mine.select(1, -1).data<float>() == 8 && same(mine.select(1, -1).shape(), {2, 4}));
  EXPECT(same(mine.permute({2, 0, 1}).strides(), {1, 12, 4}));
  EXPECT(same(mine.unsqueeze(-1).shape(), {2, 3, 4, 1}) && same(mine.unsqueeze(0).squeeze(0).shape(), {2, 3, 4}));
  EXPECT(same(mine.reshape({4, -1}).shape(), {4, 6}) && mine.reshape({24}).data<float>() == mine.data<float>());
  EXPECT(same(mine.reshape(std::vector<std::int64_t>{6, 4}).strides(), {4, 1}));
  THROWS(DLB_ERROR_COPY_REQUIRED, "copy", mine.permute({2, 1, 0}).reshape({24}));
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "permutation", mine.permute({0, 0, 1}));
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "squeezed", mine.squeeze(0));
}

TEST(expanding_is_read_only) {
  const tensor grown = counting({3, 1}).expand({2, 3, 4});
  EXPECT(same(grown.shape(), {2, 3, 4}) && same(grown.strides(), {0, 1, 0}) && grown.is_read_only());
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "broadcast", grown.expand({2, 5, 4}));
}

TEST(reinterpreting_changes_the_last_dimension) {
  const tensor bytes = counting({2, 3}).reinterpret(dlbridge::dtype_of<std::uint8_t>::get());
  EXPECT(same(bytes.shape(), {2, 12}) && bytes.nbytes() == 24);
  EXPECT(same(bytes.reinterpret(dlbridge::parse_dtype("int16")).shape(), {2, 6}));
  THROWS(DLB_ERROR_UNSUPPORTED, "float64", bytes.reinterpret(dlbridge::parse_dtype("float64")));
}

TEST(bools_are_read_as_bytes) {
  std::vector<std::uint8_t> values = {0, 1, 255};
  const tensor mine = tensor::from_vector(std::move(values), {3}).reinterpret(dlbridge::parse_dtype("bool"));
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "bool", mine.data<std::uint8_t>());
  EXPECT(mine.reinterpret(dlbridge::dtype_of<std::uint8_t>::get()).data<std::uint8_t>()[2] == 255);
}

// --- asking ---

TEST(size_bytes_order_and_alignment) {
  const tensor mine = counting({2, 3});
  EXPECT(mine.ndim() == 2 && mine.size() == 6 && mine.nbytes() == 24);
  EXPECT(mine.is_contiguous() && mine.is_contiguous('C') && !mine.is_contiguous('F'));
  EXPECT(mine.permute({1, 0}).is_contiguous('F') && !mine.is_contiguous('?'));
  EXPECT(mine.alignment() >= alignof(float) && mine.view().byte_offset == 0);
}

TEST(typed_access_is_checked) {
  const tensor mine = counting({2, 3});
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "float32", mine.data<double>());
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "int32", mine.mutable_data<int>());
  six memory;
  memory.description.byte_offset = 1;
  memory.shape[0] = 1;
  THROWS(DLB_ERROR_UNSUPPORTED, "multiple of 4", tensor::borrow(memory.description).data<float>());
  six elsewhere;
  elsewhere.description.device.device_type = kDLCUDA;
  THROWS(DLB_ERROR_UNSUPPORTED, "cuda:0", tensor::borrow(elsewhere.description).data<float>());
  six shared;
  std::int64_t strides[] = {0, 1};
  shared.description.strides = strides;
  THROWS(DLB_ERROR_UNSUPPORTED, "share", tensor::borrow(shared.description).mutable_data<float>());
}

TEST(dtypes_follow_the_types) {
  using dlbridge::dtype_of;
  using dlbridge::to_string;
  EXPECT(to_string(dtype_of<signed char>::get()) == "int8" && to_string(dtype_of<std::uint16_t>::get()) == "uint16");
  EXPECT(to_string(dtype_of<long>::get()) == "int64" && to_string(dtype_of<long long>::get()) == "int64");
  EXPECT(to_string(dtype_of<std::uint32_t>::get()) == "uint32" && to_string(dtype_of<float>::get()) == "float32");
  EXPECT(to_string(dtype_of<double>::get()) == "float64");
  EXPECT(to_string(dtype_of<std::complex<float>>::get()) == "complex64");
  EXPECT(to_string(dtype_of<std::complex<double>>::get()) == "complex128");
}

TEST(names_are_written_and_read) {
  EXPECT(dlbridge::to_string(dlbridge::parse_dtype("float4_e2m1fnx2")) == "float4_e2m1fnx2");
  EXPECT(dlbridge::to_string(DLDataType{255, 255, 65535}) == "dtype(code=255, bits=255, lanes=65535)");
  EXPECT(dlbridge::to_string(DLDevice{kDLCUDA, 1}) == "cuda:1");
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "\"float7\"", dlbridge::parse_dtype("float7"));
}

TEST(python_is_unavailable_in_a_program_without_it) {
  int object = 0;
  THROWS(DLB_ERROR_UNAVAILABLE, "Python", dlbridge::from_python(&object));
  THROWS(DLB_ERROR_INVALID_ARGUMENT, "NULL", dlbridge::from_python(nullptr));
  const tensor numbers = tensor::from_vector(std::vector<float>(3), {3});
  THROWS(DLB_ERROR_UNAVAILABLE, "Python", dlbridge::to_capsule(numbers));
}

TEST(a_span_binds_to_what_holds_integers) {
  const std::array<std::int64_t, 2> array = {2, 3};
  const std::vector<std::int64_t> vector = {3, 2};
  const std::int64_t plain[] = {6};
  const tensor mine = counting({6});
  EXPECT(same(mine.reshape(array).shape(), {2, 3}) && same(mine.reshape(vector).shape(), {3, 2}));
  EXPECT(same(mine.reshape(plain).shape(), {6}) && same(mine.reshape(mine.shape()).shape(), {6}));
  EXPECT(dlbridge::int64_span().empty() && mine.shape()[0] == 6);
}

int main() { return harness::run(); }
