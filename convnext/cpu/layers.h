// The stem and the downsampling: convolutions without overlap, which are a linear layer of rows that
// are gathered from patches.

#pragma once

#include <cstdint>
#include <vector>

#include "gemm.h"
#include "maps.h"
#include "schedules.h"
#include "threads.h"
#include "vectors.h"

namespace {

thread_local Memory ROWS, HIDDEN;

// Structures that Python hands over, beside maps; library.py has the same

struct Setting {
  int64_t threads;
  int32_t bfloat16;  // whether packed weights are
  float eps;         // of every norm
};

struct Images {
  const float* data;             // (N, channels, H, W) in any layout
  int64_t channels, strides[4];  // floats from one image, channel, row, column to the next
};

struct Layer {
  const void* weight;  // (outputs, inputs), packed as gemm.h has it
  int64_t outputs, inputs;
  const float* bias;  // (outputs)
  template <class T>
  Weight<T> packed() const {
    return {static_cast<const T*>(weight), outputs / PANEL, inputs};
  }
};

// Patches of an input -> map. gather(first pixel, last, rows) fills their rows, finish(pixel) follows
// when the results of a pixel are in the map
template <class T, class Gather, class Finish>
struct PatchLayer {
  const Map& map;
  const Layer& layer;
  const Gather& gather;
  const Finish& finish;
  Weight<T> weight = layer.packed<T>();
  std::vector<int64_t> offsets = map.offsets();

  void by_chunks(const Chunks<T>& chunks) const {
    const Rows<T> room = chunks.room(weight.inputs, ROWS);
    each_chunk(chunks, [&](int64_t first, int64_t last, int64_t row) {
      gather(first, last, room.from(row));
      gemm(room.from(row), last - first, weight, 0, weight.panels, 0, weight.inputs,
           [&](int64_t tile, int64_t i, int64_t n, Vector low, Vector high) {
             set(first + tile + i, n, low, high);
           });
      for (int64_t i = first; i < last; ++i) finish(map.at(offsets[i]));
    });
  }

  void by_panels(const Chunks<T>& chunks) const {
    const Rows<T> room = chunks.room(weight.inputs, ROWS);
    each_tile(chunks, room, gather);
    each_panel(chunks, room, weight,
               [&](int64_t tile, int64_t i, int64_t n, Vector low, Vector high) {
                 set(tile + i, n, low, high);
               });
    in_parallel(chunks.pixels, chunks.threads,
                [&](int64_t i, int64_t) { finish(map.at(offsets[i])); });
  }

  void set(int64_t i, int64_t n, Vector low, Vector high) const {
    const Pixel pixel = map.at(offsets[i]);
    store(pixel + n, low + load(layer.bias + n));
    store(pixel + (n + VECTOR_WIDTH), high + load(layer.bias + n + VECTOR_WIDTH));
  }
};

template <class T, class Gather, class Finish>
void patch_layer(const Map& map, const Layer& layer, const Setting& setting, const Gather& gather,
                 const Finish& finish) {
  run<T>(PatchLayer<T, Gather, Finish>{map, layer, gather, finish}, map.pixels(), setting.threads);
  zero_border(map, setting.threads);
}

// Images (N, I, H, W) -> map (N, H / patch, W / patch, C): the convolution, then its norm.
// layer (C, I patch patch); norm_weight, norm_bias (C)
template <class T>
void stem(const Map& map, const Images& images, int64_t patch, const Layer& layer,
          const float* norm_weight, const float* norm_bias, const Setting& setting) {
  const auto [image_stride, channel_stride, row_stride, column_stride] = images.strides;
  const std::vector<float> mask = map.mask();
  const auto gather = [&](int64_t first, int64_t last, const Rows<T>& rows) {
    std::vector<float> values(rows.width, 0.0f);
    for (int64_t i = first; i < last; ++i) {
      const int64_t row = i / map.w, x = i % map.w * patch, y = row % map.h * patch;
      const float* image = images.data + row / map.h * image_stride;
      float* value = values.data();
      for (int64_t channel = 0; channel < images.channels; ++channel)
        for (int64_t dy = 0; dy < patch; ++dy) {
          const float* from =
              image + channel * channel_stride + (y + dy) * row_stride + x * column_stride;
          for (int64_t dx = 0; dx < patch; ++dx) *value++ = from[dx * column_stride];
        }
      for (int64_t c = 0; c < rows.width; c += PANEL)
        put(rows.row(i - first), c, load(&values[c]), load(&values[c + VECTOR_WIDTH]));
    }
  };
  patch_layer<T>(map, layer, setting, gather, [&](const Pixel& pixel) {
    normalise(map, pixel, setting.eps, mask.data(), [&](int64_t c, Vector low, Vector high) {
      const int64_t next = c + VECTOR_WIDTH;
      store(pixel + c, low * load(norm_weight + c) + load(norm_bias + c));
      store(pixel + next, high * load(norm_weight + next) + load(norm_bias + next));
    });
  });
}

// Map `from` (N, H, W, B) -> map (N, H / 2, W / 2, C): the norm, then the convolution of 2 x 2 pixels.
// layer (C, 2 2 B)
template <class T>
void downsample(const Map& map, const Map& from, const Layer& layer, const Setting& setting) {
  const std::vector<float> mask = from.mask();
  const auto gather = [&](int64_t first, int64_t last, const Rows<T>& rows) {
    for (int64_t i = first; i < last; ++i)
      for (int64_t part = 0; part < 4; ++part) {
        const int64_t row = i / map.w, y = row % map.h * 2 + part / 2, x = i % map.w * 2 + part % 2;
        const Pixel pixel = from.pixel(row / map.h * from.h + y, x);
        normalise(from, pixel, setting.eps, mask.data(), [&](int64_t c, Vector low, Vector high) {
          put(rows.row(i - first), part * from.width + c, low, high);
        });
      }
  };
  patch_layer<T>(map, layer, setting, gather, [](const Pixel&) {});
}

}  // namespace
