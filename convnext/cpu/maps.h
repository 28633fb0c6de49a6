// Maps, and what is computed of one pixel and its neighbours.
//
// A map of N images, H x W pixels and C channels is float32 of shape
//   (N, width / 16, 3 + H + 3, 3 + W + 3, 16)
// The 16 channels of a group fill a cache line, next to those of the pixel's right neighbour. A
// border of zeros is as wide as a depthwise weight reaches. C is padded with zeros to `width`.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "constants.h"
#include "threads.h"
#include "vectors.h"

namespace {

constexpr int64_t BORDER = KERNEL_SIZE / 2;

// The channels of one pixel: groups of CHANNEL_GROUP, `stride` floats from one to the next
struct Pixel {
  float* data;
  int64_t stride;
  float* operator+(int64_t c) const {
    return data + c / CHANNEL_GROUP * stride + c % CHANNEL_GROUP;
  }
};

struct Map {
  float* data;
  int64_t n, h, w, c, width;  // h and w without the border, c without padding

  int64_t pixels() const { return n * h * w; }
  int64_t row_size() const { return (w + 2 * BORDER) * CHANNEL_GROUP; }
  int64_t plane_size() const { return (h + 2 * BORDER) * row_size(); }  // of a channel group
  // what the weight's first element meets at the first pixel of a row; rows of all images count on
  float* corner(int64_t row) const {
    return data + row / h * (width / CHANNEL_GROUP) * plane_size() + row % h * row_size();
  }
  Pixel pixel(int64_t row, int64_t x) const {
    return {corner(row) + BORDER * row_size() + (BORDER + x) * CHANNEL_GROUP, plane_size()};
  }
  Pixel at(int64_t offset) const { return {data + offset, plane_size()}; }
  // of every pixel in turn, so that no inner loop divides
  std::vector<int64_t> offsets() const {
    std::vector<int64_t> table;
    table.reserve(pixels());
    for (int64_t row = 0; row < n * h; ++row) {
      const int64_t first = pixel(row, 0).data - data;
      for (int64_t x = 0; x < w; ++x) table.push_back(first + x * CHANNEL_GROUP);
    }
    return table;
  }
  std::vector<float> mask() const {  // (width): 1 for channels, 0 for padding
    std::vector<float> values(width, 0.0f);
    std::fill_n(values.begin(), c, 1.0f);
    return values;
  }
};

inline void zero_border(const Map& map, int64_t threads) {
  const int64_t row = map.row_size(), plane_size = map.plane_size();
  in_parallel(map.n * map.width / CHANNEL_GROUP, threads, [&](int64_t i, int64_t) {
    float* plane = map.data + i * plane_size;
    const int64_t side = BORDER * CHANNEL_GROUP, edge = BORDER * row + side;
    std::fill_n(plane, edge, 0.0f);  // the rows above, and the left of the first
    for (int64_t y = 1; y < map.h; ++y)  // the right of a row and the left of the next
      std::fill_n(plane + (BORDER + y) * row - side, 2 * side, 0.0f);
    std::fill_n(plane + plane_size - edge, edge, 0.0f);
  });
}

// (x - mean) / sqrt(variance + eps) of a pixel, two vectors of channels at a time: put(channel, low,
// high). In the padding they are of any value.
template <class Put>
inline void normalise(const Map& map, const Pixel& in, float eps, const float* mask,
                      const Put& put) {
  Vector total{}, square{};
  for (int64_t c = 0; c < map.width; c += VECTOR_WIDTH) total += load(in + c);
  const Vector mean = broadcast(sum(total) / map.c);
  for (int64_t c = 0; c < map.width; c += VECTOR_WIDTH) {
    const Vector d = (load(in + c) - mean) * load(mask + c);
    square += d * d;
  }
  const Vector scale = broadcast(1.0f / std::sqrt(sum(square) / map.c + eps));
  for (int64_t c = 0; c < map.width; c += 2 * VECTOR_WIDTH)
    put(c, (load(in + c) - mean) * scale, (load(in + (c + VECTOR_WIDTH)) - mean) * scale);
}

// One vector of channels of COUNT neighbouring pixels. in: the weight's first element at the first
// pixel; weight (7, 7, 16); out: `width` floats from one pixel to the next.
template <int64_t COUNT>
inline void convolve(const float* in, int64_t row_size, const float* weight, Vector bias,
                     float* out, int64_t width) {
  Vector sums[COUNT];
  for (int64_t i = 0; i < COUNT; ++i) sums[i] = bias;
  for (int64_t y = 0; y < KERNEL_SIZE;
       ++y, in += row_size, weight += KERNEL_SIZE * CHANNEL_GROUP) {
    Vector k[KERNEL_SIZE];
    for (int64_t x = 0; x < KERNEL_SIZE; ++x) k[x] = load(weight + x * CHANNEL_GROUP);
#pragma GCC unroll 32
    for (int64_t j = 0; j < COUNT + KERNEL_SIZE - 1; ++j) {
      const Vector value = load(in + j * CHANNEL_GROUP);
#pragma GCC unroll 7
      for (int64_t x = 0; x < KERNEL_SIZE; ++x)
        if (0 <= j - x && j - x < COUNT) sums[j - x] += k[x] * value;
    }
  }
  for (int64_t i = 0; i < COUNT; ++i) store(out + i * width, sums[i]);
}

// The depthwise convolution of pixels [first, last) of a row: weight (width / 16, 7, 7, 16), bias
// (width), out (last - first, width)
inline void depthwise(const Map& map, int64_t row, int64_t first, int64_t last,
                      const float* weight, const float* bias, float* out) {
  for (int64_t c = 0; c < map.width; c += VECTOR_WIDTH) {
    const float* in = Pixel{map.corner(row) + first * CHANNEL_GROUP, map.plane_size()} + c;
    const int64_t weight_stride = KERNEL_SIZE * KERNEL_SIZE * CHANNEL_GROUP;
    const float* k = Pixel{const_cast<float*>(weight), weight_stride} + c;
    const Vector b = load(bias + c);
    int64_t x = 0;
    const auto by = [&](auto count) {
      for (; x + count <= last - first; x += count)
        convolve<count>(in + x * CHANNEL_GROUP, map.row_size(), k, b, out + x * map.width + c,
                        map.width);
    };
    by(std::integral_constant<int64_t, 14>());
    by(std::integral_constant<int64_t, 7>());
    by(std::integral_constant<int64_t, 1>());
  }
}

}  // namespace
