#include "render.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <utility>

#include "noise.h"

namespace echomimic {

namespace {

constexpr float kNoiseLimit = 1.5f;  // the official loop clamps its initial noise
constexpr int kShown = 512 * 512;    // pixels decoded in one run

Ort::MemoryInfo CpuMemory() {
  return Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
}

uint8_t ToByte(float x) {
  const float scaled = (x * 0.5f + 0.5f) * 255.0f;
  return static_cast<uint8_t>(std::lrint(std::clamp(scaled, 0.0f, 255.0f)));
}

}  // namespace

Render::Render(Networks& networks, const ModelSpec& model, RenderRequest request,
               const Cancellation& cancellation, RenderSink& sink, Costs& costs)
    : networks_(networks),
      model_(model),
      request_(std::move(request)),
      cancellation_(cancellation),
      sink_(sink),
      costs_(costs),
      audio_(model, request_.fps) {}

RenderResult Render::Run() {
  const auto start = std::chrono::steady_clock::now();
  frames_ = Validate(model_, request_);
  rows_ = request_.image.height / model_.downscale;
  columns_ = request_.image.width / model_.downscale;
  plane_ = static_cast<size_t>(model_.latent_channels) * rows_ * columns_;
  window_frames_ = std::min(frames_, request_.context_frames);
  decode_batch_ = std::clamp(kShown / (request_.image.width * request_.image.height), 1, 8);

  const auto samples = static_cast<int64_t>(request_.audio.size());
  const int windows = static_cast<int>(
      MakeWindows(frames_, request_.context_frames, request_.context_overlap, 0).size());
  const double units[kStages] = {
      static_cast<double>(AudioFeatures::Blocks(model_, samples, frames_, request_.fps)), 1.0,
      static_cast<double>(windows) * request_.steps * (guided() ? 2 : 1),
      static_cast<double>(frames_)};
  meter_ = std::make_unique<ProgressMeter>(
      costs_, units, [this](const Progress& progress) { sink_.OnProgress(progress); });
  meter_->state().steps = request_.steps;
  meter_->state().windows = windows;
  meter_->state().frames = frames_;

  audio_.Compute(*networks_.mel, *networks_.audio, request_.audio, frames_, cancellation_,
                 [this] { meter_->Advance(Stage::kAudio, 1); });
  request_.audio = {};
  cancellation_.ThrowIfCancelled();
  EncodeReference();
  meter_->Advance(Stage::kReference, 1);
  MakeNoise();
  Denoise();
  sink_.Drain();
  cancellation_.ThrowIfCancelled();
  meter_->Finish();
  costs_ = meter_->MeasuredCosts();

  RenderResult result;
  result.frames = frames_;
  result.width = request_.image.width;
  result.height = request_.image.height;
  result.fps = request_.fps;
  result.seed = request_.seed;
  for (int i = 0; i < kStages; i++) {
    result.milliseconds[i] = meter_->milliseconds(static_cast<Stage>(i));
  }
  result.total_milliseconds =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return result;
}

void Render::EncodeReference() {
  const int64_t height = request_.image.height;
  const int64_t width = request_.image.width;
  const size_t pixels = static_cast<size_t>(height) * width;
  const Ort::RunOptions& options = cancellation_.run_options();

  std::vector<float> mask(pixels);
  for (size_t i = 0; i < pixels; i++) {
    mask[i] = static_cast<float>(request_.face_mask.data[i]) / 255.0f;
  }
  Ort::IoBinding face = networks_.face_locator->Bind();
  face.BindInput("mask", Wrap(mask.data(), {height, width}));
  face.BindOutput("face", CpuMemory());
  networks_.face_locator->Run(options, face);
  face_ = face.GetOutputValues();
  cancellation_.ThrowIfCancelled();

  std::vector<float> image(3 * pixels);
  for (size_t i = 0; i < pixels; i++) {
    for (size_t c = 0; c < 3; c++) {
      image[c * pixels + i] = 2.0f * (request_.image.data[3 * i + c] / 255.0f) - 1.0f;
    }
  }
  Ort::IoBinding encoder = networks_.vae_encoder->Bind();
  encoder.BindInput("image", Wrap(image.data(), {1, 3, height, width}));
  encoder.BindOutput("latents", CpuMemory());
  networks_.vae_encoder->Run(options, encoder);
  const auto latents = encoder.GetOutputValues();
  DataOf(latents[0], plane_, "reference latents");
  cancellation_.ThrowIfCancelled();

  Ort::IoBinding reference = networks_.reference->Bind();
  reference.BindInput("latents", latents[0]);
  for (const auto& name : model_.bank) reference.BindOutput(name.c_str(), CpuMemory());
  networks_.reference->Run(options, reference);
  bank_ = reference.GetOutputValues();
  cancellation_.ThrowIfCancelled();
}

void Render::MakeNoise() {
  latents_.resize(frames_ * plane_);
  const size_t channel = static_cast<size_t>(rows_) * columns_;
  for (int frame = 0; frame < frames_; frame++) {
    float* const out = latents_.data() + frame * plane_;
    if (request_.noise.empty()) {
      FrameNoise(request_.seed, static_cast<uint32_t>(frame), out, plane_);
    } else {
      for (int c = 0; c < model_.latent_channels; c++) {
        std::memcpy(out + c * channel,
                    request_.noise.data() + (static_cast<size_t>(c) * frames_ + frame) * channel,
                    channel * sizeof(float));
      }
    }
    for (size_t i = 0; i < plane_; i++) out[i] = std::clamp(out[i], -kNoiseLimit, kNoiseLimit);
  }
  request_.noise = {};
}

Render::Batch Render::MakeBatch(int windows) {
  Batch batch;
  batch.windows = windows;
  const size_t numbers = static_cast<size_t>(windows) * window_frames_ * plane_;
  const size_t tokens = audio_.tokens_per_frame();
  batch.sample.resize(numbers);
  batch.prediction.resize(numbers);
  batch.audio.resize(static_cast<size_t>(windows) * window_frames_ * tokens * model_.width);
  const Shape shape = {windows, window_frames_, model_.latent_channels, rows_, columns_};

  batch.binding = networks_.denoiser->Bind();
  batch.binding.BindInput("sample", Wrap(batch.sample.data(), shape));
  batch.binding.BindInput("timestep", Wrap(&timestep_, {1}));
  batch.binding.BindInput("audio", Wrap(batch.audio.data(), {windows, window_frames_,
                                                             static_cast<int64_t>(tokens),
                                                             model_.width}));
  batch.binding.BindInput("face", face_[0]);
  for (size_t i = 0; i < bank_.size(); i++) {
    batch.binding.BindInput(model_.bank[i].c_str(), bank_[i]);
  }
  batch.binding.BindOutput("v", Wrap(batch.prediction.data(), shape));
  if (guided()) {
    batch.unconditional.resize(numbers);
    batch.unconditional_binding = networks_.unconditional->Bind();
    batch.unconditional_binding.BindInput("sample", Wrap(batch.sample.data(), shape));
    batch.unconditional_binding.BindInput("timestep", Wrap(&timestep_, {1}));
    batch.unconditional_binding.BindOutput("v", Wrap(batch.unconditional.data(), shape));
  }
  return batch;
}

// Runs the denoiser on `batch.windows` windows and adds what it predicts to the frames' sums.
// Guidance is linear, so it can be applied before the mean over windows.
void Render::Predict(Batch& batch, const Window* windows) {
  const size_t tokens = audio_.tokens_per_frame() * model_.width;
  for (int w = 0; w < batch.windows; w++) {
    for (int i = 0; i < window_frames_; i++) {
      const size_t slot = static_cast<size_t>(w) * window_frames_ + i;
      std::memcpy(batch.sample.data() + slot * plane_,
                  latents_.data() + windows[w][i] * plane_, plane_ * sizeof(float));
      audio_.Gather(windows[w][i], batch.audio.data() + slot * tokens);
    }
  }
  const Ort::RunOptions& options = cancellation_.run_options();
  networks_.denoiser->Run(options, batch.binding);
  if (guided()) {
    networks_.unconditional->Run(options, batch.unconditional_binding);
    const auto cfg = static_cast<float>(request_.cfg);
    for (size_t i = 0; i < batch.prediction.size(); i++) {
      const float base = batch.unconditional[i];
      batch.prediction[i] = base + cfg * (batch.prediction[i] - base);
    }
  }
  for (int w = 0; w < batch.windows; w++) {
    for (int i = 0; i < window_frames_; i++) {
      const float* const v =
          batch.prediction.data() + (static_cast<size_t>(w) * window_frames_ + i) * plane_;
      float* const sum = predictions_.data() + windows[w][i] * plane_;
      for (size_t k = 0; k < plane_; k++) sum[k] += v[k];
    }
  }
}

// Takes the step on frames first to last - 1, whose predictions are complete.
void Render::StepFrames(const Step& step, int first, int last) {
  for (int frame = first; frame < last; frame++) {
    float* const x = latents_.data() + frame * plane_;
    const float* const sum = predictions_.data() + frame * plane_;
    const auto count = static_cast<float>(counts_[frame]);
    for (size_t k = 0; k < plane_; k++) x[k] = step.keep * x[k] + step.turn * (sum[k] / count);
  }
}

void Render::Denoise() {
  const auto schedule = MakeSchedule(model_.schedule, request_.steps);
  predictions_.resize(latents_.size());
  counts_.resize(frames_);
  Batch batch = MakeBatch(1);
  int decoded = 0;
  for (int s = 0; s < request_.steps; s++) {
    const bool last_step = s == request_.steps - 1;
    StreamingOrder order;
    order.windows =
        MakeWindows(frames_, request_.context_frames, request_.context_overlap, s);
    if (last_step) order = OrderForStreaming(order.windows, frames_);
    std::fill(predictions_.begin(), predictions_.end(), 0.0f);
    std::fill(counts_.begin(), counts_.end(), 0);
    for (const auto& window : order.windows) {
      for (const int frame : window) counts_[frame]++;
    }
    timestep_ = static_cast<float>(schedule[s].timestep);

    int stepped = 0;
    for (size_t w = 0; w < order.windows.size(); w++) {
      cancellation_.ThrowIfCancelled();
      Predict(batch, &order.windows[w]);
      meter_->state().step = s + 1;
      meter_->state().window = static_cast<int>(w) + 1;
      meter_->Advance(Stage::kDenoise, guided() ? 2 : 1);
      if (!last_step) continue;
      StepFrames(schedule[s], stepped, order.ready[w]);
      stepped = order.ready[w];
      if (request_.want_latents) continue;
      while (stepped - decoded >= decode_batch_) {
        Decode(decoded, decoded + decode_batch_);
        decoded += decode_batch_;
      }
    }
    StepFrames(schedule[s], stepped, frames_);
    if (request_.want_latents) Snapshot(s);
  }
  while (decoded < frames_) {
    const int next = std::min(frames_, decoded + decode_batch_);
    Decode(decoded, next);
    decoded = next;
  }
}

void Render::Decode(int first, int last) {
  cancellation_.ThrowIfCancelled();
  const int count = last - first;
  const int width = request_.image.width;
  const int height = request_.image.height;
  const size_t pixels = static_cast<size_t>(width) * height;
  decoder_input_.assign(latents_.begin() + first * plane_, latents_.begin() + last * plane_);

  Ort::IoBinding binding = networks_.vae_decoder->Bind();
  binding.BindInput("latents", Wrap(decoder_input_.data(),
                                    {count, model_.latent_channels, rows_, columns_}));
  binding.BindOutput("image", CpuMemory());
  networks_.vae_decoder->Run(cancellation_.run_options(), binding);
  const auto outputs = binding.GetOutputValues();
  const float* const image = DataOf(outputs[0], 3 * pixels * count, "decoded image");

  FrameChunk chunk{first, count, width, height, {}};
  chunk.data.resize(3 * pixels * count);
  for (int frame = 0; frame < count; frame++) {
    const float* const planes = image + frame * 3 * pixels;
    uint8_t* const out = chunk.data.data() + frame * 3 * pixels;
    for (size_t i = 0; i < pixels; i++) {
      for (size_t c = 0; c < 3; c++) out[3 * i + c] = ToByte(planes[c * pixels + i]);
    }
  }
  meter_->state().frames_done = last;
  meter_->Advance(Stage::kDecode, count);
  sink_.OnFrames(std::move(chunk));
  meter_->Skip();  // time spent waiting for the taker is not ours
}

void Render::Snapshot(int step) {
  LatentsSnapshot snapshot;
  snapshot.step = step;
  snapshot.latents.shape = {model_.latent_channels, frames_, rows_, columns_};
  snapshot.latents.data.resize(latents_.size());
  const size_t channel = static_cast<size_t>(rows_) * columns_;
  for (int frame = 0; frame < frames_; frame++) {
    for (int c = 0; c < model_.latent_channels; c++) {
      std::memcpy(snapshot.latents.data.data() +
                      (static_cast<size_t>(c) * frames_ + frame) * channel,
                  latents_.data() + frame * plane_ + c * channel, channel * sizeof(float));
    }
  }
  sink_.OnLatents(std::move(snapshot));
}

}  // namespace echomimic
