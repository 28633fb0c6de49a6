// Matrix products of rows with a packed weight: a pointwise convolution, or one without overlap.
//
// T is the type that is multiplied: float, or bfloat16 by dot products of pairs (AVX-512 BF16) or
// by tiles (AMX). Sums are float. Everything is laid out in lines of 64 bytes, 16 words each: a
// word is one float, or two bfloat16.
//
//   rows (count, inputs)            (count / TILE_ROWS, inputs / VALUES, TILE_ROWS, 16 words)
//   weight (outputs, inputs)        (outputs / PANEL, inputs / VALUES, 2, 16 words, VECTOR_WIDTH)
//
// A panel is two vectors of outputs: its products with TILE_ROWS rows fill the CPU's registers.

#pragma once

#include <algorithm>
#include <cstdint>

#include "constants.h"
#include "vectors.h"

#if defined(__AMX_BF16__) && defined(HAS_BFLOAT16) && defined(__linux__)
#define HAS_TILES
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

constexpr int64_t PANEL = 2 * VECTOR_WIDTH;

template <class T>
constexpr int64_t VALUES = LINE_BYTES / sizeof(T);  // of a line

template <class T>
constexpr int64_t TILE_ROWS = VECTOR_WIDTH == 16 ? 14 : 6;
#ifdef HAS_TILES
template <>
constexpr int64_t TILE_ROWS<BFloat16> = 32;  // of two of the CPU's tiles
#endif

inline int64_t divide_up(int64_t whole, int64_t part) { return (whole + part - 1) / part; }

template <class T>
struct Weight {
  const T* data;
  int64_t panels, inputs;
  const T* panel(int64_t p, int64_t input) const { return data + (p * inputs + input) * PANEL; }
};

template <class T>
struct Rows {
  T* data;
  int64_t width;
  // rows from `first` on, which begins a tile
  Rows from(int64_t first) const { return {data + first * width, width}; }
  // the first line of the i-th row of a tile
  T* row(int64_t tile, int64_t i) const { return data + tile * width + i * VALUES<T>; }
  T* row(int64_t i) const { return row(i - i % TILE_ROWS<T>, i % TILE_ROWS<T>); }
};

// Values [c, c + PANEL) of a row, whose first line is given
inline void put(float* row, int64_t c, Vector low, Vector high) {
  const auto place = [&](int64_t i) {
    return row + i / LINE_WORDS * LINE_WORDS * TILE_ROWS<float> + i % LINE_WORDS;
  };
  store(place(c), low);
  store(place(c + VECTOR_WIDTH), high);
}

#ifdef HAS_BFLOAT16
inline void put(BFloat16* row, int64_t c, Vector low, Vector high) {
  auto* line = reinterpret_cast<__m512bh*>(row + c * TILE_ROWS<BFloat16>);
  *line = _mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
}
#endif

// sum + x y, where x is one word and y one word for every element of the vector
template <class T>
struct Word;

template <>
struct Word<float> {
  static Vector fma(Vector sum, const float* x, const float* y) {
    return sum + broadcast(*x) * load(y);
  }
};

#ifdef HAS_BFLOAT16
template <>
struct Word<BFloat16> {
  static Vector fma(Vector sum, const BFloat16* x, const BFloat16* y) {
    const __m512i pair = _mm512_set1_epi32(*reinterpret_cast<const Pair*>(x));
    return (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)pair, (__m512bh)_mm512_loadu_si512(y));
  }
  typedef int32_t Pair __attribute__((may_alias));
};
#endif

// COUNT rows of a tile by one panel, over so many lines of inputs: sums (COUNT, PANEL). With every
// line it prefetches `step` lines of `ahead`.
template <class T, int64_t COUNT>
__attribute__((noinline)) void multiply_rows(const T* rows, const T* panel, int64_t lines,
                                             const T* ahead, int64_t step, float (*sums)[PANEL]) {
  constexpr int64_t WORD = VALUES<T> / LINE_WORDS;
  Vector low[COUNT], high[COUNT];
#pragma GCC unroll 14
  for (int64_t i = 0; i < COUNT; ++i) low[i] = high[i] = Vector{};
  for (; lines > 0; --lines, rows += TILE_ROWS<T> * VALUES<T>, panel += PANEL * VALUES<T>) {
    for (int64_t i = 0; i < step; ++i, ahead += VALUES<T>) __builtin_prefetch(ahead);
    for (int64_t k = 0; k < VALUES<T>; k += WORD) {
      const T *x = rows + k, *y = panel + k * VECTOR_WIDTH, *z = y + VECTOR_WIDTH * VALUES<T>;
#pragma GCC unroll 14
      for (int64_t i = 0; i < COUNT; ++i) {
        low[i] = Word<T>::fma(low[i], x + i * VALUES<T>, y);
        high[i] = Word<T>::fma(high[i], x + i * VALUES<T>, z);
      }
    }
  }
#pragma GCC unroll 14
  for (int64_t i = 0; i < COUNT; ++i) {
    store(sums[i], low[i]);
    store(sums[i] + VECTOR_WIDTH, high[i]);
  }
}

template <class T, int64_t MOST>
inline void multiply_some(const T* rows, int64_t count, const T* panel, int64_t lines,
                          const T* ahead, int64_t step, float (*sums)[PANEL]) {
  if constexpr (MOST > 1)
    if (count < MOST)
      return multiply_some<T, MOST - 1>(rows, count, panel, lines, ahead, step, sums);
  multiply_rows<T, MOST>(rows, panel, lines, ahead, step, sums);
}

template <class T>
inline void multiply(const T* rows, int64_t count, const T* panel, int64_t lines, const T* ahead,
                     int64_t step, float (*sums)[PANEL]) {
  multiply_some<T, TILE_ROWS<T>>(rows, count, panel, lines, ahead, step, sums);
}

// What a thread needs in order to multiply, while in scope
template <class T>
struct Unit {};

#ifdef HAS_TILES
template <>
struct Unit<BFloat16> {  // all eight tiles, 16 rows of 64 bytes
  struct alignas(64) Config {
    uint8_t palette = 1, start = 0, unused[14] = {};
    uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  };
  Unit() {
    const Config config;
    _tile_loadconfig(&config);
  }
  ~Unit() { _tile_release(); }
};

// all 32 rows, however many are in use
template <>
inline void multiply(const BFloat16* rows, int64_t, const BFloat16* panel, int64_t lines,
                     const BFloat16*, int64_t, float (*sums)[PANEL]) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (; lines > 0; --lines, rows += 1024, panel += 1024) {
    _tile_loadd(4, rows, 64);
    _tile_loadd(5, rows + 512, 64);
    _tile_loadd(6, panel, 64);
    _tile_loadd(7, panel + 512, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums[0], sizeof(sums[0]));
  _tile_stored(1, sums[0] + VECTOR_WIDTH, sizeof(sums[0]));
  _tile_stored(2, sums[16], sizeof(sums[0]));
  _tile_stored(3, sums[16] + VECTOR_WIDTH, sizeof(sums[0]));
}

// Linux gives a process its tiles (XTILEDATA) only on request
constexpr int ARCH_GET_XCOMP_SUPP = 0x1021, ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18;

inline bool has_bfloat16() {
  uint64_t supported = 0;
  return syscall(SYS_arch_prctl, ARCH_GET_XCOMP_SUPP, &supported) == 0 &&
         (supported >> XTILEDATA & 1);
}

inline bool request_tiles() {
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
}
#elif defined(HAS_BFLOAT16)
inline bool has_bfloat16() { return true; }
inline bool request_tiles() { return true; }
#else
inline bool has_bfloat16() { return false; }
inline bool request_tiles() { return false; }
#endif

// Inputs [from, to) of rows [0, count) by panels [first, last) of a weight. done(tile, i, output,
// low, high) takes each panel of results: `tile` is the tile's first row, i the row's place in it.
template <class T, class Done>
inline void gemm(const Rows<T>& rows, int64_t count, const Weight<T>& weight, int64_t first,
                 int64_t last, int64_t from, int64_t to, const Done& done) {
  alignas(LINE_BYTES) float sums[TILE_ROWS<T>][PANEL];
  const int64_t lines = (to - from) / VALUES<T>, tiles = divide_up(count, TILE_ROWS<T>);
  for (int64_t p = first; p < last; ++p) {
    const T *panel = weight.panel(p, from), *next = weight.panel(std::min(p + 1, last - 1), from);
    const int64_t step = divide_up(PANEL, tiles);  // every tile prefetches a part of the next panel
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t tile = t * TILE_ROWS<T>, some = std::min(TILE_ROWS<T>, count - tile);
      const T* ahead = next + t * lines * step * VALUES<T>;
      multiply(rows.row(tile, 0), some, panel, lines, ahead, step, sums);
      for (int64_t i = 0; i < some; ++i)
        done(tile, i, p * PANEL, load(sums[i]), load(sums[i] + VECTOR_WIDTH));
    }
  }
}

}  // namespace
