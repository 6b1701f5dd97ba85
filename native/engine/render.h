#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "audio.h"
#include "job.h"
#include "lanes.h"
#include "model.h"
#include "network.h"
#include "progress.h"
#include "request.h"
#include "step.h"
#include "windows.h"

namespace echomimic {

// The networks of a model. `unconditional` is loaded when guidance first asks for it.
struct Networks {
  std::unique_ptr<Network> mel;
  std::unique_ptr<Network> audio;
  std::unique_ptr<Network> face_locator;
  std::unique_ptr<Network> vae_encoder;
  std::unique_ptr<Network> vae_decoder;
  std::unique_ptr<Network> reference;
  std::unique_ptr<Network> denoiser;
  std::unique_ptr<Network> unconditional;
};

struct FrameChunk {
  int first = 0;
  int count = 0;
  int width = 0;
  int height = 0;
  std::vector<uint8_t> data;  // RGB, frame after frame
};

struct LatentsSnapshot {
  int step = 0;
  Tensor latents;  // [channels, frames, rows, columns]
};

// Where a render's results go. OnFrames may block until earlier frames have been taken.
class RenderSink {
 public:
  virtual ~RenderSink() = default;
  virtual void OnProgress(const Progress& progress) = 0;
  virtual void OnFrames(FrameChunk chunk) = 0;
  virtual void OnLatents(LatentsSnapshot snapshot) = 0;
  // Returns once every frame has been taken.
  virtual void Drain() = 0;
};

struct RenderResult {
  int frames = 0;
  int width = 0;
  int height = 0;
  double fps = 0;
  uint64_t seed = 0;
  double milliseconds[kStages] = {};
  double total_milliseconds = 0;
};

// One clip, from samples and pictures to frames.
class Render {
 public:
  Render(Networks& networks, const ModelSpec& model, int threads, RenderRequest request,
         const Cancellation& cancellation, RenderSink& sink, Costs& costs);
  RenderResult Run();

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

  void EncodeReference();
  void MakeNoise();
  void Bind(Lane& lane);
  void Denoise();
  void RunStep(StepPlan& plan, Lane& lane, const Step& step, bool last_step);
  void Predict(Lane& lane, const Window& window);
  void Advance(const Step& step, int first, int last);
  FrameChunk Decode(Lane& lane, int first, int count);
  void Snapshot(int step);
  bool guided() const { return request_.cfg > 1; }

  Networks& networks_;
  const ModelSpec& model_;
  const int threads_;
  RenderRequest request_;
  const Cancellation& cancellation_;
  RenderSink& sink_;
  Costs& costs_;

  int frames_ = 0;
  int rows_ = 0;
  int columns_ = 0;
  size_t plane_ = 0;  // numbers per frame
  int window_frames_ = 0;
  int lanes_ = 1;
  int decode_batch_ = 1;
  std::mutex meter_mutex_;
  std::unique_ptr<ProgressMeter> meter_;
  AudioFeatures audio_;
  float timestep_ = 0;
  std::vector<Ort::Value> face_;
  std::vector<Ort::Value> bank_;
  std::vector<float> latents_;      // [frames, channels, rows, columns]
  std::vector<float> predictions_;  // sums over windows, same layout
  std::vector<int> counts_;         // windows per frame
  int stepped_ = 0;                 // frames that have taken the last step
};

}  // namespace echomimic
