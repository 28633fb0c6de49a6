// ConvNeXt's stem, downsampling and blocks for inference on a CPU; called by network.py.
//
// A map is (N, H + 6, W + 6, C) float32: a border of zeros as wide as the depthwise kernel reaches,
// and C padded with zeros to whole PANELs. A block runs depthwise convolution and norm in one pass,
// then the MLP over some rows at a time, so that their 4C hidden values stay in cache, and adds its
// branch to the map in place. The caller has folded the norm's weight and bias and the layer scale
// into the linear layers, and padded and laid out all weights.
//
// T is what linear layers multiply: float, by the BLAS that PyTorch has, or bfloat16, by the tiles
// (AMX) of the CPU. Everything else is float32. All memory is the caller's, who keeps it from call to
// call: the page faults of fresh memory would take longer than the arithmetic.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__linux__)
#define HAS_TILES
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

constexpr int64_t LANES = 16, PANEL = 32, KERNEL = 7, BORDER = KERNEL / 2;
constexpr int64_t ROWS = 2048;  // whose hidden values are computed at a time
constexpr int64_t CHUNK = 128;  // rows of one thread's task in a product of tiles

typedef float Lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef float Loose __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

inline Lanes load(const float* p) { return *reinterpret_cast<const Loose*>(p); }
inline void store(float* p, Lanes v) { *reinterpret_cast<Loose*>(p) = v; }
inline Lanes all(float v) { return Lanes{} + v; }
inline int64_t whole(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

inline float sum(Lanes v) {
  float total = 0;
  for (int64_t i = 0; i < LANES; ++i) total += v[i];
  return total;
}

// The exact GELU. erf(z) = z P(z^2) / Q(z^2) up to |z| = 4, beyond which it is 1 in float32: a
// minimax fit, off by 2e-8, which is less than float32 rounds.
inline Lanes gelu(Lanes x) {
  constexpr float P[] = {1.1283789764151857f,   0.19624911756036986f,    0.053467493894528574f,
                         0.004003651982347074f, 0.00028804159115602447f, 1.9748287350238633e-06f};
  constexpr float Q[] = {1.0f,                  0.507252410797384f,    0.11647648226038554f,
                         0.015444432853491669f, 0.001216361525118765f, 3.748085878460042e-05f};
  const Lanes end = all(4.0f);
  Lanes z = x * 0.70710678118654752f;
  z = z > end ? end : z;
  z = z < -end ? -end : z;
  const Lanes t = z * z;
  Lanes p = all(P[5]), q = all(Q[5]);
  for (int i = 4; i >= 0; --i) {
    p = p * t + P[i];
    q = q * t + Q[i];
  }
  return 0.5f * x * (1.0f + z * p / q);
}

// ---- linear layers ----
//
// Rows<T> is what they multiply, (rows, width); product<T> calls epilogue(row, column, low, high)
// for every PANEL of every row of the result. `result` is memory for float products.

template <class T>
struct Rows;

template <>
struct Rows<float> {
  at::Tensor memory;
  float* data;
  int64_t width;
  Rows(const at::Tensor& flat, int64_t rows, int64_t width_)
      : memory(flat.slice(0, 0, rows * width_).view({rows, width_})),
        data(memory.data_ptr<float>()), width(width_) {}
  Rows from(int64_t row) const {
    return Rows(memory.slice(0, row).flatten(), memory.size(0) - row, width);
  }
  void put(int64_t m, int64_t c, Lanes v) const { store(data + m * width + c, v); }
};

template <class Epilogue>
void product(const Rows<float>& a, int64_t count, const at::Tensor& weight,
             const at::Tensor& result, const Epilogue& done) {
  const int64_t width = weight.size(1);
  at::Tensor sums = result.slice(0, 0, count * width).view({count, width});
  at::mm_out(sums, a.memory.slice(0, 0, count), weight);
  const float* data = sums.data_ptr<float>();
  at::parallel_for(0, count, 64, [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m)
      for (int64_t n = 0; n < width; n += PANEL)
        done(m, n, load(data + m * width + n), load(data + m * width + n + LANES));
  });
}

#ifdef HAS_TILES
// Tiles of 16 rows by 32 columns, 1 KB each, one after the other along a row of tiles.
template <>
struct Rows<at::BFloat16> {
  at::BFloat16* data;
  int64_t width;
  Rows(at::BFloat16* data_, int64_t width_) : data(data_), width(width_) {}
  Rows(const at::Tensor& flat, int64_t, int64_t width_)
      : data(flat.data_ptr<at::BFloat16>()), width(width_) {}
  Rows from(int64_t row) const { return Rows(data + row * width, width); }  // row: whole PANELs
  at::BFloat16* tile(int64_t m, int64_t c) const { return data + m / 16 * 16 * width + c / 32 * 512; }
  void put(int64_t m, int64_t c, Lanes v) const {
    auto* place = reinterpret_cast<__m256bh*>(tile(m, c) + m % 16 * 32 + c % 32);
    *place = _mm512_cvtneps_pbh((__m512)v);
  }
};

struct Tiles {  // all eight of a thread's, 16 rows of 64 bytes, while in scope
  struct alignas(64) Config {
    uint8_t palette = 1, start = 0, unused[14] = {};
    uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  };
  Tiles() {
    const Config config;
    _tile_loadconfig(&config);
  }
  ~Tiles() { _tile_release(); }
};

// 32 rows by one panel of columns
inline void multiply_tiles(const Rows<at::BFloat16>& a, int64_t m, const at::BFloat16* panel,
                           float (*sums)[PANEL]) {
  const at::BFloat16 *upper = a.tile(m, 0), *lower = a.tile(m + 16, 0);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t k = 0; k < a.width; k += 32, upper += 512, lower += 512, panel += 1024) {
    _tile_loadd(4, upper, 64);
    _tile_loadd(5, lower, 64);
    _tile_loadd(6, panel, 64);
    _tile_loadd(7, panel + 512, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums[0], sizeof(sums[0]));
  _tile_stored(1, sums[0] + 16, sizeof(sums[0]));
  _tile_stored(2, sums[16], sizeof(sums[0]));
  _tile_stored(3, sums[16] + 16, sizeof(sums[0]));
}

template <class Epilogue>
void product(const Rows<at::BFloat16>& a, int64_t count, const at::Tensor& weight,
             const at::Tensor&, const Epilogue& done) {
  const int64_t panels = weight.size(0), chunks = (count + CHUNK - 1) / CHUNK;
  const at::BFloat16* packed = weight.data_ptr<at::BFloat16>();
  at::parallel_for(0, chunks * panels, 1, [&](int64_t begin, int64_t end) {
    const Tiles tiles;
    alignas(64) float sums[PANEL][PANEL];
    for (int64_t task = begin; task < end; ++task) {
      const int64_t p = task % panels, first = task / panels * CHUNK;
      const int64_t last = std::min(first + CHUNK, count);
      for (int64_t m = first; m < last; m += PANEL) {
        multiply_tiles(a, m, packed + p * a.width * PANEL, sums);
        for (int64_t i = 0; i < std::min(PANEL, last - m); ++i)
          done(m + i, p * PANEL, load(sums[i]), load(sums[i] + LANES));
      }
    }
  });
}

// Linux gives a process its tiles on request: ARCH_REQ_XCOMP_PERM for XTILEDATA
bool allow_tiles() { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }
#else
bool allow_tiles() { return false; }
#endif

// ---- maps ----

struct Map {
  at::Tensor tensor;
  float* data;
  int64_t n, h, w, c, width;  // h and w without the border; c channels, padded to width

  Map(const at::Tensor& t, int64_t channels)
      : tensor(t), data(t.data_ptr<float>()), n(t.size(0)), h(t.size(1) - 2 * BORDER),
        w(t.size(2) - 2 * BORDER), c(channels), width(t.size(3)) {}

  int64_t pixels() const { return n * h * w; }
  int64_t line() const { return (w + 2 * BORDER) * width; }
  // where the kernel of the first pixel of the row-th line begins, in the border
  float* corner(int64_t row) const { return data + (row / h * (h + 2 * BORDER) + row % h) * line(); }
  float* pixel(int64_t row, int64_t x) const {
    return corner(row) + BORDER * line() + (BORDER + x) * width;
  }
  std::vector<float*> all_pixels() const {
    std::vector<float*> table;
    table.reserve(pixels());
    for (int64_t row = 0; row < n * h; ++row)
      for (int64_t x = 0; x < w; ++x) table.push_back(pixel(row, x));
    return table;
  }
  std::vector<float> mask() const {  // 1 for channels, 0 for padding
    std::vector<float> values(width, 0.0f);
    std::fill_n(values.begin(), c, 1.0f);
    return values;
  }
};

void zero_border(const Map& map) {
  map.tensor.slice(1, 0, BORDER).zero_();
  map.tensor.slice(1, map.h + BORDER).zero_();
  map.tensor.slice(2, 0, BORDER).zero_();
  map.tensor.slice(2, map.w + BORDER).zero_();
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
inline void depthwise(const Map& map, const float* in, const float* weight, Lanes bias,
                      float* out) {
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

template <class T>
void depthwise_and_norm(const Map& map, const at::Tensor& weight, const at::Tensor& bias, float eps,
                        const Rows<T>& y) {
  const std::vector<float> mask = map.mask();
  const float *k = weight.data_ptr<float>(), *b = bias.data_ptr<float>();
  at::parallel_for(0, map.n * map.h, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> line(map.w * map.width);
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t c = 0; c < map.width; c += LANES) {
        const float* in = map.corner(row) + c;
        int64_t x = 0;
        for (; x + 7 <= map.w; x += 7)
          depthwise<7>(map, in + x * map.width, k + c, load(b + c), &line[x * map.width + c]);
        for (; x < map.w; ++x)
          depthwise<1>(map, in + x * map.width, k + c, load(b + c), &line[x * map.width + c]);
      }
      for (int64_t x = 0; x < map.w; ++x)
        normalise(map, &line[x * map.width], eps, mask.data(),
                  [&](int64_t c, Lanes v) { y.put(row * map.w + x, c, v); });
    }
  });
}

// ---- the operators ----

struct Memory {  // of the caller, flat
  at::Tensor rows, hidden, result;  // of T, of T, float32
};

Memory memory_of(at::TensorList tensors) { return {tensors[0], tensors[1], tensors[2]}; }

// patches, as rows, through a linear layer into a map
template <class T>
void linear_map(const Rows<T>& patches, const at::Tensor& weight, const at::Tensor& bias,
                const at::Tensor& result, const Map& map) {
  zero_border(map);
  const std::vector<float*> out = map.all_pixels();
  const float* b = bias.data_ptr<float>();
  for (int64_t first = 0; first < map.pixels(); first += ROWS) {
    const int64_t count = std::min(ROWS, map.pixels() - first);
    product(patches.from(first), count, weight, result,
            [&](int64_t m, int64_t n, Lanes low, Lanes high) {
              store(out[first + m] + n, low + load(b + n));
              store(out[first + m] + n + LANES, high + load(b + n + LANES));
            });
  }
}

template <class T>
void stem(const Map& map, const Memory& memory, const at::Tensor& pictures, int64_t patch,
          const at::Tensor& weight, const at::Tensor& bias) {
  const int64_t colours = pictures.size(1), height = pictures.size(2), width = pictures.size(3);
  const float* in = pictures.data_ptr<float>();
  const Rows<T> patches(memory.rows, map.pixels(), whole(colours * patch * patch, PANEL));
  at::parallel_for(0, map.n * map.h, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> values(patches.width, 0.0f);
    for (int64_t row = begin; row < end; ++row)
      for (int64_t x = 0; x < map.w; ++x) {
        float* value = values.data();
        for (int64_t i = 0; i < colours; ++i) {
          const float* plane = in + (row / map.h * colours + i) * height * width;
          for (int64_t y = 0; y < patch; ++y, value += patch)
            std::copy_n(plane + (row % map.h * patch + y) * width + x * patch, patch, value);
        }
        for (int64_t c = 0; c < patches.width; c += LANES)
          patches.put(row * map.w + x, c, load(&values[c]));
      }
  });
  linear_map(patches, weight, bias, memory.result, map);
}

// `from` and `to` may share memory
template <class T>
void downsampling(const Map& from, const Map& to, const Memory& memory, const at::Tensor& weight,
                  const at::Tensor& bias, float eps) {
  const std::vector<float> mask = from.mask();
  const Rows<T> patches(memory.rows, to.pixels(), 4 * from.width);
  at::parallel_for(0, to.n * to.h, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t y = 0; y < 2; ++y)
        for (int64_t x = 0; x < 2 * to.w; ++x)
          normalise(from, from.pixel(row / to.h * from.h + row % to.h * 2 + y, x), eps,
                    mask.data(), [&](int64_t c, Lanes v) {
                      patches.put(row * to.w + x / 2, (y * 2 + x % 2) * from.width + c, v);
                    });
  });
  linear_map(patches, weight, bias, memory.result, to);
}

template <class T>
void blocks(const Map& map, const Memory& memory, float eps, at::TensorList weights,
            int64_t hidden_width) {
  const int64_t pixels = map.pixels();
  const std::vector<float*> out = map.all_pixels();
  const Rows<T> y(memory.rows, pixels, map.width);
  const Rows<T> hidden(memory.hidden, std::min(ROWS, pixels), hidden_width);
  for (size_t i = 0; i < weights.size(); i += 6) {
    depthwise_and_norm(map, weights[i], weights[i + 1], eps, y);
    const float* bias1 = weights[i + 3].data_ptr<float>();
    const float* bias2 = weights[i + 5].data_ptr<float>();
    for (int64_t first = 0; first < pixels; first += ROWS) {
      const int64_t count = std::min(ROWS, pixels - first);
      product(y.from(first), count, weights[i + 2], memory.hidden,  // float: GELU in its place
              [&](int64_t m, int64_t n, Lanes low, Lanes high) {
                hidden.put(m, n, gelu(low + load(bias1 + n)));
                hidden.put(m, n + LANES, gelu(high + load(bias1 + n + LANES)));
              });
      product(hidden, count, weights[i + 4], memory.result,
              [&](int64_t m, int64_t n, Lanes low, Lanes high) {
                float* x = out[first + m] + n;
                store(x, load(x) + low + load(bias2 + n));
                store(x + LANES, load(x + LANES) + high + load(bias2 + n + LANES));
              });
    }
  }
}

#ifdef HAS_TILES
#define FOR_TYPE_OF(weight, function, ...)                                                  \
  (weight.scalar_type() == at::kBFloat16 ? function<at::BFloat16>(__VA_ARGS__)              \
                                         : function<float>(__VA_ARGS__))
#else
#define FOR_TYPE_OF(weight, function, ...) function<float>(__VA_ARGS__)
#endif

void stem_(at::Tensor map, int64_t channels, at::TensorList memory, const at::Tensor& pictures,
           int64_t patch, const at::Tensor& weight, const at::Tensor& bias) {
  FOR_TYPE_OF(weight, stem, Map(map, channels), memory_of(memory), pictures, patch,
              weight, bias);
}

void downsampling_(at::Tensor map, int64_t channels, at::TensorList memory, const at::Tensor& from,
                   int64_t from_channels, const at::Tensor& weight, const at::Tensor& bias,
                   double eps) {
  FOR_TYPE_OF(weight, downsampling, Map(from, from_channels), Map(map, channels),
              memory_of(memory), weight, bias, eps);
}

void blocks_(at::Tensor map, int64_t channels, at::TensorList memory, at::TensorList weights,
             int64_t hidden_width, double eps) {
  FOR_TYPE_OF(weights[2], blocks, Map(map, channels), memory_of(memory), eps,
              weights, hidden_width);
}

void norm_(at::Tensor tensor, int64_t channels, const at::Tensor& weight, const at::Tensor& bias,
           double eps) {
  const Map map(tensor, channels);
  const std::vector<float> mask = map.mask();
  const float *k = weight.data_ptr<float>(), *b = bias.data_ptr<float>();
  at::parallel_for(0, map.n * map.h, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t x = 0; x < map.w; ++x) {
        float* pixel = map.pixel(row, x);
        normalise(map, pixel, eps, mask.data(), [&](int64_t c, Lanes v) {
          store(pixel + c, v * load(k + c) + load(b + c));
        });
      }
  });
}

}  // namespace

TORCH_LIBRARY(convnext, m) {
  m.def("allow_tiles() -> bool", &allow_tiles);
  m.def("stem_(Tensor(a!) map, int channels, Tensor(b!)[] memory, Tensor pictures, int patch,"
        " Tensor weight, Tensor bias) -> ()");
  m.def("downsampling_(Tensor(a!) map, int channels, Tensor(b!)[] memory, Tensor from_map,"
        " int from_channels, Tensor weight, Tensor bias, float eps) -> ()");
  m.def("norm_(Tensor(a!) map, int channels, Tensor weight, Tensor bias, float eps) -> ()");
  m.def("blocks_(Tensor(a!) map, int channels, Tensor(b!)[] memory, Tensor[] weights,"
        " int hidden_width, float eps) -> ()");
}

TORCH_LIBRARY_IMPL(convnext, CPU, m) {
  m.impl("stem_", &stem_);
  m.impl("downsampling_", &downsampling_);
  m.impl("norm_", &norm_);
  m.impl("blocks_", &blocks_);
}
