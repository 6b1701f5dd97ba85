#include "latents.h"

#include <algorithm>
#include <cstring>

#include "arithmetic.h"

namespace echomimic {

void GatherFrames(const float* latents, const Window& window, size_t plane, float* sample) {
  for (const int frame : window) {
    std::memcpy(sample, latents + frame * plane, plane * sizeof(float));
    sample += plane;
  }
}

void GatherRows(const float* rows, int64_t available, size_t width, int64_t first, int count,
                float* out) {
  for (int i = 0; i < count; i++) {
    const int64_t row = std::clamp<int64_t>(first + i, 0, available - 1);
    std::memcpy(out, rows + row * width, width * sizeof(float));
    out += width;
  }
}

void ApplyGuidance(const float* unconditional, float cfg, size_t count, float* prediction) {
  for (size_t i = 0; i < count; i++) {
    prediction[i] = arithmetic::Guide(prediction[i], unconditional[i], cfg);
  }
}

void AddWindow(const float* prediction, const Window& window, size_t plane, float* sums) {
  for (const int frame : window) {
    float* const sum = sums + frame * plane;
    for (size_t k = 0; k < plane; k++) sum[k] += prediction[k];
    prediction += plane;
  }
}

void StepFrames(const Step& step, const float* sums, const std::vector<int>& counts, int first,
                int last, size_t plane, float* latents) {
  for (int frame = first; frame < last; frame++) {
    float* const x = latents + frame * plane;
    const float* const sum = sums + frame * plane;
    const auto windows = static_cast<float>(counts[frame]);
    for (size_t k = 0; k < plane; k++) {
      x[k] = arithmetic::StepLatent(x[k], sum[k], windows, step.keep, step.turn);
    }
  }
}

void LimitNoise(float* noise, size_t count) {
  for (size_t i = 0; i < count; i++) noise[i] = arithmetic::ClampNoise(noise[i]);
}

void SwapOuter(const float* numbers, size_t outer, size_t inner, size_t plane, float* out) {
  for (size_t i = 0; i < outer; i++) {
    for (size_t k = 0; k < inner; k++) {
      std::memcpy(out + (k * outer + i) * plane, numbers + (i * inner + k) * plane,
                  plane * sizeof(float));
    }
  }
}

void ToRgb(const float* planes, size_t pixels, uint8_t* rgb) {
  for (size_t i = 0; i < pixels; i++) {
    for (size_t c = 0; c < 3; c++) rgb[3 * i + c] = arithmetic::ToByte(planes[c * pixels + i]);
  }
}

}  // namespace echomimic
