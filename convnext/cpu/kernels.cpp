// ConvNeXt's stem, downsampling and blocks for inference on a CPU; called by library.py.
//
// Each reads one map and writes another. A thread takes a chunk of pixels and does everything for
// them while they are in its cache; where there are too few pixels for that, all threads share
// them, and take some outputs of every linear layer each. The caller has folded the norm's weight
// and bias and the layer scale into the linear layers, and padded and packed all weights. T is what
// these multiply; everything else is float32.

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "chunks.h"
#include "gelu.h"
#include "lanes.h"
#include "maps.h"
#include "products.h"
#include "threads.h"

namespace {

constexpr int64_t HIDDEN_LINES = 32;  // of a pixel's hidden values at a time

thread_local Memory ROWS, HIDDEN;

// What the caller hands over, in these structures (library.py has the same), beside maps

struct Setting {
  int64_t threads;
  int32_t bfloat16;  // whether packed weights are
  float eps;         // of every norm
};

struct Images {
  const float* data;
  int64_t colours, strides[4];  // values from one image, colour, line, column to the next
};

struct Layer {
  const void* weight;  // packed, (outputs, inputs)
  int64_t outputs, inputs;
  const float* bias;
  template <class T>
  Weight<T> packed() const {
    return {static_cast<const T*>(weight), outputs / PANEL, inputs};
  }
};

struct BlockWeights {
  const float *kernel, *bias;
  Layer expand, reduce;
};

// A linear layer of rows, gathered for pixels, and what is to follow for each:
// gather(first pixel, last, rows), done(pixel, output, low, high), finish(pixel)
template <class T, class Gather, class Done, class Finish>
void linear(int64_t pixels, const Weight<T>& weight, int64_t threads, const Gather& gather,
            const Done& done, const Finish& finish) {
  const Chunks<T> chunks(pixels, threads);
  const Room<T> room(chunks, weight.inputs, ROWS);
  if (!chunks.few) {
    chunks.each([&](int64_t first, int64_t last, int64_t thread) {
      [[maybe_unused]] const Unit<T> unit;
      gather(first, last, room.of(thread));
      product(room.of(thread), last - first, weight, 0, weight.panels, 0, weight.inputs,
              [&](int64_t group, int64_t i, int64_t n, Lanes low, Lanes high) {
                done(first + group + i, n, low, high);
              });
      for (int64_t i = first; i < last; ++i) finish(i);
    });
  } else {
    chunks.gather(room.all(), gather);
    chunks.share(room.all(), weight,
                 [&](int64_t group, int64_t i, int64_t n, Lanes low, Lanes high) {
                   done(group + i, n, low, high);
                 });
    in_parallel(pixels, threads, [&](int64_t i, int64_t) { finish(i); });
  }
}

// What a layer's results become: a map, with a bias
inline auto biased(const Map& map, const std::vector<int64_t>& places, const float* bias) {
  return [&map, &places, bias](int64_t i, int64_t n, Lanes low, Lanes high) {
    const Pixel pixel = map.at(places[i]);
    store(pixel + n, low + load(bias + n));
    store(pixel + (n + LANES), high + load(bias + n + LANES));
  };
}

template <class T>
void stem(const Map& map, const Images& images, int64_t patch, const Layer& layer,
          const float* scale, const float* shift, const Setting& setting) {
  const auto [by_image, by_colour, by_line, by_column] = images.strides;
  const std::vector<int64_t> places = map.places();
  const std::vector<float> mask = map.mask();
  const auto gather = [&](int64_t first, int64_t last, const Rows<T>& rows) {
    std::vector<float> values(rows.width, 0.0f);
    for (int64_t i = first; i < last; ++i) {
      const int64_t line = i / map.w, x = i % map.w * patch, y = line % map.h * patch;
      const float* image = images.data + line / map.h * by_image;
      float* value = values.data();
      for (int64_t colour = 0; colour < images.colours; ++colour)
        for (int64_t dy = 0; dy < patch; ++dy) {
          const float* from = image + colour * by_colour + (y + dy) * by_line + x * by_column;
          for (int64_t dx = 0; dx < patch; ++dx) *value++ = from[dx * by_column];
        }
      for (int64_t c = 0; c < rows.width; c += PANEL)
        put(rows.row(i - first), c, load(&values[c]), load(&values[c + LANES]));
    }
  };
  const auto finish = [&](int64_t i) {
    const Pixel pixel = map.at(places[i]);
    normalise(map, pixel, setting.eps, mask.data(), [&](int64_t c, Lanes low, Lanes high) {
      store(pixel + c, low * load(scale + c) + load(shift + c));
      store(pixel + (c + LANES), high * load(scale + c + LANES) + load(shift + c + LANES));
    });
  };
  linear(map.pixels(), layer.packed<T>(), setting.threads, gather, biased(map, places, layer.bias),
         finish);
  zero_border(map, setting.threads);
}

template <class T>
void downsample(const Map& map, const Map& from, const Layer& layer, const Setting& setting) {
  const std::vector<int64_t> places = map.places();
  const std::vector<float> mask = from.mask();
  const auto gather = [&](int64_t first, int64_t last, const Rows<T>& rows) {
    for (int64_t i = first; i < last; ++i)
      for (int64_t part = 0; part < 4; ++part) {
        const int64_t line = i / map.w, y = line % map.h * 2 + part / 2;
        const Pixel pixel = from.pixel(line / map.h * from.h + y, i % map.w * 2 + part % 2);
        normalise(from, pixel, setting.eps, mask.data(), [&](int64_t c, Lanes low, Lanes high) {
          put(rows.row(i - first), part * from.width + c, low, high);
        });
      }
  };
  linear(map.pixels(), layer.packed<T>(), setting.threads, gather, biased(map, places, layer.bias),
         [](int64_t) {});
  zero_border(map, setting.threads);
}

template <class T>
struct Block {
  Map from, to;
  const int64_t* places;
  const float* mask;
  const BlockWeights& weights;
  const Setting& setting;
  Weight<T> expand = weights.expand.packed<T>(), reduce = weights.reduce.packed<T>();

  // The norm's rows
  void gather(int64_t first, int64_t last, const Rows<T>& rows) const {
    const std::unique_ptr<float[]> line(new float[std::min(from.w, last - first) * from.width]);
    for (int64_t i = first; i < last;) {
      const int64_t x = i % from.w, some = std::min(from.w - x, last - i);
      depthwise(from, i / from.w, x, x + some, weights.kernel, weights.bias, line.get());
      for (int64_t j = 0; j < some; ++j, ++i) {
        T* row = rows.row(i - first);
        normalise(from, {&line[j * from.width], SOME}, setting.eps, mask,
                  [&](int64_t c, Lanes low, Lanes high) { put(row, c, low, high); });
      }
    }
  }

  // Hidden values from `n` on, which stand in the row from `place` on
  void activate(T* row, int64_t place, int64_t n, Lanes low, Lanes high) const {
    const float* b = weights.expand.bias + n;
    put(row, place, gelu<T>(low + load(b)), gelu<T>(high + load(b + LANES)));
  }

  // The branch, or a part of it, to what it is added to
  void add(bool begins, int64_t i, int64_t n, Lanes low, Lanes high) const {
    const Pixel x = (begins ? from : to).at(places[i]), sum = to.at(places[i]);
    if (begins) {
      low += load(weights.reduce.bias + n);
      high += load(weights.reduce.bias + n + LANES);
    }
    store(sum + n, load(x + n) + low);
    store(sum + (n + LANES), load(x + (n + LANES)) + high);
  }

  // A chunk, some of its hidden values at a time
  void chunk(int64_t first, int64_t last, const Rows<T>& rows, const Rows<T>& hidden) const {
    [[maybe_unused]] const Unit<T> unit;
    gather(first, last, rows);
    for (int64_t h = 0; h < reduce.inputs; h += hidden.width) {
      const int64_t end = std::min(h + hidden.width, reduce.inputs);
      product(rows, last - first, expand, h / PANEL, end / PANEL, 0, expand.inputs,
              [&](int64_t group, int64_t i, int64_t n, Lanes low, Lanes high) {
                activate(hidden.row(group, i), n - h, n, low, high);
              });
      product(hidden, last - first, reduce, 0, reduce.panels, h, end,
              [&](int64_t group, int64_t i, int64_t n, Lanes low, Lanes high) {
                add(h == 0, first + group + i, n, low, high);
              });
    }
  }

  void run() const {
    const Chunks<T> chunks(from.pixels(), setting.threads);
    const int64_t some = std::min(reduce.inputs, HIDDEN_LINES * VALUES<T>);
    const Room<T> room(chunks, from.width, ROWS),
        hidden(chunks, chunks.few ? reduce.inputs : some, HIDDEN);
    if (!chunks.few)
      return chunks.each([&](int64_t first, int64_t last, int64_t thread) {
        chunk(first, last, room.of(thread), hidden.of(thread));
      });
    chunks.gather(room.all(), [&](auto... arguments) { gather(arguments...); });
    chunks.share(room.all(), expand,
                 [&](int64_t group, int64_t i, int64_t n, Lanes low, Lanes high) {
                   activate(hidden.all().row(group, i), n, n, low, high);
                 });
    chunks.share(hidden.all(), reduce,
                 [&](int64_t group, int64_t i, int64_t n, Lanes low, Lanes high) {
                   add(true, group + i, n, low, high);
                 });
  }
};

template <class T>
void blocks(Map from, Map to, const BlockWeights* weights, int64_t count, const Setting& setting) {
  zero_border(to, setting.threads);
  const std::vector<int64_t> places = from.places();
  const std::vector<float> mask = from.mask();
  for (int64_t i = 0; i < count; ++i, std::swap(from, to))
    Block<T>{from, to, places.data(), mask.data(), weights[i], setting}.run();
}

#ifdef HAS_BFLOAT16
#define FOR_TYPE(bfloat16, function, ...) \
  (bfloat16 ? function<BFloat16>(__VA_ARGS__) : function<float>(__VA_ARGS__))
#else
#define FOR_TYPE(bfloat16, function, ...) function<float>(__VA_ARGS__)
#endif

}  // namespace

extern "C" {

int32_t convnext_has_bfloat16() { return has_bfloat16(); }

void convnext_pack(const float* from, int64_t outputs, int64_t inputs, int32_t bfloat16, void* to) {
  bfloat16 ? pack(from, outputs, inputs, static_cast<BFloat16*>(to))
           : pack(from, outputs, inputs, static_cast<float*>(to));
}

void convnext_stem(const Map* map, const Images* images, int64_t patch, const Layer* layer,
                   const float* scale, const float* shift, const Setting* setting) {
  FOR_TYPE(setting->bfloat16, stem, *map, *images, patch, *layer, scale, shift, *setting);
}

void convnext_downsample(const Map* map, const Map* from, const Layer* layer,
                         const Setting* setting) {
  FOR_TYPE(setting->bfloat16, downsample, *map, *from, *layer, *setting);
}

// from one map to the other and back; with an odd count the results are in the second
void convnext_blocks(const Map* map, const Map* other, const BlockWeights* weights, int64_t count,
                     const Setting* setting) {
  FOR_TYPE(setting->bfloat16, blocks, *map, *other, weights, count, *setting);
}
}
