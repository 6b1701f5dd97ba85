#pragma once

#include <cstdint>
#include <vector>

namespace echomimic {

struct ScheduleSpec {
  int train_steps = 1000;
  double beta_start = 0.00085;
  double beta_end = 0.012;
};

// One DDIM step under v-prediction with eta 0 is linear in the latents x and the prediction v.
struct Step {
  int64_t timestep;
  float keep;  // factor of x
  float turn;  // factor of v
};

// Products of (1 - beta) for linear betas, rescaled so that the last one is zero.
std::vector<double> AlphasCumprod(const ScheduleSpec& spec);

// The steps from noise to clean latents, "trailing" spacing.
std::vector<Step> MakeSchedule(const ScheduleSpec& spec, int steps);

}  // namespace echomimic
