// Vectors of floats as wide as the CPU's, and the arithmetic of one vector.

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
constexpr int64_t VECTOR_WIDTH = 16;
#else
constexpr int64_t VECTOR_WIDTH = 8;
#endif

typedef float Vector __attribute__((vector_size(VECTOR_WIDTH * sizeof(float))));
typedef float Unaligned
    __attribute__((vector_size(VECTOR_WIDTH * sizeof(float)), aligned(4), may_alias));

struct BFloat16 {
  uint16_t bits;
};

inline Vector load(const float* p) { return *reinterpret_cast<const Unaligned*>(p); }
inline void store(float* p, Vector v) { *reinterpret_cast<Unaligned*>(p) = v; }
inline Vector broadcast(float v) { return Vector{} + v; }

inline float sum(Vector v) {
#ifdef __AVX512F__
  return _mm512_reduce_add_ps((__m512)v);
#else
  float total = 0;
  for (int64_t i = 0; i < VECTOR_WIDTH; ++i) total += v[i];
  return total;
#endif
}

inline Vector minimum(Vector a, Vector b) {
#ifdef __AVX512F__
  return (Vector)_mm512_min_ps((__m512)a, (__m512)b);
#else
  return a < b ? a : b;
#endif
}

inline Vector absolute(Vector v) {
#ifdef __AVX512F__
  return (Vector)_mm512_abs_ps((__m512)v);
#else
  return v < 0 ? -v : v;
#endif
}

// p / q within two roundings
inline Vector quotient(Vector p, Vector q) {
#ifdef __AVX512F__
  const Vector guess = (Vector)_mm512_rcp14_ps((__m512)q);
  return p * (guess * (2.0f - q * guess));
#else
  return p / q;
#endif
}

}  // namespace
