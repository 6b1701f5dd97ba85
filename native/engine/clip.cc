#include "clip.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "latents.h"

namespace echomimic {

Clip::Clip(Networks& networks, const ModelSpec& model, RenderRequest wanted,
           Cancellation& cancellation, RenderSink& sink, const Costs& costs)
    : networks(networks),
      model(model),
      request(std::move(wanted)),
      cancellation(cancellation),
      sink(sink),
      frames(Validate(model, request)),
      rows(request.image.height / model.downscale),
      columns(request.image.width / model.downscale),
      plane(static_cast<size_t>(model.latent_channels) * rows * columns),
      pixels(static_cast<size_t>(request.image.width) * request.image.height),
      window_frames(std::min(frames, request.context_frames)),
      windows(static_cast<int>(
          MakeWindows(frames, request.context_frames, request.context_overlap, 0).size())),
      audio(model, request.fps, static_cast<int64_t>(request.audio.size()), frames),
      meter_(MakeMeter(costs)) {
  meter_.state().steps = request.steps;
  meter_.state().windows = windows;
  meter_.state().frames = frames;
}

ProgressMeter Clip::MakeMeter(const Costs& costs) {
  const double units[kStages] = {static_cast<double>(audio.runs()), 1.0,
                                 static_cast<double>(windows) * request.steps * (guided() ? 2 : 1),
                                 static_cast<double>(frames)};
  return {costs, units, [this](const Progress& progress) { sink.OnProgress(progress); }};
}

Shape Clip::WindowShape(int count) const {
  return {count, window_frames, model.latent_channels, rows, columns};
}

Shape Clip::FrameShape(int count) const {
  return {count, model.latent_channels, rows, columns};
}

std::vector<float> Clip::GivenNoise() const {
  std::vector<float> noise(request.noise.size());
  SwapOuter(request.noise.data(), model.latent_channels, frames, plane / model.latent_channels,
            noise.data());
  LimitNoise(noise.data(), noise.size());
  return noise;
}

void Clip::OnWindows(int step, int done, int count, double milliseconds) {
  const std::lock_guard lock(meter_mutex_);
  meter_.state().step = step + 1;
  meter_.state().window = done;
  meter_.Advance(Stage::kDenoise, count * (guided() ? 2 : 1), milliseconds);
}

void Clip::OnFrames(FrameChunk chunk, double milliseconds) {
  {
    const std::lock_guard lock(meter_mutex_);
    meter_.state().frames_done = chunk.first + chunk.count;
    meter_.Advance(Stage::kDecode, chunk.count, milliseconds);
  }
  sink.OnFrames(std::move(chunk));
}

}  // namespace echomimic
