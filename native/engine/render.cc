#include "render.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "latents.h"
#include "noise.h"
#include "runtime.h"

namespace echomimic {

namespace {

// Windows up to this many latent pixels run one per core; larger ones one after the other on all
// cores, because they use the cores well by themselves and need much memory.
constexpr int64_t kLanePixels = 12 * 32 * 32;
constexpr int kMostLanes = 16;

Ort::MemoryInfo CpuMemory() {
  return Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
}

}  // namespace

Render::Render(Networks& networks, const ModelSpec& model, int threads, RenderRequest request,
               const Cancellation& cancellation, RenderSink& sink, Costs& costs)
    : networks_(networks),
      model_(model),
      threads_(threads),
      request_(std::move(request)),
      cancellation_(cancellation),
      sink_(sink),
      costs_(costs),
      audio_(model, request_.fps) {}

RenderResult Render::Run() {
  const Stopwatch total;
  frames_ = Validate(model_, request_);
  rows_ = request_.image.height / model_.downscale;
  columns_ = request_.image.width / model_.downscale;
  plane_ = static_cast<size_t>(model_.latent_channels) * rows_ * columns_;
  window_frames_ = std::min(frames_, request_.context_frames);
  const auto samples = static_cast<int64_t>(request_.audio.size());
  const int windows = static_cast<int>(
      MakeWindows(frames_, request_.context_frames, request_.context_overlap, 0).size());
  const double units[kStages] = {
      static_cast<double>(AudioFeatures::Blocks(model_, samples, frames_, request_.fps)), 1.0,
      static_cast<double>(windows) * request_.steps * (guided() ? 2 : 1),
      static_cast<double>(frames_)};
  const int64_t window_pixels = int64_t{window_frames_} * rows_ * columns_;
  lanes_ = window_pixels <= kLanePixels ? std::min(threads_, kMostLanes) : 1;
  meter_ = std::make_unique<ProgressMeter>(
      costs_, units, [this](const Progress& progress) { sink_.OnProgress(progress); });
  meter_->state().steps = request_.steps;
  meter_->state().windows = windows;
  meter_->state().frames = frames_;

  Stopwatch block;
  audio_.Compute(*networks_.mel, *networks_.audio, std::move(request_.audio), frames_,
                 cancellation_, [&] {
                   meter_->Advance(Stage::kAudio, 1, block.milliseconds());
                   block = {};
                 });
  cancellation_.ThrowIfCancelled();
  const Stopwatch reference;
  EncodeReference();
  meter_->Advance(Stage::kReference, 1, reference.milliseconds());
  TrimMemory();
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
  result.total_milliseconds = total.milliseconds();
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
    LimitNoise(out, plane_);
  }
  request_.noise = {};
}

void Render::Bind(Lane& lane) {
  const size_t numbers = window_frames_ * plane_;
  const size_t tokens = audio_.tokens_per_frame();
  lane.sample.resize(numbers);
  lane.prediction.resize(numbers);
  lane.audio.resize(window_frames_ * tokens * model_.width);
  lane.latents.resize(decode_batch_ * plane_);
  const Shape shape = {1, window_frames_, model_.latent_channels, rows_, columns_};

  lane.denoiser = networks_.denoiser->Bind();
  lane.denoiser.BindInput("sample", Wrap(lane.sample.data(), shape));
  lane.denoiser.BindInput("timestep", Wrap(&timestep_, {1}));
  lane.denoiser.BindInput("audio", Wrap(lane.audio.data(), {1, window_frames_,
                                                            static_cast<int64_t>(tokens),
                                                            model_.width}));
  lane.denoiser.BindInput("face", face_[0]);
  for (size_t i = 0; i < bank_.size(); i++) {
    lane.denoiser.BindInput(model_.bank[i].c_str(), bank_[i]);
  }
  lane.denoiser.BindOutput("v", Wrap(lane.prediction.data(), shape));
  if (guided()) {
    lane.unconditional.resize(numbers);
    lane.unconditional_denoiser = networks_.unconditional->Bind();
    lane.unconditional_denoiser.BindInput("sample", Wrap(lane.sample.data(), shape));
    lane.unconditional_denoiser.BindInput("timestep", Wrap(&timestep_, {1}));
    lane.unconditional_denoiser.BindOutput("v", Wrap(lane.unconditional.data(), shape));
  }
}

// Runs the denoiser on one window. Guidance is linear, so it is applied before the mean over
// windows.
void Render::Predict(Lane& lane, const Window& window) {
  const size_t tokens = audio_.tokens_per_frame() * model_.width;
  GatherFrames(latents_.data(), window, plane_, lane.sample.data());
  for (int i = 0; i < window_frames_; i++) {
    audio_.Gather(window[i], lane.audio.data() + i * tokens);
  }
  const Ort::RunOptions& options = cancellation_.run_options();
  networks_.denoiser->Run(options, lane.denoiser);
  if (!guided()) return;
  networks_.unconditional->Run(options, lane.unconditional_denoiser);
  ApplyGuidance(lane.unconditional.data(), static_cast<float>(request_.cfg),
                lane.prediction.size(), lane.prediction.data());
}

// Takes the step on frames first to last - 1, whose predictions are complete.
void Render::Advance(const Step& step, int first, int last) {
  StepFrames(step, predictions_.data(), counts_, first, last, plane_, latents_.data());
}

void Render::Denoise() {
  const auto schedule = MakeSchedule(model_.schedule, request_.steps);
  predictions_.resize(latents_.size());
  counts_.resize(frames_);
  Lanes lanes(lanes_);
  std::vector<Lane> buffers(lanes.count());
  for (auto& lane : buffers) Bind(lane);
  for (int s = 0; s < request_.steps; s++) {
    const bool last_step = s == request_.steps - 1;
    StreamingOrder order;
    order.windows = MakeWindows(frames_, request_.context_frames, request_.context_overlap, s);
    if (last_step) order = OrderForStreaming(order.windows, frames_);
    std::fill(predictions_.begin(), predictions_.end(), 0.0f);
    std::fill(counts_.begin(), counts_.end(), 0);
    for (const auto& window : order.windows) {
      for (const int frame : window) counts_[frame]++;
    }
    timestep_ = static_cast<float>(schedule[s].timestep);
    meter_->state().step = s + 1;
    meter_->state().window = 0;

    StepPlan plan(std::move(order), frames_, last_step ? decode_batch_ : 0);
    lanes.Run([&](int lane) {
      try {
        RunStep(plan, buffers[lane], schedule[s], last_step);
      } catch (...) {
        plan.Abandon();
        throw;
      }
    });
    if (!last_step) Advance(schedule[s], 0, frames_);
    if (request_.want_latents) Snapshot(s);
  }
}

// One lane's share of a step.
void Render::RunStep(StepPlan& plan, Lane& lane, const Step& step, bool last_step) {
  while (true) {
    const StepPlan::Task task = plan.Next();
    if (task.kind == StepPlan::Task::kNone) return;
    cancellation_.ThrowIfCancelled();
    const Stopwatch work;
    if (task.kind == StepPlan::Task::kWindow) {
      const Window& window = plan.windows()[task.index];
      Predict(lane, window);
      const double milliseconds = work.milliseconds() / lanes_;
      if (!plan.AwaitTurn(task)) return;
      AddWindow(lane.prediction.data(), window, plane_, predictions_.data());
      if (last_step) {
        Advance(step, stepped_, plan.ReadyAfter(task));
        stepped_ = plan.ReadyAfter(task);
      }
      {
        const std::lock_guard lock(meter_mutex_);
        meter_->state().window = task.index + 1;
        meter_->Advance(Stage::kDenoise, guided() ? 2 : 1, milliseconds);
      }
    } else {
      FrameChunk chunk = Decode(lane, task.index, task.count);
      const double milliseconds = work.milliseconds() / lanes_;
      if (!plan.AwaitTurn(task)) return;
      {
        const std::lock_guard lock(meter_mutex_);
        meter_->state().frames_done = task.index + task.count;
        meter_->Advance(Stage::kDecode, task.count, milliseconds);
      }
      sink_.OnFrames(std::move(chunk));
    }
    plan.FinishTurn(task);
  }
}

FrameChunk Render::Decode(Lane& lane, int first, int count) {
  const int width = request_.image.width;
  const int height = request_.image.height;
  const size_t pixels = static_cast<size_t>(width) * height;
  std::memcpy(lane.latents.data(), latents_.data() + first * plane_,
              count * plane_ * sizeof(float));

  Ort::IoBinding binding = networks_.vae_decoder->Bind();
  binding.BindInput("latents",
                    Wrap(lane.latents.data(), {count, model_.latent_channels, rows_, columns_}));
  binding.BindOutput("image", CpuMemory());
  networks_.vae_decoder->Run(cancellation_.run_options(), binding);
  const auto outputs = binding.GetOutputValues();
  const float* const image = DataOf(outputs[0], 3 * pixels * count, "decoded image");

  FrameChunk chunk{first, count, width, height, {}};
  chunk.data.resize(3 * pixels * count);
  for (int frame = 0; frame < count; frame++) {
    ToRgb(image + frame * 3 * pixels, pixels, chunk.data.data() + frame * 3 * pixels);
  }
  return chunk;
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
