#include "audio.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "latents.h"
#include "request.h"

namespace echomimic {

namespace {

// Where in the audio the centre of a video frame lies.
int64_t CentreOf(const ModelSpec& model, double fps, int64_t frame) {
  return static_cast<int64_t>(static_cast<double>(frame * model.positions_per_second) / fps);
}

}  // namespace

int AudioFeatures::Blocks(const ModelSpec& model, int64_t samples, int frames, double fps) {
  const int64_t needed = std::min(PositionsOf(model, samples),
                                  CentreOf(model, fps, frames - 1) + model.window_after + 1);
  const int64_t per_block = model.block_frames / 2;
  return 1 + static_cast<int>(std::max<int64_t>(1, (needed + per_block - 1) / per_block));
}

// Runs the log-mel network piece by piece, so that its scratch memory does not grow with the clip.
// It limits the range below its loudest value by 8 before (x + 4) / 4, here 2. A piece is at most as
// loud as the clip, so limiting once more by the clip's loudest value gives what one run would.
std::vector<float> AudioFeatures::LogMel(Network& mel, const std::vector<float>& pcm,
                                         const Cancellation& cancellation) const {
  constexpr int64_t kPiece = 1000;  // frames
  constexpr int64_t kMargin = 4;    // frames that the analysis window reaches beyond a piece
  constexpr float kRange = 2.0f;
  const auto samples = static_cast<int64_t>(pcm.size());
  const int64_t frames = samples / model_.hop;
  std::vector<float> log_mel(static_cast<size_t>(model_.mel_bins) * frames);
  std::vector<float> piece;
  for (int64_t first = 0; first < frames; first += kPiece) {
    cancellation.ThrowIfCancelled();
    const int64_t last = std::min(frames, first + kPiece);
    const int64_t from = std::max<int64_t>(0, first - kMargin);
    const int64_t end = last == frames ? samples : std::min(samples, (last + kMargin) * model_.hop);
    const int64_t length = end - from * model_.hop;
    const int64_t made = length / model_.hop;
    piece.resize(static_cast<size_t>(model_.mel_bins) * made);
    Ort::IoBinding binding = mel.Bind();
    binding.BindInput("pcm",
                      Wrap(const_cast<float*>(pcm.data()) + from * model_.hop, {length}));
    binding.BindOutput("log_mel", Wrap(piece.data(), {model_.mel_bins, made}));
    mel.Run(cancellation.run_options(), binding);
    for (int bin = 0; bin < model_.mel_bins; bin++) {
      std::memcpy(log_mel.data() + bin * frames + first, piece.data() + bin * made + first - from,
                  (last - first) * sizeof(float));
    }
  }
  const float floor = *std::max_element(log_mel.begin(), log_mel.end()) - kRange;
  for (float& x : log_mel) x = std::max(x, floor);
  return log_mel;
}

void AudioFeatures::Compute(Network& mel, Network& audio, std::vector<float> pcm, int frames,
                            const Cancellation& cancellation,
                            const std::function<void()>& on_block) {
  if (!std::all_of(pcm.begin(), pcm.end(), [](float x) { return std::isfinite(x); })) {
    throw EngineError(ErrorCode::kOptionInvalid,
                      "audio: expected finite numbers, received one that is not");
  }
  const auto samples = static_cast<int64_t>(pcm.size());
  positions_ = PositionsOf(model_, samples);
  const int64_t mel_frames = samples / model_.hop;
  const int runs = Blocks(model_, samples, frames, fps_);
  const int64_t per_block = model_.block_frames / 2;
  const size_t state = static_cast<size_t>(model_.layers) * model_.width;

  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const std::vector<float> log_mel = LogMel(mel, pcm, cancellation);
  pcm = {};
  on_block();

  std::vector<float> block(static_cast<size_t>(model_.mel_bins) * model_.block_frames);
  Ort::IoBinding binding = audio.Bind();
  states_.clear();
  states_.reserve(std::min(positions_, (runs - 1) * per_block) * state);
  for (int run = 1; run < runs; run++) {
    cancellation.ThrowIfCancelled();
    const int64_t start = static_cast<int64_t>(run - 1) * model_.block_frames;
    const int64_t count = std::min<int64_t>(model_.block_frames, mel_frames - start);
    if (count / 2 > 0) {
      // The network pads the block itself and gives the positions of these frames only.
      for (int bin = 0; bin < model_.mel_bins; bin++) {
        std::memcpy(block.data() + static_cast<size_t>(bin) * count,
                    log_mel.data() + bin * mel_frames + start, count * sizeof(float));
      }
      binding.BindInput("mel", Wrap(block.data(), {model_.mel_bins, count}));
      binding.BindOutput("features", memory);  // again, because its shape depends on the block
      audio.Run(cancellation.run_options(), binding);
      const auto outputs = binding.GetOutputValues();
      const float* const features = DataOf(outputs[0], (count / 2) * state, "audio features");
      states_.insert(states_.end(), features, features + (count / 2) * state);
    }
    on_block();
  }
}

void AudioFeatures::Gather(int frame, float* out) const {
  const size_t state = static_cast<size_t>(model_.layers) * model_.width;
  GatherRows(states_.data(), positions_, state, CentreOf(model_, fps_, frame) - model_.window_before,
             model_.window_before + model_.window_after + 1, out);
}

}  // namespace echomimic
