/* eigen.cpp: an Eigen matrix as a tensor, and a tensor as an Eigen::Map, on the same memory.
 *
 * From the root of the repository, after `make lib`:
 *
 *   c++ -std=c++17 examples/eigen/eigen.cpp -Iinclude -Ibindings/cpp/include -isystem /usr/include/eigen3 \
 *       -Ltarget/release -ldlbridge -Wl,-rpath,$PWD/target/release -o eigen && ./eigen
 */
#include <Eigen/Core>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <utility>

#include "dlbridge.hpp"

/* The matrix moves into the tensor; its elements stay where they are. Eigen stores column after column. */
static dlbridge::tensor from_matrix(Eigen::MatrixXf &&matrix) {
  const std::int64_t rows = matrix.rows(), columns = matrix.cols();
  return dlbridge::tensor::wrap(matrix.data(), {rows, columns}, {1, rows}, std::move(matrix));
}

using Strides = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
using Map = Eigen::Map<Eigen::MatrixXf, Eigen::Unaligned, Strides>;

/* Any two-dimensional float32 tensor, transposed and sliced ones included. The map borrows: keep the tensor. */
static Map to_map(const dlbridge::tensor &tensor) {
  if (tensor.ndim() != 2) throw std::invalid_argument("a matrix has two dimensions");
  const dlbridge::int64_span shape = tensor.shape(), strides = tensor.strides();
  return Map(tensor.mutable_data<float>(), shape[0], shape[1], Strides(strides[1], strides[0]));
}

int main() {
  Eigen::MatrixXf matrix(3, 4);
  matrix << 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12;
  const float *elements = matrix.data();

  const dlbridge::tensor tensor = from_matrix(std::move(matrix));
  const dlbridge::tensor odd_columns = tensor.slice(1, 1, 4, 2).permute({1, 0});  // rows are columns 1 and 3 now
  to_map(odd_columns) *= 10;

  const Map all = to_map(tensor);
  std::printf("%g %g %g %g\n", all(0, 0), all(0, 1), all(0, 2), all(0, 3));
  const bool scaled = all(0, 0) == 1 && all(0, 1) == 20 && all(2, 2) == 11 && all(2, 3) == 120;
  std::puts(scaled && all.data() == elements ? "scaled in place" : "wrong elements");
  return scaled && all.data() == elements ? 0 : 1;
}
