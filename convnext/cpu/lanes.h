// Vectors of floats as wide as the CPU's, and what is computed with one at a time.

#pragma once

#include <cstdint>

#ifdef __AVX512F__
#include <immintrin.h>
#endif
#ifdef __AVX512BF16__
#define HAS_BFLOAT16
#endif

namespace {

#ifdef __AVX512F__
constexpr int64_t LANES = 16;
#else
constexpr int64_t LANES = 8;
#endif

typedef float Lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef float Loose __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

struct BFloat16 {
  uint16_t bits;
};

inline Lanes load(const float* p) { return *reinterpret_cast<const Loose*>(p); }
inline void store(float* p, Lanes v) { *reinterpret_cast<Loose*>(p) = v; }
inline Lanes all(float v) { return Lanes{} + v; }

inline float sum(Lanes v) {
#ifdef __AVX512F__
  return _mm512_reduce_add_ps((__m512)v);
#else
  float total = 0;
  for (int64_t i = 0; i < LANES; ++i) total += v[i];
  return total;
#endif
}

inline Lanes least(Lanes a, Lanes b) {
#ifdef __AVX512F__
  return (Lanes)_mm512_min_ps((__m512)a, (__m512)b);
#else
  return a < b ? a : b;
#endif
}

inline Lanes magnitude(Lanes v) {
#ifdef __AVX512F__
  return (Lanes)_mm512_abs_ps((__m512)v);
#else
  return v < 0 ? -v : v;
#endif
}

// p / q, where a rounding more does not matter
inline Lanes quotient(Lanes p, Lanes q) {
#ifdef __AVX512F__
  const Lanes guess = (Lanes)_mm512_rcp14_ps((__m512)q);
  return p * (guess * (2.0f - q * guess));
#else
  return p / q;
#endif
}

}  // namespace
