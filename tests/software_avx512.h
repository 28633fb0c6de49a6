// AVX-512 with its dot products of bfloat16, one number at a time, for a CPU that has neither:
// included before kernels.cpp.

#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#ifndef __AVX512F__
#define __AVX512F__ 1
#endif
#ifndef __AVX512BF16__
#define __AVX512BF16__ 1
#endif

namespace software {

struct Floats {
  float v[16];
  Floats() = default;
  explicit Floats(const __m512& from) { std::memcpy(v, &from, 64); }
  operator __m512() const {
    __m512 to;
    std::memcpy(&to, v, 64);
    return to;
  }
};

template <class Function>
inline Floats each(const Function& function) {
  Floats to;
  for (int i = 0; i < 16; ++i) to.v[i] = function(i);
  return to;
}

inline float reduce_add(const __m512& a) {
  const Floats x(a);
  float sum = 0;
  for (float value : x.v) sum += value;
  return sum;
}

inline Floats min(const __m512& a, const __m512& b) {
  const Floats x(a), y(b);
  return each([&](int i) { return x.v[i] < y.v[i] ? x.v[i] : y.v[i]; });
}

inline Floats abs(const __m512& a) {
  const Floats x(a);
  return each([&](int i) { return std::fabs(x.v[i]); });
}

// off by as much as a CPU's may be
inline Floats rcp14(const __m512& a) {
  const Floats x(a);
  return each([&](int i) { return (1 + 1 / 16384.0f) / x.v[i]; });
}

inline Floats permutex2var(const __m512& a, const __m512i& index, const __m512& b) {
  const Floats x(a), y(b);
  int32_t places[16];
  std::memcpy(places, &index, 64);
  return each([&](int i) { return (places[i] & 16 ? y : x).v[places[i] & 15]; });
}

inline __m512i set1(int32_t value) {
  int32_t values[16];
  for (int32_t& each : values) each = value;
  __m512i to;
  std::memcpy(&to, values, 64);
  return to;
}

inline __m512i loadu(const void* from) {
  __m512i to;
  std::memcpy(&to, from, 64);
  return to;
}

inline float widened(uint16_t half) {
  const uint32_t bits = uint32_t(half) << 16;
  float number;
  std::memcpy(&number, &bits, 4);
  return number;
}

inline uint16_t narrowed(float number) {  // to nearest, ties to even
  uint32_t bits;
  std::memcpy(&bits, &number, 4);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// b in the low half
inline __m512bh cvtne2ps(const __m512& a, const __m512& b) {
  const Floats high(a), low(b);
  uint16_t halves[32];
  for (int i = 0; i < 32; ++i) halves[i] = narrowed(i < 16 ? low.v[i] : high.v[i - 16]);
  __m512bh to;
  std::memcpy(&to, halves, 64);
  return to;
}

inline Floats dpbf16(const __m512& sum, const __m512bh& a, const __m512bh& b) {
  const Floats total(sum);
  uint16_t x[32], y[32];
  std::memcpy(x, &a, 64);
  std::memcpy(y, &b, 64);
  return each([&](int i) {
    const int odd = 2 * i + 1, even = 2 * i;
    return total.v[i] + widened(x[odd]) * widened(y[odd]) + widened(x[even]) * widened(y[even]);
  });
}

}  // namespace software

#define _mm512_reduce_add_ps software::reduce_add
#define _mm512_min_ps software::min
#define _mm512_abs_ps software::abs
#undef _mm512_rcp14_ps
#define _mm512_rcp14_ps software::rcp14
#define _mm512_permutex2var_ps software::permutex2var
#define _mm512_set1_epi32 software::set1
#define _mm512_loadu_si512 software::loadu
#define _mm512_cvtne2ps_pbh software::cvtne2ps
#define _mm512_dpbf16_ps software::dpbf16
