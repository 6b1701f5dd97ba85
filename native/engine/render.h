#pragma once

#include <memory>
#include <string>
#include <vector>

#include "audio.h"
#include "job.h"
#include "model.h"
#include "network.h"
#include "progress.h"
#include "request.h"
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
  Render(Networks& networks, const ModelSpec& model, RenderRequest request,
         const Cancellation& cancellation, RenderSink& sink, Costs& costs);
  RenderResult Run();

 private:
  // Buffers of one run of the denoiser, and their binding. Made once per clip.
  struct Batch {
    int windows = 0;
    std::vector<float> sample;
    std::vector<float> audio;
    std::vector<float> prediction;
    std::vector<float> unconditional;
    Ort::IoBinding binding{nullptr};
    Ort::IoBinding unconditional_binding{nullptr};
  };

  void EncodeReference();
  void MakeNoise();
  Batch MakeBatch(int windows);
  void Predict(Batch& batch, const Window* windows);
  void Denoise();
  void StepFrames(const Step& step, int first, int last);
  void Decode(int first, int last);
  void Snapshot(int step);
  bool guided() const { return request_.cfg > 1; }

  Networks& networks_;
  const ModelSpec& model_;
  RenderRequest request_;
  const Cancellation& cancellation_;
  RenderSink& sink_;
  Costs& costs_;

  int frames_ = 0;
  int rows_ = 0;
  int columns_ = 0;
  size_t plane_ = 0;  // numbers per frame
  int window_frames_ = 0;
  int decode_batch_ = 1;
  std::unique_ptr<ProgressMeter> meter_;
  AudioFeatures audio_;
  float timestep_ = 0;
  std::vector<Ort::Value> face_;
  std::vector<Ort::Value> bank_;
  std::vector<float> latents_;      // [frames, channels, rows, columns]
  std::vector<float> predictions_;  // sums over windows, same layout
  std::vector<int> counts_;         // windows per frame
  std::vector<float> decoder_input_;
};

}  // namespace echomimic
