#pragma once
// Sixteen and 32 bytes, for what x86 reads along a row.

#include <immintrin.h>

namespace minke {
namespace {

inline __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline __m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }

}  // namespace
}  // namespace minke
