#include "noise.h"

#include <cmath>
#include <numbers>

namespace echomimic {

std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; round++) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

void FrameNoise(uint64_t seed, uint32_t frame, float* out, size_t count) {
  constexpr double kUnit = 1.0 / 4294967296.0;
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(seed),
                                       static_cast<uint32_t>(seed >> 32)};
  for (size_t first = 0; first < count; first += 4) {
    const auto words = Philox({static_cast<uint32_t>(first / 4), frame, 0, 0}, key);
    for (size_t pair = 0; pair < 4; pair += 2) {
      const double radius = std::sqrt(-2.0 * std::log((words[pair] + 0.5) * kUnit));
      const double angle = 2.0 * std::numbers::pi * (words[pair + 1] * kUnit);
      if (first + pair < count) out[first + pair] = static_cast<float>(radius * std::cos(angle));
      if (first + pair + 1 < count) {
        out[first + pair + 1] = static_cast<float>(radius * std::sin(angle));
      }
    }
  }
}

}  // namespace echomimic
