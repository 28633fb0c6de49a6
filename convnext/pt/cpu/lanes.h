// Vectors of floats as wide as the CPU's, and what is computed with one at a time.

#pragma once

#include <cstdint>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace {

#ifdef __AVX512F__
constexpr int64_t LANES = 16;
#else
constexpr int64_t LANES = 8;
#endif

typedef float Lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef float Loose __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

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

// p / q, where a rounding more does not matter
inline Lanes quotient(Lanes p, Lanes q) {
#ifdef __AVX512F__
  const Lanes guess = (Lanes)_mm512_rcp14_ps((__m512)q);
  return p * (guess * (2.0f - q * guess));
#else
  return p / q;
#endif
}

// The exact GELU, (x + |x| erf(|x| / sqrt 2)) / 2. Up to z = 4, beyond which it is 1 in float32,
// erf(z) = z P(z^2) / Q(z^2): a minimax fit, off by 2e-8, which is less than float32 rounds.
inline Lanes gelu(Lanes x) {
  constexpr float P[] = {1.1283789764151857f,   0.19624911756036986f,    0.053467493894528574f,
                         0.004003651982347074f, 0.00028804159115602447f, 1.9748287350238633e-06f};
  constexpr float Q[] = {1.0f,                  0.507252410797384f,    0.11647648226038554f,
                         0.015444432853491669f, 0.001216361525118765f, 3.748085878460042e-05f};
  const Lanes magnitude = x < 0 ? -x : x, end = all(4.0f);
  Lanes z = magnitude * 0.70710678118654752f;
  z = end < z ? end : z;
  const Lanes t = z * z;
  Lanes p = all(P[5]), q = all(Q[5]);
  for (int i = 4; i >= 0; --i) {
    p = p * t + P[i];
    q = q * t + Q[i];
  }
  return 0.5f * (x + magnitude * quotient(z * p, q));
}

}  // namespace
