#pragma once

#include <vector>

#include "lanes.h"
#include "loop.h"
#include "reference.h"
#include "step.h"

namespace echomimic {

// A clip on the CPU: windows and frames are dealt out to lanes.
class LaneLoop : public Loop {
 public:
  LaneLoop(Clip& clip, int threads);

  void HearAudio(std::vector<float> pcm, const std::function<void()>& on_run) override;
  void EncodeReference() override;
  void StartFromNoise() override;
  void RunStep(const StepWork& work) override;
  std::vector<float> Latents() override { return latents_; }

 private:
  // What one lane needs to run the denoiser and the decoder. Made once per clip.
  struct Lane {
    std::vector<float> sample;
    std::vector<float> audio;
    std::vector<float> prediction;
    std::vector<float> unconditional;
    std::vector<float> latents;
    Ort::IoBinding denoiser{nullptr};
    Ort::IoBinding unconditional_denoiser{nullptr};
  };

  void Bind(Lane& lane);
  void Work(StepPlan& plan, Lane& lane, const StepWork& work);
  void Predict(Lane& lane, const Window& window);
  void Advance(const Step& step, int first, int last);
  FrameChunk Decode(Lane& lane, int first, int count);

  Clip& clip_;
  Lanes lanes_;
  std::vector<Lane> buffers_;
  std::vector<float> states_;
  ReferenceFeatures reference_;
  float timestep_ = 0;
  std::vector<float> latents_;      // [frames, channels, rows, columns]
  std::vector<float> predictions_;  // sums over windows, same layout
  std::vector<int> counts_;         // windows per frame
  int stepped_ = 0;                 // frames that have taken the last step
};

}  // namespace echomimic
