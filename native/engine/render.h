#pragma once

#include <cstdint>
#include <string>

#include "clip.h"
#include "loop.h"
#include "progress.h"

namespace echomimic {

struct RenderResult {
  int frames = 0;
  int width = 0;
  int height = 0;
  double fps = 0;
  uint64_t seed = 0;
  double milliseconds[kStages] = {};
  double total_milliseconds = 0;
  std::string plan;  // on GPUs: how it was computed in the memory that there was, and why so
};

// Makes a clip, from samples and pictures to frames, by means of a loop. Leaves in `costs` what it
// measured.
RenderResult Render(Clip& clip, Loop& loop, Costs& costs);

}  // namespace echomimic
