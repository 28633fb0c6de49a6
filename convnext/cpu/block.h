// The block: depthwise convolution, norm, pointwise convolution 1, GELU, pointwise convolution 2, and
// the sum with what came in.
//
// The caller has folded the norm's weight and bias into pwconv1, and the layer scale into pwconv2.

#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "gelu.h"
#include "layers.h"

namespace {

constexpr int64_t HIDDEN_LINES = 32;  // of a pixel's hidden values at a time

struct BlockWeights {
  const float *depthwise, *bias;  // (C / 16, 7, 7, 16), (C)
  Layer pwconv1, pwconv2;         // (4C, C), (C, 4C)
};

// Map `from` (N, H, W, C) -> map `to` of the same shape, which has its border of zeros
template <class T>
struct Block {
  Map from, to;
  const int64_t* offsets;  // of every pixel, in both maps
  const float* mask;
  const BlockWeights& weights;
  const Setting& setting;
  Weight<T> pwconv1 = weights.pwconv1.packed<T>(), pwconv2 = weights.pwconv2.packed<T>();

  // A chunk's hidden values are computed and used some at a time, while they are in the cache
  void by_chunks(const Chunks<T>& chunks) const {
    const Rows<T> rows = chunks.room(from.width, ROWS);
    const Rows<T> hidden =
        chunks.room(std::min(pwconv2.inputs, HIDDEN_LINES * VALUES<T>), HIDDEN);
    each_chunk(chunks, [&](int64_t first, int64_t last, int64_t row) {
      chunk(first, last, rows.from(row), hidden.from(row));
    });
  }

  void chunk(int64_t first, int64_t last, const Rows<T>& rows, const Rows<T>& hidden) const {
    gather(first, last, rows);
    for (int64_t h = 0; h < pwconv2.inputs; h += hidden.width) {
      const int64_t end = std::min(h + hidden.width, pwconv2.inputs);
      gemm(rows, last - first, pwconv1, h / PANEL, end / PANEL, 0, pwconv1.inputs,
           [&](int64_t tile, int64_t i, int64_t n, Vector low, Vector high) {
             activate(hidden.row(tile, i), n - h, n, low, high);
           });
      gemm(hidden, last - first, pwconv2, 0, pwconv2.panels, h, end,
           [&](int64_t tile, int64_t i, int64_t n, Vector low, Vector high) {
             add(h == 0, first + tile + i, n, low, high);
           });
    }
  }

  void by_panels(const Chunks<T>& chunks) const {
    const Rows<T> rows = chunks.room(from.width, ROWS);
    const Rows<T> hidden = chunks.room(pwconv2.inputs, HIDDEN);
    each_tile(chunks, rows, [&](auto... arguments) { gather(arguments...); });
    each_panel(chunks, rows, pwconv1,
               [&](int64_t tile, int64_t i, int64_t n, Vector low, Vector high) {
                 activate(hidden.row(tile, i), n, n, low, high);
               });
    each_panel(chunks, hidden, pwconv2,
               [&](int64_t tile, int64_t i, int64_t n, Vector low, Vector high) {
                 add(true, tile + i, n, low, high);
               });
  }

  // Rows of the norm's results of pixels [first, last)
  void gather(int64_t first, int64_t last, const Rows<T>& rows) const {
    const std::unique_ptr<float[]> line(new float[std::min(from.w, last - first) * from.width]);
    for (int64_t i = first; i < last;) {
      const int64_t x = i % from.w, some = std::min(from.w - x, last - i);
      depthwise(from, i / from.w, x, x + some, weights.depthwise, weights.bias, line.get());
      for (int64_t j = 0; j < some; ++j, ++i) {
        T* row = rows.row(i - first);
        normalise(from, {&line[j * from.width], CHANNEL_GROUP}, setting.eps, mask,
                  [&](int64_t c, Vector low, Vector high) { put(row, c, low, high); });
      }
    }
  }

  // Hidden values from `n` on, which stand in the row from `place` on
  void activate(T* row, int64_t place, int64_t n, Vector low, Vector high) const {
    const float* bias = weights.pwconv1.bias + n;
    put(row, place, gelu<T>(low + load(bias)), gelu<T>(high + load(bias + VECTOR_WIDTH)));
  }

  // The sum of a pixel's input and what pwconv2 makes of its hidden values: of the first, or of more
  void add(bool first, int64_t i, int64_t n, Vector low, Vector high) const {
    const Pixel x = (first ? from : to).at(offsets[i]), sum = to.at(offsets[i]);
    if (first) {
      low += load(weights.pwconv2.bias + n);
      high += load(weights.pwconv2.bias + n + VECTOR_WIDTH);
    }
    store(sum + n, load(x + n) + low);
    store(sum + (n + VECTOR_WIDTH), load(x + (n + VECTOR_WIDTH)) + high);
  }
};

// `count` blocks, from one map to the other and back; after an odd count the results are in `to`
template <class T>
void blocks(Map from, Map to, const BlockWeights* weights, int64_t count, const Setting& setting) {
  zero_border(to, setting.threads);
  const std::vector<int64_t> offsets = from.offsets();
  const std::vector<float> mask = from.mask();
  for (int64_t i = 0; i < count; ++i, std::swap(from, to))
    run<T>(Block<T>{from, to, offsets.data(), mask.data(), weights[i], setting}, from.pixels(),
        setting.threads);
}

}  // namespace
