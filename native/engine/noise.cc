#include "noise.h"

#include "arithmetic.h"

namespace echomimic {

std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  const arithmetic::Words words =
      arithmetic::Philox({{counter[0], counter[1], counter[2], counter[3]}}, key[0], key[1]);
  return {words.word[0], words.word[1], words.word[2], words.word[3]};
}

void FrameNoise(uint64_t seed, uint32_t frame, float* out, size_t count) {
  for (size_t first = 0; first < count; first += 4) {
    const arithmetic::Words words =
        arithmetic::NoiseWords(seed, frame, static_cast<uint32_t>(first / 4));
    for (size_t pair = 0; pair < 4; pair += 2) {
      const arithmetic::Gaussians numbers =
          arithmetic::GaussiansOf(words.word[pair], words.word[pair + 1]);
      if (first + pair < count) out[first + pair] = numbers.first;
      if (first + pair + 1 < count) out[first + pair + 1] = numbers.second;
    }
  }
}

}  // namespace echomimic
