#pragma once
// The exponential, in the vocabulary.

#include "kernels/simd.h"

namespace minke {
namespace {

// e^x = 2^n times what is returned. Cephes' split of x into n ln 2 + r and a minimax polynomial of degree 5
// for r.
MINKE_INLINE Vf exp_parts(Vf x, Vi& n) {
  n = to_int(mul(x, set1(1.44269504f)));
  const Vf k = to_float(n);
  const Vf r = fma(k, set1(2.12194440e-4f), fma(k, set1(-0.693359375f), x));
  Vf p = set1(1.9875691500e-4f);
  p = fma(p, r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  return add(fma(p, mul(r, r), r), set1(1.0f));
}

// For n in [-126, 127].
MINKE_INLINE Vf power_of_two(Vi n) { return as_float(shl<23>(add(n, set1(127)))); }

constexpr float kLeastExponent = -87.336544f;

// e^x to about 2 ulp for x in [-87.3, 88.7]; below that 0 or nearly, above it large.
MINKE_INLINE Vf exp(Vf x) {
  Vi n;
  const Vf p = exp_parts(min(max(x, set1(kLeastExponent)), set1(88.722839f)), n);
  const Vi half = sar<1>(n);  // in two steps, so that 2^128 does not overflow on the way
  return mul(mul(p, power_of_two(half)), power_of_two(sub(n, half)));
}

// The same bits for x <= 0, sooner.
MINKE_INLINE Vf exp_of_negative(Vf x) {
  Vi n;
  const Vf p = exp_parts(max(x, set1(kLeastExponent)), n);
  return mul(p, power_of_two(n));
}

// e^x to 2^-17 of it for x <= 0, for what is rounded to 8 bits or fewer: seven multiplications instead of
// eleven. A minimax polynomial of degree 4, its constant and linear terms kept at 1.
MINKE_INLINE Vf exp_of_negative_coarsely(Vf x) {
  const Vf y = max(x, set1(kLeastExponent));
  const Vi n = to_int(mul(y, set1(1.44269504f)));
  const Vf r = fma(to_float(n), set1(-0.693147181f), y);
  const Vf p = fma(fma(set1(4.127775e-2f), r, set1(1.6753514e-1f)), r, set1(5.0005116e-1f));
  return mul(add(fma(p, mul(r, r), r), set1(1.0f)), power_of_two(n));
}

}  // namespace
}  // namespace minke
