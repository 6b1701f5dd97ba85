#include "audio.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "latents.h"
#include "request.h"

namespace echomimic {

AudioFeatures::AudioFeatures(const ModelSpec& model, double fps, int64_t samples, int frames)
    : model_(model), fps_(fps), samples_(samples), positions_(PositionsOf(model, samples)) {
  const int64_t last = FirstPosition(frames - 1) + positions_per_frame();
  const int64_t needed = std::min(positions_, last);
  const int64_t per_block = model.block_frames / 2;
  runs_ = 1 + static_cast<int>(std::max<int64_t>(1, (needed + per_block - 1) / per_block));
}

Shape AudioFeatures::shape() const {
  const int64_t heard = (runs_ - 1) * int64_t{model_.block_frames / 2};
  return {std::min(positions_, heard), model_.layers, model_.width};
}

int64_t AudioFeatures::FirstPosition(int frame) const {
  const auto centre = static_cast<int64_t>(
      static_cast<double>(int64_t{frame} * model_.positions_per_second) / fps_);
  return centre - model_.window_before;
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
    mel.Run(cancellation.host_options(), binding);
    for (int bin = 0; bin < model_.mel_bins; bin++) {
      std::memcpy(log_mel.data() + bin * frames + first, piece.data() + bin * made + first - from,
                  (last - first) * sizeof(float));
    }
  }
  const float floor = *std::max_element(log_mel.begin(), log_mel.end()) - kRange;
  for (float& x : log_mel) x = std::max(x, floor);
  return log_mel;
}

void AudioFeatures::Compute(Network& mel, Network& audio, std::vector<float> pcm,
                            const Ort::MemoryInfo& memory, float* states,
                            const Cancellation& cancellation,
                            const std::function<void()>& on_block) const {
  if (!std::all_of(pcm.begin(), pcm.end(), [](float x) { return std::isfinite(x); })) {
    throw EngineError(ErrorCode::kOptionInvalid,
                      "audio: expected finite numbers, received one that is not");
  }
  const int64_t mel_frames = samples_ / model_.hop;
  const size_t state = static_cast<size_t>(model_.layers) * model_.width;
  const std::vector<float> log_mel = LogMel(mel, pcm, cancellation);
  pcm = {};
  on_block();

  std::vector<float> block(static_cast<size_t>(model_.mel_bins) * model_.block_frames);
  Ort::IoBinding binding = audio.Bind();
  for (int run = 1; run < runs_; run++) {
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
      binding.BindOutput("features",
                         Wrap(memory, states, {count / 2, model_.layers, model_.width}));
      audio.Run(cancellation.run_options(), binding);
      states += (count / 2) * state;
    }
    on_block();
  }
}

void AudioFeatures::Gather(const float* states, int frame, float* out) const {
  const size_t state = static_cast<size_t>(model_.layers) * model_.width;
  GatherRows(states, positions_, state, FirstPosition(frame), positions_per_frame(), out);
}

}  // namespace echomimic
