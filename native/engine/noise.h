#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace echomimic {

// Philox4x32-10: four random words from a counter of four words and a key of two.
std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// Standard normal noise of one frame, from the seed and the frame's number alone, so that frames do
// not depend on the clip's length and any device can make any part of it:
//   key     = (low word of seed, high word of seed)
//   counter = (quad, frame, 0, 0), where quad q holds elements 4q to 4q + 3 of the frame's latents
//             in the order channel, row, column
//   words r0..r3 of the result become elements in pairs (r0, r1) and (r2, r3):
//     u = (first + 0.5) / 2^32, w = second / 2^32
//     element     = sqrt(-2 ln u) cos(2 pi w)
//     element + 1 = sqrt(-2 ln u) sin(2 pi w)
// in double precision as arithmetic.h computes it, so that every device gives the same bits.
void FrameNoise(uint64_t seed, uint32_t frame, float* out, size_t count);

}  // namespace echomimic
