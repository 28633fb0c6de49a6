// GELU, x Phi(x) = x / 2 + |x| erf(|x| / sqrt 2) / 2, as exact as what it is computed for.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "lanes.h"

namespace {

template <class T>
inline Lanes gelu(Lanes x);

// Half of the erf as u P(u^2) / Q(u^2), a minimax fit for u = |x| up to END, beyond which it stays
// as it is: off by 1e-8, which is less than float32 rounds
template <>
inline Lanes gelu<float>(Lanes x) {
  constexpr float END = 5.656854f;
  constexpr float P[] = {0.39894220f,    0.034692269f,   0.0047259033f,
                         0.00017693809f, 6.3648799e-06f, 2.1818980e-08f};
  constexpr float Q[] = {1.0f,          0.25362620f,    0.029119121f,
                         0.0019305542f, 7.6022596e-05f, 1.1712768e-06f};
  const Lanes u = least(all(END), magnitude(x)), square = u * u;
  Lanes p = all(P[5]), q = all(Q[5]);
  for (int64_t i = 4; i >= 0; --i) {
    p = p * square + P[i];
    q = q * square + Q[i];
  }
  return 0.5f * x + magnitude(x) * quotient(u * p, q);
}

#ifdef HAS_BFLOAT16
// The second term as a parabola about every multiple of WIDTH, and as |x| / 2 about the last and
// beyond: off by 1.5e-5, less than a twentieth of what bfloat16 rounds there
struct Parabolas {
  static constexpr int64_t COUNT = 2 * LANES;
  static constexpr float WIDTH = 4.8 / (COUNT - 0.5);
  alignas(64) float a[COUNT], b[COUNT], c[COUNT];  // a + u (b + u c)

  Parabolas() {
    for (int64_t i = 0; i < COUNT; ++i)
      through(i, std::max(i - 0.5, 0.0) * WIDTH, (i + 0.5) * WIDTH);
    a[COUNT - 1] = c[COUNT - 1] = 0.0f;
    b[COUNT - 1] = 0.5f;
  }

  // through its values at the Chebyshev nodes of the i-th interval
  void through(int64_t i, double from, double to) {
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

  static Lanes entry(const float* table, Lanes index) {  // the last five bits are the index
    return (Lanes)_mm512_permutex2var_ps((__m512)load(table), (__m512i)index,
                                         (__m512)load(table + LANES));
  }

  Lanes operator()(Lanes u) const {
    constexpr float INTEGERS = 8388608.0f;  // from here on, floats are integers
    const Lanes index = least(all(INTEGERS + COUNT - 1), u * (1 / WIDTH) + INTEGERS);
    return entry(a, index) + u * (entry(b, index) + u * entry(c, index));
  }
};

const Parabolas PARABOLAS;

template <>
inline Lanes gelu<BFloat16>(Lanes x) {
  return 0.5f * x + PARABOLAS(magnitude(x));
}
#endif

}  // namespace
