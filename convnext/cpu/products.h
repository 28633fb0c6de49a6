// Products of rows and packed weights: what a linear layer is.
//
// T is what is multiplied: float, or bfloat16 by dot products of pairs (AVX-512 BF16) or by tiles
// (AMX). Sums are float. Everything is laid out in lines of 64 bytes, which hold WORDS words: a
// word is a float, or two bfloat16.
//
// Rows: groups of GROUP rows, in each the first line of every row, then the second of every row...
// Weights: panels of PANEL outputs, in each a block for every line of the inputs, which holds two
// halves of LANES outputs; in each of these stands the first word of every output, then the second.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "lanes.h"

#if defined(__AMX_BF16__) && defined(HAS_BFLOAT16) && defined(__linux__)
#define HAS_TILES
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

constexpr int64_t WORDS = 16, PANEL = 2 * LANES;

template <class T>
constexpr int64_t VALUES = 64 / sizeof(T);  // of a line

// as many rows as the CPU has registers for their sums of one panel
template <class T>
constexpr int64_t GROUP = LANES == 16 ? 14 : 6;
#ifdef HAS_TILES
template <>
constexpr int64_t GROUP<BFloat16> = 32;  // two tiles
#endif

inline int64_t parts(int64_t whole, int64_t part) { return (whole + part - 1) / part; }

template <class T>
T rounded(float value);
template <>
float rounded(float value) {
  return value;
}
template <>
BFloat16 rounded(float value) {  // to nearest, ties to even
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return {static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

template <class T>
struct Weight {
  const T* data;
  int64_t panels, inputs;
  const T* panel(int64_t p, int64_t input) const { return data + (p * inputs + input) * PANEL; }
};

// from (outputs, inputs), whole panels and lines
template <class T>
void pack(const float* from, int64_t outputs, int64_t inputs, T* to) {
  constexpr int64_t WORD = VALUES<T> / WORDS;
  for (int64_t panel = 0; panel < outputs; panel += PANEL)
    for (int64_t line = 0; line < inputs; line += VALUES<T>)
      for (int64_t half = 0; half < PANEL; half += LANES)
        for (int64_t word = 0; word < VALUES<T>; word += WORD)
          for (int64_t lane = 0; lane < LANES; ++lane)
            for (int64_t i = 0; i < WORD; ++i)
              *to++ = rounded<T>(from[(panel + half + lane) * inputs + line + word + i]);
}

template <class T>
struct Rows {
  T* data;
  int64_t width;
  // those from a group's first on
  Rows from(int64_t group) const { return {data + group * width, width}; }
  // the first line of the i-th row of a group
  T* row(int64_t group, int64_t i) const { return data + group * width + i * VALUES<T>; }
  T* row(int64_t i) const { return row(i - i % GROUP<T>, i % GROUP<T>); }
};

// values [c, c + PANEL) of a row, whose first line is given
inline void put(float* row, int64_t c, Lanes low, Lanes high) {
  const auto place = [&](int64_t i) { return row + i / WORDS * WORDS * GROUP<float> + i % WORDS; };
  store(place(c), low);
  store(place(c + LANES), high);
}

#ifdef HAS_BFLOAT16
inline void put(BFloat16* row, int64_t c, Lanes low, Lanes high) {
  auto* line = reinterpret_cast<__m512bh*>(row + c * GROUP<BFloat16>);
  *line = _mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
}
#endif

// Words as they are multiplied: sum + x * y, where x is one word and y one for each lane
template <class T>
struct Word;

template <>
struct Word<float> {
  static Lanes fma(Lanes sum, const float* x, const float* y) { return sum + all(*x) * load(y); }
};

// COUNT rows of a group by a panel of so many lines. Of what will be needed next, `ahead`, it asks
// for `step` lines with each of its own.
template <class T, int64_t COUNT>
__attribute__((noinline)) void multiply_rows(const T* rows, const T* panel, int64_t lines,
                                             const T* ahead, int64_t step, float (*sums)[PANEL]) {
  constexpr int64_t WORD = VALUES<T> / WORDS;
  Lanes low[COUNT], high[COUNT];
#pragma GCC unroll 14
  for (int64_t i = 0; i < COUNT; ++i) low[i] = high[i] = Lanes{};
  for (; lines > 0; --lines, rows += GROUP<T> * VALUES<T>, panel += PANEL * VALUES<T>) {
    for (int64_t i = 0; i < step; ++i, ahead += VALUES<T>) __builtin_prefetch(ahead);
    for (int64_t k = 0; k < VALUES<T>; k += WORD) {
      const T *x = rows + k, *y = panel + k * LANES, *z = y + LANES * VALUES<T>;
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
    store(sums[i] + LANES, high[i]);
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
  multiply_some<T, GROUP<T>>(rows, count, panel, lines, ahead, step, sums);
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

// whatever the count, all rows of the group
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
  _tile_stored(1, sums[0] + LANES, sizeof(sums[0]));
  _tile_stored(2, sums[16], sizeof(sums[0]));
  _tile_stored(3, sums[16] + LANES, sizeof(sums[0]));
}

// Linux gives a process its tiles on request: ARCH_REQ_XCOMP_PERM for XTILEDATA
bool has_bfloat16() { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }
#elif defined(HAS_BFLOAT16)
template <>
struct Word<BFloat16> {
  static Lanes fma(Lanes sum, const BFloat16* x, const BFloat16* y) {
    const __m512i pair = _mm512_set1_epi32(*reinterpret_cast<const Pair*>(x));
    return (Lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)pair, (__m512bh)_mm512_loadu_si512(y));
  }
  typedef int32_t Pair __attribute__((may_alias));
};

bool has_bfloat16() { return true; }
#else
bool has_bfloat16() { return false; }
#endif

// Inputs [from, to) of rows [0, count) by panels [first, last); done(group, i, output, low, high)
// takes a panel of results of the i-th row of the group that begins with row `group`
template <class T, class Done>
inline void product(const Rows<T>& rows, int64_t count, const Weight<T>& weight, int64_t first,
                    int64_t last, int64_t from, int64_t to, const Done& done) {
  alignas(64) float sums[GROUP<T>][PANEL];
  const int64_t lines = (to - from) / VALUES<T>, groups = parts(count, GROUP<T>);
  for (int64_t p = first; p < last; ++p) {
    const T *panel = weight.panel(p, from), *next = weight.panel(std::min(p + 1, last - 1), from);
    const int64_t step = parts(PANEL, groups);  // every group asks for a part of the next panel
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t group = g * GROUP<T>, some = std::min(GROUP<T>, count - group);
      const T* ahead = next + g * lines * step * VALUES<T>;
      multiply(rows.row(group, 0), some, panel, lines, ahead, step, sums);
      for (int64_t i = 0; i < some; ++i)
        done(group, i, p * PANEL, load(sums[i]), load(sums[i] + LANES));
    }
  }
}

}  // namespace
