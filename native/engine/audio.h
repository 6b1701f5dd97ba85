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
  AudioFeatures(const ModelSpec& model, double fps) : model_(model), fps_(fps) {}

  // Runs the log-mel and the audio network; only as far as `frames` video frames need.
  // `on_block` is called after each of them.
  void Compute(Network& mel, Network& audio, std::vector<float> pcm, int frames,
               const Cancellation& cancellation, const std::function<void()>& on_block);

  // Runs of a network that Compute will make.
  static int Blocks(const ModelSpec& model, int64_t samples, int frames, double fps);

  size_t tokens_per_frame() const {
    return static_cast<size_t>(model_.window_before + 1 + model_.window_after) * model_.layers;
  }
  void Gather(int frame, float* out) const;

 private:
  std::vector<float> LogMel(Network& mel, const std::vector<float>& pcm,
                            const Cancellation& cancellation) const;

  const ModelSpec& model_;
  double fps_;
  int64_t positions_ = 0;  // of the whole clip; `states_` may end sooner
  std::vector<float> states_;
};

}  // namespace echomimic
