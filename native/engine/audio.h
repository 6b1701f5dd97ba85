#pragma once

#include <functional>
#include <vector>

#include "job.h"
#include "model.h"
#include "network.h"

namespace echomimic {

// The encoder states of a clip, [positions, layers, width] at a fixed rate, and the tokens that a
// video frame attends to: the states around the frame's centre. Tokens are gathered when a window
// needs them, because kept for every frame they would be many times larger than the states.
class AudioFeatures {
 public:
  // Only as far as `frames` video frames need.
  AudioFeatures(const ModelSpec& model, double fps, int64_t samples, int frames);

  // Runs of a network that Compute makes.
  int runs() const { return runs_; }
  // Of the states that Compute makes.
  Shape shape() const;

  // Runs the log-mel and the audio network; `states` is memory of the given kind for shape().
  // `on_block` is called after each of them.
  void Compute(Network& mel, Network& audio, std::vector<float> pcm, const Ort::MemoryInfo& memory,
               float* states, const Cancellation& cancellation,
               const std::function<void()>& on_block) const;

  // A frame's tokens are those of the positions FirstPosition to FirstPosition + positions_per_frame
  // - 1; what lies outside of the clip's positions repeats the nearest.
  int64_t FirstPosition(int frame) const;
  int positions_per_frame() const { return model_.window_before + 1 + model_.window_after; }
  int tokens_per_frame() const { return positions_per_frame() * model_.layers; }
  // Of the whole clip; Compute may end sooner.
  int64_t positions() const { return positions_; }
  void Gather(const float* states, int frame, float* out) const;

 private:
  std::vector<float> LogMel(Network& mel, const std::vector<float>& pcm,
                            const Cancellation& cancellation) const;

  const ModelSpec& model_;
  const double fps_;
  const int64_t samples_;
  int64_t positions_;
  int runs_;
};

}  // namespace echomimic
