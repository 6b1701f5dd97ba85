#pragma once

#include <memory>
#include <mutex>
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

// One clip while it is made: what was asked for, what follows from it, and what is told of it.
class Clip {
 public:
  // Checks the request; throws ENGINE_OPTION_INVALID.
  Clip(Networks& networks, const ModelSpec& model, RenderRequest request,
       Cancellation& cancellation, RenderSink& sink, const Costs& costs);

  Networks& networks;
  const ModelSpec& model;
  RenderRequest request;  // whose audio moves on to the audio network
  Cancellation& cancellation;
  RenderSink& sink;

  const int frames;
  const int rows;     // of latents
  const int columns;  // of latents
  const size_t plane;   // numbers per frame of latents
  const size_t pixels;  // per frame
  const int window_frames;  // of every window
  const int windows;        // of every step
  const AudioFeatures audio;

  bool guided() const { return request.cfg > 1; }
  // The latents of `count` windows or frames in a row, as the networks take and make them.
  Shape WindowShape(int count) const;
  Shape FrameShape(int count) const;
  // The noise that came with the request, limited, as latents: [frames, channels, rows, columns].
  std::vector<float> GivenNoise() const;

  // Any thread may tell these, one after the other. Times are those of the work itself.
  // `done` windows of a step, `count` of them since the last time.
  void OnWindows(int step, int done, int count, double milliseconds);
  void OnFrames(FrameChunk chunk, double milliseconds);

  ProgressMeter& meter() { return meter_; }

 private:
  ProgressMeter MakeMeter(const Costs& costs);

  std::mutex meter_mutex_;
  ProgressMeter meter_;
};

}  // namespace echomimic
