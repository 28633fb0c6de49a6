// Maps, and what is computed of one pixel and its neighbours.
//
// A map is (N, H + 6, W + 6, C) float32: a border of zeros as wide as the depthwise kernel reaches,
// and C padded with zeros.

#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "lanes.h"

namespace {

constexpr int64_t KERNEL = 7, BORDER = KERNEL / 2;

struct Map {
  float* data;
  int64_t n, h, w, c, width;  // h and w without the border; c channels, padded to width

  Map(const at::Tensor& t, int64_t channels)
      : data(t.data_ptr<float>()), n(t.size(0)), h(t.size(1) - 2 * BORDER),
        w(t.size(2) - 2 * BORDER), c(channels), width(t.size(3)) {}

  int64_t pixels() const { return n * h * w; }
  int64_t line() const { return (w + 2 * BORDER) * width; }
  // where the kernel of the first pixel of the row-th line begins, in the border
  float* corner(int64_t row) const { return data + (row / h * (h + 2 * BORDER) + row % h) * line(); }
  float* pixel(int64_t row, int64_t x) const {
    return corner(row) + BORDER * line() + (BORDER + x) * width;
  }
  std::vector<int64_t> places() const {  // of every pixel, from `data`
    std::vector<int64_t> table;
    table.reserve(pixels());
    for (int64_t row = 0; row < n * h; ++row)
      for (int64_t x = 0; x < w; ++x) table.push_back(pixel(row, x) - data);
    return table;
  }
  std::vector<float> mask() const {  // 1 for channels, 0 for padding
    std::vector<float> values(width, 0.0f);
    std::fill_n(values.begin(), c, 1.0f);
    return values;
  }
};

void zero_border(const at::Tensor& map) {
  for (int64_t axis : {1, 2}) {
    map.slice(axis, 0, BORDER).zero_();
    map.slice(axis, map.size(axis) - BORDER).zero_();
  }
}

// (x - mean) / sqrt(variance + eps) of one pixel; put(channel, lanes)
template <class Put>
inline void normalise(const Map& map, const float* in, float eps, const float* mask,
                      const Put& put) {
  Lanes total{}, square{};
  for (int64_t c = 0; c < map.width; c += LANES) total += load(in + c);
  const float mean = sum(total) / map.c;
  for (int64_t c = 0; c < map.width; c += LANES) {
    const Lanes d = (load(in + c) - mean) * load(mask + c);
    square += d * d;
  }
  const float scale = 1.0f / std::sqrt(sum(square) / map.c + eps);
  for (int64_t c = 0; c < map.width; c += LANES)
    put(c, (load(in + c) - mean) * scale * load(mask + c));
}

// COUNT neighbouring pixels, LANES channels
template <int COUNT>
inline void convolve(const Map& map, const float* in, const float* weight, Lanes bias, float* out) {
  Lanes sums[COUNT];
  for (int i = 0; i < COUNT; ++i) sums[i] = bias;
  for (int64_t y = 0; y < KERNEL; ++y, in += map.line()) {
#pragma GCC unroll 7
    for (int64_t x = 0; x < KERNEL; ++x, weight += map.width) {
      const Lanes k = load(weight);
#pragma GCC unroll 7
      for (int i = 0; i < COUNT; ++i) sums[i] += k * load(in + (x + i) * map.width);
    }
  }
  for (int i = 0; i < COUNT; ++i) store(out + i * map.width, sums[i]);
}

// pixels [first, last) of the row-th line, one after the other
inline void depthwise(const Map& map, int64_t row, int64_t first, int64_t last,
                      const float* weight, const float* bias, float* out) {
  for (int64_t c = 0; c < map.width; c += LANES) {
    const float* in = map.corner(row) + c;
    int64_t x = first;
    for (; x + 7 <= last; x += 7)
      convolve<7>(map, in + x * map.width, weight + c, load(bias + c),
                  out + (x - first) * map.width + c);
    for (; x < last; ++x)
      convolve<1>(map, in + x * map.width, weight + c, load(bias + c),
                  out + (x - first) * map.width + c);
  }
}

}  // namespace
