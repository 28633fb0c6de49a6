// Maps, and what is computed of one pixel and its neighbours.
//
// A map is (N, C / 16, H + 6, W + 6, 16) float32: a border of zeros as wide as the depthwise kernel
// reaches, C padded with zeros, and a cache line of one pixel's channels beside that of the next.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "lanes.h"
#include "threads.h"

namespace {

constexpr int64_t KERNEL = 7, BORDER = KERNEL / 2;
constexpr int64_t SOME = 16;  // channels that stand together

// The first channels of one pixel; others follow at a distance
struct Pixel {
  float* data;
  int64_t distance;
  float* operator+(int64_t c) const { return data + c / SOME * distance + c % SOME; }
};

struct Map {
  float* data;
  int64_t n, h, w, c, width;  // h and w without the border; c channels, padded to width

  int64_t pixels() const { return n * h * w; }
  int64_t line() const { return (w + 2 * BORDER) * SOME; }
  int64_t plane() const { return (h + 2 * BORDER) * line(); }
  // where the kernel of the first pixel of the row-th line begins, in the border
  float* corner(int64_t row) const {
    return data + row / h * (width / SOME) * plane() + row % h * line();
  }
  Pixel pixel(int64_t row, int64_t x) const {
    return {corner(row) + BORDER * line() + (BORDER + x) * SOME, plane()};
  }
  Pixel at(int64_t place) const { return {data + place, plane()}; }
  std::vector<int64_t> places() const {  // of every pixel, from `data`
    std::vector<int64_t> table;
    table.reserve(pixels());
    for (int64_t row = 0; row < n * h; ++row) {
      const int64_t first = pixel(row, 0).data - data;
      for (int64_t x = 0; x < w; ++x) table.push_back(first + x * SOME);
    }
    return table;
  }
  std::vector<float> mask() const {  // 1 for channels, 0 for padding
    std::vector<float> values(width, 0.0f);
    std::fill_n(values.begin(), c, 1.0f);
    return values;
  }
};

inline void zero_border(const Map& map, int64_t threads) {
  const int64_t line = map.line();
  in_parallel(map.n * map.width / SOME, threads, [&](int64_t i, int64_t) {
    float* plane = map.data + i * map.plane();
    const int64_t edge = BORDER * line + BORDER * SOME;  // lines above, and the first line's left
    std::fill_n(plane, edge, 0.0f);
    for (int64_t y = 1; y < map.h; ++y)  // one line's right, and the next one's left
      std::fill_n(plane + (BORDER + y) * line - BORDER * SOME, 2 * BORDER * SOME, 0.0f);
    std::fill_n(plane + map.plane() - edge, edge, 0.0f);
  });
}

// (x - mean) / sqrt(variance + eps) of a pixel of a map; put(channel, low, high), of any value in
// padding
template <class Put>
inline void normalise(const Map& map, const Pixel& in, float eps, const float* mask,
                      const Put& put) {
  Lanes total{}, square{};
  for (int64_t c = 0; c < map.width; c += LANES) total += load(in + c);
  const Lanes mean = all(sum(total) / map.c);
  for (int64_t c = 0; c < map.width; c += LANES) {
    const Lanes d = (load(in + c) - mean) * load(mask + c);
    square += d * d;
  }
  const Lanes scale = all(1.0f / std::sqrt(sum(square) / map.c + eps));
  for (int64_t c = 0; c < map.width; c += 2 * LANES)
    put(c, (load(in + c) - mean) * scale, (load(in + (c + LANES)) - mean) * scale);
}

// COUNT neighbouring pixels, LANES channels, to as many places `width` apart
template <int64_t COUNT>
inline void convolve(const float* in, int64_t line, const float* weight, Lanes bias, float* out,
                     int64_t width) {
  Lanes sums[COUNT];
  for (int64_t i = 0; i < COUNT; ++i) sums[i] = bias;
  for (int64_t y = 0; y < KERNEL; ++y, in += line, weight += KERNEL * SOME) {
    Lanes k[KERNEL];
    for (int64_t x = 0; x < KERNEL; ++x) k[x] = load(weight + x * SOME);
#pragma GCC unroll 32
    for (int64_t j = 0; j < COUNT + KERNEL - 1; ++j) {
      const Lanes value = load(in + j * SOME);
#pragma GCC unroll 7
      for (int64_t x = 0; x < KERNEL; ++x)
        if (0 <= j - x && j - x < COUNT) sums[j - x] += k[x] * value;
    }
  }
  for (int64_t i = 0; i < COUNT; ++i) store(out + i * width, sums[i]);
}

// pixels [first, last) of the row-th line, one after the other
inline void depthwise(const Map& map, int64_t row, int64_t first, int64_t last,
                      const float* weight, const float* bias, float* out) {
  for (int64_t c = 0; c < map.width; c += LANES) {
    const float* in = Pixel{map.corner(row) + first * SOME, map.plane()} + c;
    const float* k = Pixel{const_cast<float*>(weight), KERNEL * KERNEL * SOME} + c;
    const Lanes b = load(bias + c);
    int64_t x = 0;
    const auto by = [&](auto count) {
      for (; x + count <= last - first; x += count)
        convolve<count>(in + x * SOME, map.line(), k, b, out + x * map.width + c,
                        map.width);
    };
    by(std::integral_constant<int64_t, 14>());
    by(std::integral_constant<int64_t, 7>());
    by(std::integral_constant<int64_t, 1>());
  }
}

}  // namespace
