// ConvNeXt's stem, downsampling and blocks for inference on a CPU; called by network.py.
//
// Each reads one map and writes another. A thread takes a chunk of pixels and does everything for
// them while they are in its cache; where there are too few pixels for that, all threads share
// them, and take some outputs of every linear layer each. The caller has folded the norm's weight
// and bias and the layer scale into the linear layers, and padded and packed all weights. T is what
// these multiply; everything else is float32.

#include <ATen/ATen.h>
#include <torch/library.h>

#include <memory>

#include "chunks.h"
#include "gelu.h"
#include "lanes.h"
#include "maps.h"
#include "products.h"

namespace {

constexpr int64_t HIDDEN_LINES = 32;  // of a pixel's hidden values at a time

// A linear layer of rows, gathered for pixels, and what is to follow for each:
// gather(first pixel, last, rows), done(pixel, output, low, high), finish(pixel)
template <class T, class Gather, class Done, class Finish>
void linear(int64_t pixels, const Weight<T>& weight, const Gather& gather, const Done& done,
            const Finish& finish) {
  const Chunks<T> chunks(pixels);
  const Room<T> room(chunks, weight.inputs);
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
    in_parallel(pixels, [&](int64_t i, int64_t) { finish(i); });
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
void stem(const at::Tensor& tensor, int64_t channels, const at::Tensor& pictures, int64_t patch,
          const at::Tensor& weight, at::TensorList vectors, double eps) {
  const Map map(tensor, channels);
  const int64_t colours = pictures.size(1), height = pictures.size(2), width = pictures.size(3);
  const float *in = pictures.data_ptr<float>(), *bias = vectors[0].data_ptr<float>(),
              *scale = vectors[1].data_ptr<float>(), *shift = vectors[2].data_ptr<float>();
  const std::vector<int64_t> places = map.places();
  const std::vector<float> mask = map.mask();
  const Weight<T> layer(weight);
  const auto gather = [&](int64_t first, int64_t last, const Rows<T>& rows) {
    std::vector<float> values(rows.width, 0.0f);
    for (int64_t i = first; i < last; ++i) {
      const int64_t line = i / map.w, x = i % map.w;
      float* value = values.data();
      for (int64_t colour = 0; colour < colours; ++colour) {
        const float* plane = in + (line / map.h * colours + colour) * height * width;
        for (int64_t y = 0; y < patch; ++y, value += patch) {
          const float* first = plane + (line % map.h * patch + y) * width + x * patch;
          patch == 4 ? std::copy_n(first, 4, value) : std::copy_n(first, patch, value);  // at once
        }
      }
      for (int64_t c = 0; c < rows.width; c += PANEL)
        put(rows.row(i - first), c, load(&values[c]), load(&values[c + LANES]));
    }
  };
  linear(map.pixels(), layer, gather, biased(map, places, bias), [&](int64_t i) {
    const Pixel pixel = map.at(places[i]);
    normalise(map, pixel, eps, mask.data(), [&](int64_t c, Lanes low, Lanes high) {
      store(pixel + c, low * load(scale + c) + load(shift + c));
      store(pixel + (c + LANES), high * load(scale + c + LANES) + load(shift + c + LANES));
    });
  });
  zero_border(map);
}

template <class T>
void downsampling(const at::Tensor& tensor, int64_t channels, const Map& from,
                  const at::Tensor& weight, const at::Tensor& bias_, double eps) {
  const Map map(tensor, channels);
  const float* bias = bias_.data_ptr<float>();
  const std::vector<int64_t> places = map.places();
  const std::vector<float> mask = from.mask();
  const auto gather = [&](int64_t first, int64_t last, const Rows<T>& rows) {
    for (int64_t i = first; i < last; ++i)
      for (int64_t part = 0; part < 4; ++part) {
        const int64_t line = i / map.w, y = line % map.h * 2 + part / 2;
        const Pixel pixel = from.pixel(line / map.h * from.h + y, i % map.w * 2 + part % 2);
        normalise(from, pixel, eps, mask.data(), [&](int64_t c, Lanes low, Lanes high) {
          put(rows.row(i - first), part * from.width + c, low, high);
        });
      }
  };
  linear(map.pixels(), Weight<T>(weight), gather, biased(map, places, bias), [](int64_t) {});
  zero_border(map);
}

template <class T>
struct Block {
  Map from, to;
  const int64_t* places;
  const float *kernel, *bias, *expand_bias, *reduce_bias, *mask;
  Weight<T> expand, reduce;
  float eps;

  // The norm's rows
  void gather(int64_t first, int64_t last, const Rows<T>& rows) const {
    const std::unique_ptr<float[]> line(new float[std::min(from.w, last - first) * from.width]);
    for (int64_t i = first; i < last;) {
      const int64_t x = i % from.w, some = std::min(from.w - x, last - i);
      depthwise(from, i / from.w, x, x + some, kernel, bias, line.get());
      for (int64_t j = 0; j < some; ++j, ++i) {
        T* row = rows.row(i - first);
        normalise(from, {&line[j * from.width], SOME}, eps, mask,
                  [&](int64_t c, Lanes low, Lanes high) { put(row, c, low, high); });
      }
    }
  }

  // Hidden values from `n` on, which stand in the row from `place` on
  void activate(T* row, int64_t place, int64_t n, Lanes low, Lanes high) const {
    const float* b = expand_bias + n;
    put(row, place, gelu<T>(low + load(b)), gelu<T>(high + load(b + LANES)));
  }

  // The branch, or a part of it, to what it is added to
  void add(bool begins, int64_t i, int64_t n, Lanes low, Lanes high) const {
    const Pixel x = (begins ? from : to).at(places[i]), sum = to.at(places[i]);
    if (begins) {
      low += load(reduce_bias + n);
      high += load(reduce_bias + n + LANES);
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
    const Chunks<T> chunks(from.pixels());
    const int64_t some = std::min(reduce.inputs, HIDDEN_LINES * VALUES<T>);
    const Room<T> room(chunks, from.width), hidden(chunks, chunks.few ? reduce.inputs : some);
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
void blocks(const at::Tensor& map, const at::Tensor& other, int64_t channels,
            at::TensorList weights, double eps) {
  Map from(map, channels), to(other, channels);
  zero_border(to);
  const std::vector<int64_t> places = from.places();
  const std::vector<float> mask = from.mask();
  const auto vector = [&](size_t i) { return weights[i].data_ptr<float>(); };
  for (size_t i = 0; i < weights.size(); i += 6, std::swap(from, to))
    Block<T>{from, to, places.data(), vector(i), vector(i + 1), vector(i + 3), vector(i + 5),
             mask.data(), Weight<T>(weights[i + 2]), Weight<T>(weights[i + 4]),
             static_cast<float>(eps)}
        .run();
}

#ifdef HAS_BFLOAT16
#define FOR_TYPE_OF(weight, function, ...)                                                  \
  (weight.scalar_type() == at::kBFloat16 ? function<at::BFloat16>(__VA_ARGS__)              \
                                         : function<float>(__VA_ARGS__))
#else
#define FOR_TYPE_OF(weight, function, ...) function<float>(__VA_ARGS__)
#endif

void stem_(at::Tensor map, int64_t channels, const at::Tensor& pictures, int64_t patch,
           const at::Tensor& weight, at::TensorList vectors, double eps) {
  FOR_TYPE_OF(weight, stem, map, channels, pictures, patch, weight, vectors, eps);
}

void downsampling_(at::Tensor map, int64_t channels, const at::Tensor& from, int64_t from_channels,
                   const at::Tensor& weight, const at::Tensor& bias, double eps) {
  FOR_TYPE_OF(weight, downsampling, map, channels, Map(from, from_channels), weight, bias, eps);
}

void blocks_(at::Tensor map, at::Tensor other, int64_t channels, at::TensorList weights,
             double eps) {
  FOR_TYPE_OF(weights[2], blocks, map, other, channels, weights, eps);
}

}  // namespace

TORCH_LIBRARY(convnext, m) {
  m.def("has_bfloat16() -> bool", &has_bfloat16);
  m.def("packed(Tensor weight, bool bfloat16) -> Tensor", &packed);
  m.def("stem_(Tensor(a!) map, int channels, Tensor pictures, int patch, Tensor weight,"
        " Tensor[] vectors, float eps) -> ()");
  m.def("downsampling_(Tensor(a!) map, int channels, Tensor from_map, int from_channels,"
        " Tensor weight, Tensor bias, float eps) -> ()");
  m.def("blocks_(Tensor(a!) map, Tensor(b!) other, int channels, Tensor[] weights, float eps)"
        " -> ()");
}

TORCH_LIBRARY_IMPL(convnext, CPU, m) {
  m.impl("stem_", &stem_);
  m.impl("downsampling_", &downsampling_);
  m.impl("blocks_", &blocks_);
}
