// Vectors of floats as wide as the CPU's, and what is computed with one at a time.

#pragma once

#include <c10/util/BFloat16.h>

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

inline Lanes least(Lanes a, Lanes b) {
#ifdef __AVX512F__
  return (Lanes)_mm512_min_ps((__m512)a, (__m512)b);
#else
  return a < b ? a : b;
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

// Half of erf(x / sqrt 2) for 0 <= x <= END, beyond which it stays as it is: x P(x^2) / Q(x^2), a
// minimax fit.
template <class T>
struct HalfErf;

template <>
struct HalfErf<float> {  // off by 1e-8, which is less than float32 rounds
  static constexpr float END = 5.656854f;
  static constexpr float P[] = {0.39894220f,    0.034692269f,   0.0047259033f,
                                0.00017693809f, 6.3648799e-06f, 2.1818980e-08f};
  static constexpr float Q[] = {1.0f,           0.25362620f,    0.029119121f,
                                0.0019305542f,  7.6022596e-05f, 1.1712768e-06f};
};

template <>
struct HalfErf<at::BFloat16> {  // off by 1.5e-6; bfloat16 rounds by a thousand times as much
  static constexpr float END = 4.6669048f;
  static constexpr float P[] = {0.39893919f, 0.027409254f, 0.0038118137f, 3.2860007e-05f};
  static constexpr float Q[] = {1.0f, 0.23536669f, 0.023764895f, 0.0011558896f};
};

// GELU, x Phi(x) = x / 2 + |x| erf(|x| / sqrt 2) / 2, as exact as T is
template <class T>
inline Lanes gelu(Lanes x) {
  constexpr int64_t TERMS = sizeof(HalfErf<T>::P) / sizeof(float);
  const Lanes magnitude = x < 0 ? -x : x, inner = least(all(HalfErf<T>::END), magnitude);
  const Lanes square = inner * inner;
  Lanes p = all(HalfErf<T>::P[TERMS - 1]), q = all(HalfErf<T>::Q[TERMS - 1]);
  for (int64_t i = TERMS - 2; i >= 0; --i) {
    p = p * square + HalfErf<T>::P[i];
    q = q * square + HalfErf<T>::Q[i];
  }
  return 0.5f * x + magnitude * quotient(inner * p, q);
}

}  // namespace
