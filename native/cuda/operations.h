#pragma once

#include "../engine/arithmetic.h"

// Everything that happens between the networks on a GPU. An operation is a grid of `rows` times
// `columns` independent places; a call computes one of them. kernels.cu deals the places out to the
// threads of a device; without nvcc they run one after the other, which is how their tests hold
// them against the CPU engine's loops (native/engine/latents.h) on any machine.
//
// Latents, predictions and sums are frames of `plane` numbers each.
namespace echomimic::cuda {

// sample [rows, plane] = the latents of frames[row]; the frames of several windows may follow each
// other.
struct GatherFrames {
  const float* latents;
  const int32_t* frames;
  uint32_t rows;
  uint32_t columns;  // plane
  float* sample;

  ECHOMIMIC_EVERYWHERE void operator()(uint32_t row, uint32_t column) const {
    const uint64_t frame = static_cast<uint32_t>(frames[row]);
    sample[uint64_t{row} * columns + column] = latents[frame * columns + column];
  }
};

// tokens [rows, columns] = the audio states, `width` numbers per position, from position
// first[row] on; positions beyond an end repeat the last one there.
struct GatherTokens {
  const float* states;
  const int32_t* first;
  int32_t positions;
  uint32_t width;
  uint32_t rows;
  uint32_t columns;  // a multiple of width
  float* tokens;

  ECHOMIMIC_EVERYWHERE void operator()(uint32_t row, uint32_t column) const {
    const int64_t wanted = int64_t{first[row]} + column / width;
    const int64_t position = wanted < 0 ? 0 : (wanted < positions ? wanted : positions - 1);
    tokens[uint64_t{row} * columns + column] = states[position * width + column % width];
  }
};

// prediction [rows, plane] becomes the one under guidance.
struct ApplyGuidance {
  const float* unconditional;
  float cfg;
  uint32_t rows;
  uint32_t columns;  // plane
  float* prediction;

  ECHOMIMIC_EVERYWHERE void operator()(uint32_t row, uint32_t column) const {
    const uint64_t i = uint64_t{row} * columns + column;
    prediction[i] = arithmetic::Guide(prediction[i], unconditional[i], cfg);
  }
};

// Adds the prediction [rows, plane] of ONE window to the sums of its frames and counts it there. A
// window has no frame twice, so no place is written by two threads; windows follow each other in the
// CPU engine's order, so sums have its bits.
struct AddWindow {
  const float* prediction;
  const int32_t* frames;
  uint32_t rows;
  uint32_t columns;  // plane
  float* sums;
  int32_t* counts;

  ECHOMIMIC_EVERYWHERE void operator()(uint32_t row, uint32_t column) const {
    const uint64_t frame = static_cast<uint32_t>(frames[row]);
    sums[frame * columns + column] += prediction[uint64_t{row} * columns + column];
    if (column == 0) counts[frame]++;
  }
};

// One DDIM step of `rows` frames from frame `first` on, whose sums are complete.
struct StepFrames {
  float keep;
  float turn;
  const float* sums;
  const int32_t* counts;
  uint32_t first;
  uint32_t rows;
  uint32_t columns;  // plane
  float* latents;

  ECHOMIMIC_EVERYWHERE void operator()(uint32_t row, uint32_t column) const {
    const uint64_t frame = uint64_t{first} + row;
    const uint64_t i = frame * columns + column;
    latents[i] = arithmetic::StepLatent(latents[i], sums[i], static_cast<float>(counts[frame]),
                                        keep, turn);
  }
};

// The initial, limited noise of `rows` frames from frame `first` on; four numbers per column.
struct MakeNoise {
  uint64_t seed;
  uint32_t first;
  uint32_t rows;
  uint32_t columns;  // plane / 4, rounded up
  uint32_t plane;
  float* latents;  // of the first of these frames

  ECHOMIMIC_EVERYWHERE void operator()(uint32_t row, uint32_t column) const {
    const arithmetic::Words words = arithmetic::NoiseWords(seed, first + row, column);
    float* const out = latents + uint64_t{row} * plane;
    for (uint32_t pair = 0; pair < 4; pair += 2) {
      const uint32_t i = 4 * column + pair;
      const arithmetic::Gaussians numbers =
          arithmetic::GaussiansOf(words.word[pair], words.word[pair + 1]);
      if (i < plane) out[i] = arithmetic::ClampNoise(numbers.first);
      if (i + 1 < plane) out[i + 1] = arithmetic::ClampNoise(numbers.second);
    }
  }
};

// rgb [rows, pixels, 3] = the images [rows, 3, pixels], -1 to 1, as bytes.
struct ToRgb {
  const float* images;
  uint32_t rows;
  uint32_t columns;  // pixels of a frame
  uint8_t* rgb;

  ECHOMIMIC_EVERYWHERE void operator()(uint32_t row, uint32_t column) const {
    const float* const image = images + uint64_t{row} * 3 * columns;
    uint8_t* const out = rgb + (uint64_t{row} * columns + column) * 3;
    for (uint32_t c = 0; c < 3; c++) {
      out[c] = arithmetic::ToByte(image[uint64_t{c} * columns + column]);
    }
  }
};

}  // namespace echomimic::cuda
