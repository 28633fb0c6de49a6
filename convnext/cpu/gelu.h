// The exact GELU: x Phi(x) = x / 2 + |x| erf(|x| / sqrt 2) / 2.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "vectors.h"

namespace {

template <class T>
inline Vector gelu(Vector x);

// erf(u / sqrt 2) / 2 as u P(u^2) / Q(u^2) for u = |x| up to END, and what it is at END
// beyond: off by 3.2e-8, about half of what float32 rounds there. tools/fit_gelu.py derives it.
template <>
inline Vector gelu<float>(Vector x) {
  constexpr float END = 5.656854f;
  constexpr float P[] = {0.39894220f,    0.034692269f,   0.0047259033f,
                         0.00017693809f, 6.3648799e-06f, 2.1818980e-08f};
  constexpr float Q[] = {1.0f,          0.25362620f,    0.029119121f,
                         0.0019305542f, 7.6022596e-05f, 1.1712768e-06f};
  const Vector u = minimum(broadcast(END), absolute(x)), square = u * u;
  Vector p = broadcast(P[5]), q = broadcast(Q[5]);
  for (int64_t i = 4; i >= 0; --i) {
    p = p * square + P[i];
    q = q * square + Q[i];
  }
  return 0.5f * x + absolute(x) * quotient(u * p, q);
}

#ifdef HAS_BFLOAT16
// |x| erf(|x| / sqrt 2) / 2 as a parabola about every multiple of WIDTH, and as |x| / 2 about the
// last one and beyond: off by 1.5e-5, less than a twentieth of what bfloat16 rounds there
struct Parabolas {
  static constexpr int64_t COUNT = 2 * VECTOR_WIDTH;
  static constexpr float WIDTH = 4.8 / (COUNT - 0.5);
  alignas(64) float a[COUNT], b[COUNT], c[COUNT];  // a + u (b + u c)

  Parabolas() {
    for (int64_t i = 0; i < COUNT; ++i)
      interpolate(i, std::max(i - 0.5, 0.0) * WIDTH, (i + 0.5) * WIDTH);
    a[COUNT - 1] = c[COUNT - 1] = 0.0f;
    b[COUNT - 1] = 0.5f;
  }

  // the i-th one, at the Chebyshev nodes of its interval
  void interpolate(int64_t i, double from, double to) {
    double u[3], y[3];
    for (int64_t k = 0; k < 3; ++k) {
      u[k] = (from + to) / 2 + (to - from) / 2 * std::cos((2 * k + 1) * std::acos(-1.0) / 6);
      y[k] = u[k] * std::erf(u[k] / std::sqrt(2.0)) / 2;
    }
    const double slope = (y[1] - y[0]) / (u[1] - u[0]);
    const double bend = ((y[2] - y[1]) / (u[2] - u[1]) - slope) / (u[2] - u[0]);
    c[i] = bend;
    b[i] = slope - bend * (u[0] + u[1]);
    a[i] = y[0] - u[0] * (b[i] + u[0] * c[i]);
  }

  static Vector entry(const float* table, Vector index) {  // the last five bits are the index
    return (Vector)_mm512_permutex2var_ps((__m512)load(table), (__m512i)index,
                                          (__m512)load(table + VECTOR_WIDTH));
  }

  Vector operator()(Vector u) const {
    constexpr float INTEGERS = 8388608.0f;  // 2^23: from here on, floats are integers
    const Vector index = minimum(broadcast(INTEGERS + COUNT - 1), u * (1 / WIDTH) + INTEGERS);
    return entry(a, index) + u * (entry(b, index) + u * entry(c, index));
  }
};

const Parabolas PARABOLAS;

template <>
inline Vector gelu<BFloat16>(Vector x) {
  return 0.5f * x + PARABOLAS(absolute(x));
}
#endif

}  // namespace
