#include "request.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include "error.h"

namespace echomimic {

namespace {

constexpr int kMaxSide = 4096;
constexpr int64_t kMaxSeconds = 4 * 3600;
constexpr double kMaxFps = 240;
constexpr double kMaxCfg = 100;
constexpr int64_t kMaxLatentBytes = int64_t{4} << 30;

[[noreturn]] void Refuse(const std::string& field, const std::string& expected,
                         const std::string& received) {
  throw EngineError(ErrorCode::kOptionInvalid,
                    field + ": expected " + expected + ", received " + received);
}

std::string Text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.10g", value);
  return text;
}

void CheckRange(const std::string& field, double value, double low, double high) {
  if (value >= low && value <= high) return;  // false for NaN
  Refuse(field, "a number from " + Text(low) + " to " + Text(high), Text(value));
}

void CheckPicture(const std::string& field, const Picture& picture, int channels, int multiple) {
  for (const bool wide : {true, false}) {
    const int side = wide ? picture.width : picture.height;
    const std::string name = field + (wide ? ".width" : ".height");
    CheckRange(name, side, multiple, kMaxSide);
    if (side % multiple != 0) {
      Refuse(name, "a multiple of " + std::to_string(multiple), std::to_string(side));
    }
  }
  const size_t bytes = static_cast<size_t>(picture.width) * picture.height * channels;
  if (picture.data.size() != bytes) {
    Refuse(field + ".data", std::to_string(bytes) + " bytes", std::to_string(picture.data.size()));
  }
}

}  // namespace

int64_t PositionsOf(const ModelSpec& model, int64_t samples) {
  const int64_t frames = samples / model.hop;
  const int64_t blocks = frames / model.block_frames;
  // A block whose length is odd loses its last frame, as in the official code.
  return blocks * (model.block_frames / 2) + (frames % model.block_frames) / 2;
}

int64_t FramesOf(const ModelSpec& model, int64_t samples, double fps) {
  const int64_t positions = PositionsOf(model, samples);
  const double per_frame = model.positions_per_second / fps;
  int64_t frame = static_cast<int64_t>(static_cast<double>(positions) / per_frame);
  frame = std::max<int64_t>(0, frame - 2);
  while (static_cast<int64_t>(static_cast<double>(frame) * per_frame) <= positions) frame++;
  return frame + 1;
}

void ValidateAudio(const ModelSpec& model, size_t samples, double fps) {
  CheckRange("fps", fps, 1, kMaxFps);
  const auto least = static_cast<size_t>(2 * model.hop);
  const size_t most = static_cast<size_t>(kMaxSeconds) * model.sample_rate;
  if (samples < least || samples > most) {
    Refuse("audio", std::to_string(least) + " to " + std::to_string(most) + " samples",
           std::to_string(samples));
  }
}

int Validate(const ModelSpec& model, const RenderRequest& request) {
  CheckPicture("image", request.image, 3, model.downscale);
  CheckPicture("faceMask", request.face_mask, 1, model.downscale);
  if (request.face_mask.width != request.image.width ||
      request.face_mask.height != request.image.height) {
    Refuse("faceMask",
           "the size of the image, " + std::to_string(request.image.width) + "x" +
               std::to_string(request.image.height),
           std::to_string(request.face_mask.width) + "x" +
               std::to_string(request.face_mask.height));
  }
  ValidateAudio(model, request.audio.size(), request.fps);
  CheckRange("steps", request.steps, 1, model.schedule.train_steps);
  CheckRange("cfg", request.cfg, 0, kMaxCfg);
  CheckRange("contextFrames", request.context_frames, 1, model.max_context);
  CheckRange("contextOverlap", request.context_overlap, 0, request.context_frames - 1);
  if (request.frames) CheckRange("frames", *request.frames, 1, 1 << 24);

  const auto samples = static_cast<int64_t>(request.audio.size());
  int64_t frames = FramesOf(model, samples, request.fps);
  if (request.frames) frames = std::min<int64_t>(frames, *request.frames);
  const int64_t per_frame = int64_t{model.latent_channels} *
                            (request.image.width / model.downscale) *
                            (request.image.height / model.downscale);
  if (frames * per_frame * int64_t{2 * sizeof(float)} > kMaxLatentBytes) {
    Refuse("frames", "a clip that fits into memory at this size", std::to_string(frames));
  }
  if (!request.noise.empty() && static_cast<int64_t>(request.noise.size()) != frames * per_frame) {
    Refuse("noise", std::to_string(frames * per_frame) + " numbers",
           std::to_string(request.noise.size()));
  }
  return static_cast<int>(frames);
}

}  // namespace echomimic
