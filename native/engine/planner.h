#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "model.h"
#include "shapes.h"

namespace echomimic {

// What a clip asks of a GPU's memory.
struct PlanRequest {
  int width = 0;  // pixels
  int height = 0;
  int frames = 0;       // of a window
  int windows = 1;      // of a step; no more of them are put into one call
  int clip_frames = 0;  // of the whole clip
  bool guided = false;  // whether the unconditional network is needed too
  uint64_t free_bytes = 0;  // of the GPU, with none of the networks loaded
};

// How a clip is computed in the memory that there is.
struct Plan {
  CallSizes sizes;
  // Whether the networks that run once per clip stay loaded; else they are loaded for each clip and
  // freed before the denoiser runs.
  bool resident = true;
  // Whether every network gives its arena back after each run; see GiveMemoryBack.
  bool shrink = false;
  uint64_t bytes = 0;    // the most that is needed at any time
  std::string sentence;  // what was chosen, and why
};

// The fastest way that fits; pure arithmetic over the model's figures. Throws ENGINE_OUT_OF_MEMORY
// with what would fit when nothing does, ENGINE_MODEL_INVALID when the model has no figures.
Plan MakePlan(const ModelSpec& model, const PlanRequest& request);

// The next smaller plan after the GPU was out of memory all the same; none when there is none.
std::optional<Plan> StepDown(const ModelSpec& model, const PlanRequest& request, const Plan& plan);

}  // namespace echomimic
