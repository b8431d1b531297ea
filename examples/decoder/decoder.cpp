/* decoder.cpp: pictures are decoded into memory of this program, and torch computes on them where they lie.
 *
 *   decoder pictures.ppm      a file with one or more binary PPM pictures; without one, two are made up
 */
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "dlbridge.hpp"
#include "dlbridge/torch.hpp"

/* The next picture, height x width x red-green-blue; an empty tensor handle at the end. */
static dlbridge::tensor decode(std::istream &stream) {
  std::string magic;
  std::int64_t width = 0, height = 0;
  int largest = 0;
  if (!(stream >> magic)) return {};
  if (!(stream >> width >> height >> largest) || magic != "P6" || width < 1 || height < 1 || largest != 255) {
    throw std::runtime_error("this is no binary PPM picture with 8 bits a colour");
  }
  constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
  if (width > most / 3 || height > most / (3 * width)) throw std::runtime_error("the picture is too large");
  stream.get();  // the one blank behind the header
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(height * width * 3));
  stream.read(reinterpret_cast<char *>(pixels.data()), static_cast<std::streamsize>(pixels.size()));
  if (!stream) throw std::runtime_error("the picture ends too early");
  return dlbridge::tensor::from_vector(std::move(pixels), {height, width, 3});  // the vector moves in, uncopied
}

/* The mean of each colour, between 0 and 1. */
static dlbridge::tensor means(const dlbridge::tensor &picture) {
  const at::Tensor pixels = dlbridge::to_torch(picture);  // the memory that decode() filled
  return dlbridge::from_torch(pixels.to(at::kFloat).div_(255).mean({0, 1}));
}

static std::string made_up() {
  std::string pictures = "P6 4 2 255\n" + std::string(24, '\xff');  // all white
  pictures += "P6 2 2 255\n";
  for (int pixel = 0; pixel < 4; ++pixel) pictures += std::string("\xff\0\0", 3);  // all red
  return pictures;
}

int main(int count, char **arguments) try {
  std::istringstream inside(made_up());
  std::ifstream file;
  if (count > 1) file.open(arguments[1], std::ios::binary);
  if (count > 1 && !file) throw std::runtime_error(std::string("cannot open ") + arguments[1]);
  std::istream &stream = count > 1 ? static_cast<std::istream &>(file) : inside;

  while (const dlbridge::tensor picture = decode(stream)) {
    const dlbridge::tensor mean = means(picture);
    const float *colour = mean.data<float>();  // torch's memory, which `mean` keeps alive
    std::printf("%lld x %lld: red %.3f, green %.3f, blue %.3f\n", static_cast<long long>(picture.shape()[1]),
                static_cast<long long>(picture.shape()[0]), colour[0], colour[1], colour[2]);
  }
  return 0;
} catch (const std::exception &error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
