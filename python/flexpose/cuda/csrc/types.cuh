// Number types that both the compiler of the card and that of the host know: storage of 16 bits is a plain struct,
// and arithmetic is done in float (or in double for double).
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define FLEXPOSE_HD __host__ __device__ __forceinline__
#else
#define FLEXPOSE_HD inline
#endif

// Register arrays need constant indices on the card; a host compiler does not know the pragma.
#if defined(__CUDA_ARCH__)
#define FLEXPOSE_UNROLL _Pragma("unroll")
#else
#define FLEXPOSE_UNROLL
#endif

namespace flexpose {

struct Half {
  std::uint16_t bits;
};

struct BFloat {
  std::uint16_t bits;
};

FLEXPOSE_HD float float_from_bits(std::uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

FLEXPOSE_HD std::uint32_t bits_from_float(float value) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(value);
#else
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
#endif
}

// Round the lowest `drop` bits away, ties to even.
FLEXPOSE_HD std::uint32_t round_shift(std::uint32_t value, int drop) {
  const std::uint32_t half = 1u << (drop - 1), odd = (value >> drop) & 1u;
  return (value + half - 1u + odd) >> drop;
}

FLEXPOSE_HD float widen(float value) { return value; }
FLEXPOSE_HD double widen(double value) { return value; }
FLEXPOSE_HD float widen(BFloat value) { return float_from_bits(std::uint32_t{value.bits} << 16); }

FLEXPOSE_HD float widen(Half value) {
#if defined(__CUDA_ARCH__)
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
  return wide;
#else
  const std::uint32_t sign = std::uint32_t{value.bits & 0x8000u} << 16, magnitude = value.bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return float_from_bits(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  // 2^112 moves the exponent from the narrow bias to the wide one, also for subnormal numbers.
  const float scaled = float_from_bits(magnitude << 13) * 0x1p112f;
  return float_from_bits(sign | bits_from_float(scaled));
#endif
}

// narrow<T>(value): the nearest number of the type T, ties to even.
template <class T>
struct Narrow;

template <>
struct Narrow<float> {
  static FLEXPOSE_HD float from(float value) { return value; }
};

template <>
struct Narrow<double> {
  static FLEXPOSE_HD double from(double value) { return value; }
};

template <>
struct Narrow<BFloat> {
  static FLEXPOSE_HD BFloat from(float value) {
#if defined(__CUDA_ARCH__)
    BFloat narrow;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(value));
    return narrow;
#else
    if (value != value) return BFloat{0x7fffu};
    return BFloat{static_cast<std::uint16_t>(round_shift(bits_from_float(value), 16))};
#endif
  }
};

template <>
struct Narrow<Half> {
  static FLEXPOSE_HD Half from(float value) {
#if defined(__CUDA_ARCH__)
    Half narrow;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(value));
    return narrow;
#else
    const std::uint32_t bits = bits_from_float(value), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
    std::uint32_t result;
    if (magnitude > 0x7f800000u) {
      return Half{0x7fffu};
    } else if (magnitude >= 0x477ff000u) {  // rounds above the largest half
      result = 0x7c00u;
    } else if (magnitude < 0x38800000u) {  // subnormal: adding 0.5 leaves the rounded fraction in the lowest bits
      result = bits_from_float(float_from_bits(magnitude) + 0.5f) - 0x3f000000u;
    } else {
      result = round_shift(magnitude - 0x38000000u, 13);
    }
    return Half{static_cast<std::uint16_t>(sign | result)};
#endif
  }
};

// The type in which sums over elements of T are kept.
template <class T>
struct AccumulatorOf {
  using type = float;
};
template <>
struct AccumulatorOf<double> {
  using type = double;
};
template <class T>
using Accumulator = typename AccumulatorOf<T>::type;

// V neighbouring elements, moved by one instruction.
template <class T, int V>
struct alignas(sizeof(T) * V) Vec {
  T at[V];
};

template <class T>
constexpr int kVector = 16 / static_cast<int>(sizeof(T));

template <class T>
FLEXPOSE_HD T smaller(T a, T b) {
  return b < a ? b : a;
}

FLEXPOSE_HD constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

FLEXPOSE_HD constexpr std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

}  // namespace flexpose
