/* opencv.cpp: a cv::Mat as a tensor and back, padded rows included, on the same memory.
 *
 * From the root of the repository, after `make lib`:
 *
 *   c++ -std=c++17 examples/opencv/opencv.cpp -Iinclude -Ibindings/cpp/include -isystem /usr/include/opencv4 \
 *       -Ltarget/release -ldlbridge -lopencv_core -Wl,-rpath,$PWD/target/release -o opencv && ./opencv
 */
#include <cstdint>
#include <cstdio>
#include <limits>
#include <opencv2/core.hpp>
#include <stdexcept>

#include "dlbridge.hpp"

/* A cv::Mat is a counted reference to its pixels, so a copy of it is the owner that keeps them alive. Of a cv::Mat around
 * memory of somebody else (one made with a pointer) that is not true, and it has no `u`: wrap the owner itself then. */
static dlbridge::tensor from_mat(const cv::Mat &mat) {
  static const DLDataType dtypes[] = {{kDLUInt, 8, 1},  {kDLInt, 8, 1},    {kDLUInt, 16, 1}, {kDLInt, 16, 1},
                                      {kDLInt, 32, 1}, {kDLFloat, 32, 1}, {kDLFloat, 64, 1}, {kDLFloat, 16, 1}};
  if (mat.dims > 2) throw std::invalid_argument("this example is for pictures: two dimensions and channels");
  if (!mat.empty() && mat.u == nullptr) throw std::invalid_argument("this cv::Mat does not own its pixels");
  const std::int64_t step = static_cast<std::int64_t>(mat.step / mat.elemSize1());
  std::int64_t shape[] = {mat.rows, mat.cols, mat.channels()}, strides[] = {step, mat.channels(), 1};
  DLTensor picture = {mat.data, {kDLCPU, 0}, 3, dtypes[mat.depth()], shape, strides, 0};
  return dlbridge::tensor::wrap(picture, mat);
}

/* A cv::Mat on the memory of a height x width x channels tensor of bytes. It borrows: keep the tensor while it is used.
 * data() refuses another dtype; the strides are for us to look at. */
static cv::Mat to_mat(const dlbridge::tensor &picture) {
  const dlbridge::int64_span shape = picture.shape(), strides = picture.strides();
  if (picture.ndim() != 3 || strides[2] != 1 || strides[1] != shape[2] || strides[0] < shape[1] * shape[2]) {
    throw std::invalid_argument("pixels must be packed within a row, and rows go downwards");
  }
  constexpr std::int64_t most = std::numeric_limits<int>::max();
  if (shape[0] > most || shape[1] > most || shape[2] < 1 || shape[2] > CV_CN_MAX) {
    throw std::invalid_argument("OpenCV counts rows and columns in int, and has 1 to 512 channels");
  }
  return cv::Mat(static_cast<int>(shape[0]), static_cast<int>(shape[1]), CV_8UC(static_cast<int>(shape[2])),
                 picture.mutable_data<std::uint8_t>(), static_cast<std::size_t>(strides[0]));
}

int main() {
  cv::Mat frame(480, 640, CV_8UC3, cv::Scalar(10, 20, 30));
  dlbridge::tensor region = from_mat(frame(cv::Rect(100, 50, 32, 16)));  // rows of 32 pixels, 640 apart
  std::printf("%d x %d pixels at %p, rows %d bytes apart\n", static_cast<int>(region.shape()[1]),
              static_cast<int>(region.shape()[0]), region.view().data, static_cast<int>(region.strides()[0]));

  frame.release();  // `region` keeps all of the frame alive
  cv::Mat again = to_mat(region.slice(0, 0, 8));
  again.setTo(cv::Scalar(0, 0, 255));

  const std::uint8_t *pixel = region.data<std::uint8_t>();
  const bool red = pixel[0] == 0 && pixel[2] == 255, grey = pixel[8 * region.strides()[0]] == 10;
  std::puts(red && grey ? "OpenCV painted the upper half in place" : "wrong pixels");
  return red && grey && again.data == pixel ? 0 : 1;
}
