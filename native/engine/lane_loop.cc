#include "lane_loop.h"

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
constexpr int kDecodeBatch = 1;

int LanesFor(const Clip& clip, int threads) {
  const int64_t window_pixels = int64_t{clip.window_frames} * clip.rows * clip.columns;
  return window_pixels <= kLanePixels ? std::min(threads, kMostLanes) : 1;
}

}  // namespace

LaneLoop::LaneLoop(Clip& clip, int threads) : clip_(clip), lanes_(LanesFor(clip, threads)) {}

void LaneLoop::HearAudio(std::vector<float> pcm, const std::function<void()>& on_run) {
  states_.resize(ElementsOf(clip_.audio.shape()));
  clip_.audio.Compute(*clip_.networks.mel, *clip_.networks.audio, std::move(pcm), CpuMemory(),
                      states_.data(), clip_.cancellation, on_run);
}

void LaneLoop::EncodeReference() {
  reference_ = echomimic::EncodeReference(
      clip_,
      [](Ort::IoBinding& binding, const std::string& output) {
        binding.BindOutput(output.c_str(), CpuMemory());
      },
      [this](Network& network, const Ort::IoBinding& binding) {
        network.Run(clip_.cancellation.run_options(), binding);
      });
  TrimMemory();
}

void LaneLoop::StartFromNoise() {
  if (clip_.request.noise.empty()) {
    latents_.resize(clip_.frames * clip_.plane);
    for (int frame = 0; frame < clip_.frames; frame++) {
      FrameNoise(clip_.request.seed, static_cast<uint32_t>(frame),
                 latents_.data() + frame * clip_.plane, clip_.plane);
    }
    LimitNoise(latents_.data(), latents_.size());
  } else {
    latents_ = clip_.GivenNoise();
  }
  predictions_.resize(latents_.size());
  counts_.resize(clip_.frames);
  buffers_.resize(lanes_.count());
  for (auto& lane : buffers_) Bind(lane);
}

void LaneLoop::Bind(Lane& lane) {
  const size_t numbers = clip_.window_frames * clip_.plane;
  const int tokens = clip_.audio.tokens_per_frame();
  const auto& bank = clip_.model.bank;
  lane.sample.resize(numbers);
  lane.prediction.resize(numbers);
  lane.audio.resize(static_cast<size_t>(clip_.window_frames) * tokens * clip_.model.width);
  lane.latents.resize(kDecodeBatch * clip_.plane);
  const Shape shape = clip_.WindowShape(1);

  lane.denoiser = clip_.networks.denoiser->Bind();
  lane.denoiser.BindInput("sample", Wrap(lane.sample.data(), shape));
  lane.denoiser.BindInput("timestep", Wrap(&timestep_, {1}));
  lane.denoiser.BindInput(
      "audio", Wrap(lane.audio.data(), {1, clip_.window_frames, tokens, clip_.model.width}));
  lane.denoiser.BindInput("face", reference_.face);
  for (size_t i = 0; i < bank.size(); i++) {
    lane.denoiser.BindInput(bank[i].c_str(), reference_.bank[i]);
  }
  lane.denoiser.BindOutput("v", Wrap(lane.prediction.data(), shape));
  if (clip_.guided()) {
    lane.unconditional.resize(numbers);
    lane.unconditional_denoiser = clip_.networks.unconditional->Bind();
    lane.unconditional_denoiser.BindInput("sample", Wrap(lane.sample.data(), shape));
    lane.unconditional_denoiser.BindInput("timestep", Wrap(&timestep_, {1}));
    lane.unconditional_denoiser.BindOutput("v", Wrap(lane.unconditional.data(), shape));
  }
}

void LaneLoop::Predict(Lane& lane, const Window& window) {
  const size_t tokens = static_cast<size_t>(clip_.audio.tokens_per_frame()) * clip_.model.width;
  GatherFrames(latents_.data(), window, clip_.plane, lane.sample.data());
  for (int i = 0; i < clip_.window_frames; i++) {
    clip_.audio.Gather(states_.data(), window[i], lane.audio.data() + i * tokens);
  }
  const Ort::RunOptions& options = clip_.cancellation.run_options();
  clip_.networks.denoiser->Run(options, lane.denoiser);
  if (!clip_.guided()) return;
  clip_.networks.unconditional->Run(options, lane.unconditional_denoiser);
  ApplyGuidance(lane.unconditional.data(), static_cast<float>(clip_.request.cfg),
                lane.prediction.size(), lane.prediction.data());
}

// Takes the step on frames first to last - 1, whose predictions are complete.
void LaneLoop::Advance(const Step& step, int first, int last) {
  StepFrames(step, predictions_.data(), counts_, first, last, clip_.plane, latents_.data());
}

void LaneLoop::RunStep(const StepWork& work) {
  std::fill(predictions_.begin(), predictions_.end(), 0.0f);
  std::fill(counts_.begin(), counts_.end(), 0);
  for (const auto& window : work.order.windows) {
    for (const int frame : window) counts_[frame]++;
  }
  timestep_ = static_cast<float>(work.step.timestep);
  StepPlan plan(work.order, clip_.frames, work.last ? kDecodeBatch : 0);
  lanes_.Run([&](int lane) {
    try {
      Work(plan, buffers_[lane], work);
    } catch (...) {
      plan.Abandon();
      throw;
    }
  });
  if (!work.last) Advance(work.step, 0, clip_.frames);
}

// One lane's share of a step.
void LaneLoop::Work(StepPlan& plan, Lane& lane, const StepWork& work) {
  while (true) {
    const StepPlan::Task task = plan.Next();
    if (task.kind == StepPlan::Task::kNone) return;
    clip_.cancellation.ThrowIfCancelled();
    const Stopwatch watch;
    if (task.kind == StepPlan::Task::kWindow) {
      const Window& window = plan.windows()[task.index];
      Predict(lane, window);
      const double milliseconds = watch.milliseconds() / lanes_.count();
      if (!plan.AwaitTurn(task)) return;
      AddWindow(lane.prediction.data(), window, clip_.plane, predictions_.data());
      if (work.last) {
        Advance(work.step, stepped_, plan.ReadyAfter(task));
        stepped_ = plan.ReadyAfter(task);
      }
      clip_.OnWindows(work.number, task.index + 1, 1, milliseconds);
    } else {
      FrameChunk chunk = Decode(lane, task.index, task.count);
      const double milliseconds = watch.milliseconds() / lanes_.count();
      if (!plan.AwaitTurn(task)) return;
      clip_.OnFrames(std::move(chunk), milliseconds);
    }
    plan.FinishTurn(task);
  }
}

FrameChunk LaneLoop::Decode(Lane& lane, int first, int count) {
  const size_t pixels = clip_.pixels;
  std::memcpy(lane.latents.data(), latents_.data() + first * clip_.plane,
              count * clip_.plane * sizeof(float));

  Ort::IoBinding binding = clip_.networks.vae_decoder->Bind();
  binding.BindInput("latents", Wrap(lane.latents.data(), clip_.FrameShape(count)));
  binding.BindOutput("image", CpuMemory());
  clip_.networks.vae_decoder->Run(clip_.cancellation.run_options(), binding);
  const auto outputs = binding.GetOutputValues();
  CheckSize(outputs[0], 3 * pixels * count, "decoded image");
  const auto* const image = outputs[0].GetTensorData<float>();

  FrameChunk chunk{first, count, clip_.request.image.width, clip_.request.image.height, {}};
  chunk.data.resize(3 * pixels * count);
  for (int frame = 0; frame < count; frame++) {
    ToRgb(image + frame * 3 * pixels, pixels, chunk.data.data() + frame * 3 * pixels);
  }
  return chunk;
}

}  // namespace echomimic
