#include "int8.h"

#include <algorithm>
#include <cmath>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 finds these in its own header.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace echomimic::ops {

namespace {

constexpr int64_t kVector = 16;
constexpr int64_t kPanel = 4 * kVector;

Int8Range RangeOf(float low, float high) {
  const float width = high - low;
  if (!(width > 0)) return {};
  const float inverse = 255.0f / width;
  return {width / 255.0f, inverse, static_cast<int32_t>(std::lrint(-low * inverse))};
}

float Finish(int32_t sum, const Int8Range& range, int32_t weights, float scale, float bias) {
  return std::fma(static_cast<float>(sum - range.zero * weights), range.scale * scale, bias);
}

namespace plain {

Int8Range Range(const float* in, int64_t count) {
  float low = 0;
  float high = 0;
  for (int64_t i = 0; i < count; i++) {
    low = std::min(low, in[i]);
    high = std::max(high, in[i]);
  }
  return RangeOf(low, high);
}

void ToBytes(const float* in, int64_t count, const Int8Range& range, uint8_t* out) {
  for (int64_t i = 0; i < count; i++) {
    const auto rounded = static_cast<int32_t>(std::lrint(in[i] * range.inverse)) + range.zero;
    out[i] = static_cast<uint8_t>(std::clamp(rounded, 0, 255));
  }
}

void Multiply(const Int8Weights& w, const Int8Product& p) {
  const int64_t words = w.parts * w.depth / 4;
  for (int64_t r = 0; r < p.count; r++) {
    for (int64_t c = 0; c < w.columns; c++) {
      const int64_t panel = c / kPanel * kPanel;
      const int64_t lanes =
          std::min(kPanel, (w.columns + kVector - 1) / kVector * kVector - panel);
      const int8_t* const weights = w.bytes.data() + panel * words * 4 + (c - panel) * 4;
      int32_t sum = 0;
      for (int64_t word = 0; word < words; word++) {
        const int64_t at = word * 4;
        const uint8_t* const in = p.in + p.rows[r] + p.parts[at / w.depth] + at % w.depth;
        for (int64_t i = 0; i < 4; i++) sum += in[i] * weights[word * lanes * 4 + i];
      }
      const float made = Finish(sum, *p.ranges[r], w.sums[c], w.scales[c],
                                p.bias != nullptr ? p.bias[c] : 0.0f);
      const int64_t at = p.places[r] + c;
      p.out[at] = p.skip != nullptr ? made + p.skip[at] : made;
    }
  }
}

}  // namespace plain

#if defined(__x86_64__)

#define OPS_VNNI __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx512vnni")))
#if defined(__clang__)
#define OPS_UNROLL _Pragma("unroll")
#else
#define OPS_UNROLL _Pragma("GCC unroll 16")
#endif

namespace vnni {

OPS_VNNI __mmask16 First(int64_t count) {
  return count >= kVector ? __mmask16{0xffff} : static_cast<__mmask16>((1u << count) - 1);
}

OPS_VNNI Int8Range Range(const float* in, int64_t count) {
  __m512 low = _mm512_setzero_ps();
  __m512 high = _mm512_setzero_ps();
  for (int64_t i = 0; i < count; i += kVector) {
    const __m512 x = _mm512_maskz_loadu_ps(First(count - i), in + i);
    low = _mm512_min_ps(low, x);
    high = _mm512_max_ps(high, x);
  }
  return RangeOf(_mm512_reduce_min_ps(low), _mm512_reduce_max_ps(high));
}

OPS_VNNI void ToBytes(const float* in, int64_t count, const Int8Range& range, uint8_t* out) {
  const __m512 inverse = _mm512_set1_ps(range.inverse);
  const __m512i zero = _mm512_set1_epi32(range.zero);
  for (int64_t i = 0; i < count; i += kVector) {
    const __mmask16 mask = First(count - i);
    const __m512 x = _mm512_maskz_loadu_ps(mask, in + i);
    const __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(x, inverse));
    const __m512i from_zero = _mm512_max_epi32(_mm512_add_epi32(rounded, zero),
                                               _mm512_setzero_si512());
    _mm512_mask_cvtusepi32_storeu_epi8(out + i, mask, from_zero);
  }
}

// `kRows` rows, of which `valid` exist, times a panel of `kVectors` vectors.
template <int kRows, int kVectors>
OPS_VNNI inline void Tile(const Int8Weights& w, const Int8Product& p, int64_t row, int64_t valid,
                          int64_t column) {
  const uint8_t* in[kRows];
  OPS_UNROLL
  for (int r = 0; r < kRows; r++) in[r] = p.in + p.rows[row + std::min<int64_t>(r, valid - 1)];
  __m512i sums[kRows][kVectors];
  OPS_UNROLL
  for (int r = 0; r < kRows; r++) {
    OPS_UNROLL
    for (int v = 0; v < kVectors; v++) sums[r][v] = _mm512_setzero_si512();
  }
  const int8_t* weights = w.bytes.data() + column * w.parts * w.depth;
  for (int64_t part = 0; part < w.parts; part++) {
    const int64_t from = p.parts[part];
    for (int64_t k = from; k < from + w.depth; k += 4) {
      __m512i b[kVectors];
      OPS_UNROLL
      for (int v = 0; v < kVectors; v++) b[v] = _mm512_loadu_si512(weights + v * 64);
      weights += kVectors * 64;
      OPS_UNROLL
      for (int r = 0; r < kRows; r++) {
        int32_t word;
        __builtin_memcpy(&word, in[r] + k, 4);
        const __m512i a = _mm512_set1_epi32(word);
        OPS_UNROLL
        for (int v = 0; v < kVectors; v++) sums[r][v] = _mm512_dpbusd_epi32(sums[r][v], a, b[v]);
      }
    }
  }
  for (int64_t r = 0; r < valid; r++) {
    const Int8Range& range = *p.ranges[row + r];
    const __m512i zero = _mm512_set1_epi32(range.zero);
    const __m512 scale = _mm512_set1_ps(range.scale);
    OPS_UNROLL
    for (int v = 0; v < kVectors; v++) {
      const int64_t c = column + v * kVector;
      const __mmask16 mask = First(w.columns - c);
      const __m512i exact = _mm512_sub_epi32(
          sums[r][v], _mm512_mullo_epi32(zero, _mm512_loadu_si512(w.sums.data() + c)));
      const __m512 bias =
          p.bias != nullptr ? _mm512_maskz_loadu_ps(mask, p.bias + c) : _mm512_setzero_ps();
      __m512 made = _mm512_fmadd_ps(_mm512_cvtepi32_ps(exact),
                                    _mm512_mul_ps(scale, _mm512_loadu_ps(w.scales.data() + c)),
                                    bias);
      const int64_t at = p.places[row + r] + c;
      if (p.skip != nullptr) {
        made = _mm512_add_ps(made, _mm512_maskz_loadu_ps(mask, p.skip + at));
      }
      _mm512_mask_storeu_ps(p.out + at, mask, made);
    }
  }
}

template <int kRows, int kVectors>
OPS_VNNI void Panel(const Int8Weights& w, const Int8Product& p, int64_t column) {
  for (int64_t row = 0; row < p.count; row += kRows) {
    Tile<kRows, kVectors>(w, p, row, std::min<int64_t>(kRows, p.count - row), column);
  }
}

void Multiply(const Int8Weights& w, const Int8Product& p) {
  for (int64_t column = 0; column < w.columns; column += kPanel) {
    const int64_t vectors = (std::min(kPanel, w.columns - column) + kVector - 1) / kVector;
    if (vectors == 4) Panel<6, 4>(w, p, column);
    if (vectors == 3) Panel<8, 3>(w, p, column);
    if (vectors == 2) Panel<12, 2>(w, p, column);
    if (vectors == 1) Panel<12, 1>(w, p, column);
  }
}

}  // namespace vnni

#undef OPS_VNNI
#undef OPS_UNROLL

#endif

}  // namespace

Int8Weights::Int8Weights(const float* weights, int64_t parts_, int64_t inner, int64_t columns_,
                         const Int8Steps& steps)
    : parts(parts_), depth((inner + 3) / 4 * 4), columns(columns_) {
  const int64_t padded = (columns + kVector - 1) / kVector * kVector;
  bytes.resize(static_cast<size_t>(parts * depth * padded));
  scales.resize(static_cast<size_t>(padded));
  sums.resize(static_cast<size_t>(padded));
  for (int64_t c = 0; c < columns; c++) {
    const float* const column = weights + c * steps.column;
    float most = 0;
    for (int64_t part = 0; part < parts; part++) {
      for (int64_t i = 0; i < inner; i++) {
        most = std::max(most, std::fabs(column[part * steps.part + i * steps.inner]));
      }
    }
    if (!(most > 0)) continue;
    const float inverse = 127.0f / most;
    scales[c] = most / 127.0f;
    const int64_t panel = c / kPanel * kPanel;
    const int64_t lanes = std::min(kPanel, padded - panel);
    int8_t* const to = bytes.data() + panel * parts * depth + (c - panel) * 4;
    for (int64_t part = 0; part < parts; part++) {
      for (int64_t i = 0; i < inner; i++) {
        const float weight = column[part * steps.part + i * steps.inner];
        const auto rounded = static_cast<int32_t>(std::lrint(weight * inverse));
        const int64_t at = part * depth + i;
        to[at / 4 * 4 * lanes + at % 4] = static_cast<int8_t>(rounded);
        sums[c] += rounded;
      }
    }
  }
}

bool HasFastInt8() {
#if defined(__x86_64__)
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") &&
                          __builtin_cpu_supports("avx512vnni");
  return has;
#else
  return false;
#endif
}

const Int8Kernels& PlainInt8Kernels() {
  static constexpr Int8Kernels kernels = {"plain", plain::Range, plain::ToBytes, plain::Multiply};
  return kernels;
}

const Int8Kernels& BestInt8Kernels() {
#if defined(__x86_64__)
  static constexpr Int8Kernels fast = {"vnni", vnni::Range, vnni::ToBytes, vnni::Multiply};
  if (HasFastInt8()) return fast;
#endif
  return PlainInt8Kernels();
}

}  // namespace echomimic::ops
