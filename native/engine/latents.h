#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "schedule.h"
#include "windows.h"

namespace echomimic {

// The loops between the networks on the CPU. Latents, predictions and their sums are frames of
// `plane` numbers each. native/cuda/operations.h is the same for GPUs.

// The latents of a window's frames, one after the other.
void GatherFrames(const float* latents, const Window& window, size_t plane, float* sample);

// `count` rows of `width` numbers from row `first` on; rows beyond an end repeat the last one there.
void GatherRows(const float* rows, int64_t available, size_t width, int64_t first, int count,
                float* out);

// Makes of the conditional prediction the one under guidance.
void ApplyGuidance(const float* unconditional, float cfg, size_t count, float* prediction);

// Adds a window's prediction to the sums of its frames.
void AddWindow(const float* prediction, const Window& window, size_t plane, float* sums);

// Takes a step on frames first to last - 1; `counts` tells how many windows had each frame.
void StepFrames(const Step& step, const float* sums, const std::vector<int>& counts, int first,
                int last, size_t plane, float* latents);

void LimitNoise(float* noise, size_t count);

// `out` [inner, outer, plane] = the numbers [outer, inner, plane]: between frames of channels, as
// everything here has them, and channels of frames, as the official code does.
void SwapOuter(const float* numbers, size_t outer, size_t inner, size_t plane, float* out);

// One frame of three planes, -1 to 1, as RGB bytes.
void ToRgb(const float* planes, size_t pixels, uint8_t* rgb);

}  // namespace echomimic
