#pragma once

#include <functional>
#include <vector>

#include "clip.h"
#include "schedule.h"
#include "windows.h"

namespace echomimic {

// One step of a clip.
struct StepWork {
  int number = 0;
  bool last = false;
  Step step;
  StreamingOrder order;  // of its windows
};

// What one kind of device does with a clip: the networks' runs and everything between them. Render
// calls its methods in their order here; RunStep and Latents once per step. All of them throw
// ENGINE_CANCELLED soon after the clip was cancelled.
class Loop {
 public:
  virtual ~Loop() = default;

  // `on_run` is called after each run of a network.
  virtual void HearAudio(std::vector<float> pcm, const std::function<void()>& on_run) = 0;
  virtual void EncodeReference() = 0;
  virtual void StartFromNoise() = 0;
  // Predicts every window in the given order, takes the step and tells the clip of each window. In
  // the last step it also decodes frames as soon as they are ready, and returns when the clip has
  // been given all of them.
  virtual void RunStep(const StepWork& work) = 0;
  // [frames, channels, rows, columns]
  virtual std::vector<float> Latents() = 0;
};

}  // namespace echomimic
