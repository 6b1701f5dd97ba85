#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

// What is computed between the networks, number by number: the one home of this arithmetic for the
// loops of the CPU engine (latents.cc, noise.cc) and for the CUDA kernels (native/cuda). Only
// additions, multiplications, divisions, square roots and roundings, which IEEE 754 defines to the
// last bit, so that every device gives the same numbers; both sides are compiled without fusing
// multiplications and additions.
#ifdef __CUDACC__
#define ECHOMIMIC_EVERYWHERE __host__ __device__
#else
#define ECHOMIMIC_EVERYWHERE
#endif

namespace echomimic::arithmetic {

inline constexpr float kNoiseLimit = 1.5f;  // the official loop clamps its initial noise

ECHOMIMIC_EVERYWHERE inline float ClampNoise(float x) {
  return x < -kNoiseLimit ? -kNoiseLimit : (kNoiseLimit < x ? kNoiseLimit : x);
}

// The prediction under guidance.
ECHOMIMIC_EVERYWHERE inline float Guide(float conditional, float unconditional, float cfg) {
  return unconditional + cfg * (conditional - unconditional);
}

// One DDIM step of the latent x, whose predictions in `windows` windows add up to `sum`.
ECHOMIMIC_EVERYWHERE inline float StepLatent(float x, float sum, float windows, float keep,
                                             float turn) {
  return keep * x + turn * (sum / windows);
}

// A channel of the decoded image, -1 to 1, as a byte; ties to even, not-a-number to 0.
ECHOMIMIC_EVERYWHERE inline uint8_t ToByte(float x) {
  const float scaled = (x * 0.5f + 0.5f) * 255.0f;
  return static_cast<uint8_t>(lrintf(scaled > 0.0f ? (scaled < 255.0f ? scaled : 255.0f) : 0.0f));
}

// The generator of noise.h.
struct Words {
  uint32_t word[4];
};

ECHOMIMIC_EVERYWHERE inline Words Philox(Words c, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; round++) {
    const uint64_t a = uint64_t{0xD2511F53} * c.word[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * c.word[2];
    c = {{static_cast<uint32_t>(b >> 32) ^ c.word[1] ^ key0, static_cast<uint32_t>(b),
          static_cast<uint32_t>(a >> 32) ^ c.word[3] ^ key1, static_cast<uint32_t>(a)}};
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return c;
}

// The words that elements 4 quad to 4 quad + 3 of a frame are made from.
ECHOMIMIC_EVERYWHERE inline Words NoiseWords(uint64_t seed, uint32_t frame, uint32_t quad) {
  return Philox({{quad, frame, 0, 0}}, static_cast<uint32_t>(seed),
                static_cast<uint32_t>(seed >> 32));
}

// ln((word + 0.5) / 2^32). Own functions, because no two mathematical libraries agree in all bits.
ECHOMIMIC_EVERYWHERE inline double LogOfUniform(uint32_t word) {
  const double u = (word + 0.5) * (1.0 / 4294967296.0);  // exact
  uint64_t bits;
  memcpy(&bits, &u, sizeof bits);
  int exponent = static_cast<int>(bits >> 52) - 1023;
  bits = (bits & 0xFFFFFFFFFFFFF) | (uint64_t{1023} << 52);
  double m;  // u = m 2^exponent
  memcpy(&m, &bits, sizeof m);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    exponent++;
  }
  // ln m = 2 artanh s = 2 (s + s^3 / 3 + s^5 / 5 + ...), |s| < 0.172
  const double s = (m - 1.0) / (m + 1.0);
  const double z = s * s;
  double sum = 1.0 / 23;
  sum = sum * z + 1.0 / 21;
  sum = sum * z + 1.0 / 19;
  sum = sum * z + 1.0 / 17;
  sum = sum * z + 1.0 / 15;
  sum = sum * z + 1.0 / 13;
  sum = sum * z + 1.0 / 11;
  sum = sum * z + 1.0 / 9;
  sum = sum * z + 1.0 / 7;
  sum = sum * z + 1.0 / 5;
  sum = sum * z + 1.0 / 3;
  return exponent * 0.6931471805599453 + (2.0 * s + 2.0 * s * (z * sum));
}

struct Pair {
  double first;
  double second;
};

// The cosine and the sine of 2 pi word / 2^32.
ECHOMIMIC_EVERYWHERE inline Pair CircleOf(uint32_t word) {
  // The nearest quarter turn, exactly; what is left is at most an eighth of a turn.
  const uint32_t quarter = (word + (1u << 29)) >> 30;
  const auto rest = static_cast<int32_t>(word - (quarter << 30));
  const double x = rest * 1.4629180792671596e-09;  // 2 pi / 2^32
  const double z = x * x;
  // Their power series; the next terms are below the last bit.
  double sine = 1.0 / 355687428096000.0;
  sine = sine * z - 1.0 / 1307674368000.0;
  sine = sine * z + 1.0 / 6227020800.0;
  sine = sine * z - 1.0 / 39916800.0;
  sine = sine * z + 1.0 / 362880.0;
  sine = sine * z - 1.0 / 5040.0;
  sine = sine * z + 1.0 / 120.0;
  sine = sine * z - 1.0 / 6.0;
  sine = x + x * (sine * z);
  double cosine = -1.0 / 6402373705728000.0;
  cosine = cosine * z + 1.0 / 20922789888000.0;
  cosine = cosine * z - 1.0 / 87178291200.0;
  cosine = cosine * z + 1.0 / 479001600.0;
  cosine = cosine * z - 1.0 / 3628800.0;
  cosine = cosine * z + 1.0 / 40320.0;
  cosine = cosine * z - 1.0 / 720.0;
  cosine = cosine * z + 1.0 / 24.0;
  cosine = cosine * z - 1.0 / 2.0;
  cosine = 1.0 + cosine * z;
  switch (quarter & 3) {
    case 0: return {cosine, sine};
    case 1: return {-sine, cosine};
    case 2: return {-cosine, -sine};
    default: return {sine, -cosine};
  }
}

struct Gaussians {
  float first;
  float second;
};

// Box and Muller's transformation of two words.
ECHOMIMIC_EVERYWHERE inline Gaussians GaussiansOf(uint32_t first, uint32_t second) {
  const double radius = sqrt(-2.0 * LogOfUniform(first));
  const Pair circle = CircleOf(second);
  return {static_cast<float>(radius * circle.first), static_cast<float>(radius * circle.second)};
}

}  // namespace echomimic::arithmetic
