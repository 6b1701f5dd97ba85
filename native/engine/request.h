#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "model.h"

namespace echomimic {

struct Picture {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> data;
};

// One clip. Every field is set; native/index.ts fills in the model's defaults.
struct RenderRequest {
  Picture image;      // RGB
  Picture face_mask;  // gray
  std::vector<float> audio;
  double fps = 0;
  int steps = 0;
  double cfg = 0;
  uint64_t seed = 0;
  std::optional<int> frames;  // upper limit
  int context_frames = 0;
  int context_overlap = 0;
  std::vector<float> noise;  // [channels, frames, rows, columns], used instead of the seed's
  bool want_latents = false;
};

// Encoder positions that a clip of this many samples has.
int64_t PositionsOf(const ModelSpec& model, int64_t samples);

// Video frames that a clip of this many samples has at `fps`, one or two more than its length.
int64_t FramesOf(const ModelSpec& model, int64_t samples, double fps);

// Checks the length of a clip's audio and its frame rate; throws ENGINE_OPTION_INVALID.
void ValidateAudio(const ModelSpec& model, size_t samples, double fps);

// Checks every field against the model; throws ENGINE_OPTION_INVALID naming the field. Returns the
// number of frames of the clip.
int Validate(const ModelSpec& model, const RenderRequest& request);

}  // namespace echomimic
