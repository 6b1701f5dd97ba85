#include "planner.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>
#include <vector>

#include "error.h"

namespace echomimic {

namespace {

// The context of CUDA, the handles and workspaces of its libraries, code that they load.
constexpr double kFixedBytes = 1.0 * (uint64_t{1} << 30);
// What an arena wastes, and scratch memory of convolutions.
constexpr double kArena = 1.15;
// More latent pixels in one call do not make a GPU faster.
constexpr int64_t kPixelsPerDenoise = int64_t{96} * 32 * 32;
constexpr int64_t kPixelsPerDecode = int64_t{4} * 64 * 64;
constexpr int kMostWindows = 8;
constexpr int kMostImages = 8;
// A step down has to free so much, or the next attempt fails as the last one did.
constexpr double kStep = 0.9;

struct Choice {
  int windows = 1;
  int images = 1;
  bool resident = true;
  bool shrink = false;
};

const NetworkFile& Find(const ModelSpec& model, const std::string& name) {
  const auto found = std::find_if(model.networks.begin(), model.networks.end(),
                                  [&](const NetworkFile& file) { return file.name == name; });
  if (found == model.networks.end()) {
    throw EngineError(ErrorCode::kModelInvalid, "the model has no network \"" + name + "\"");
  }
  if (found->live.empty()) {
    throw EngineError(ErrorCode::kModelInvalid,
                      "the model's manifest does not tell how much memory its networks need; import "
                      "the checkpoint again: npm run weights -- import FOLDER");
  }
  return *found;
}

// Bytes that a call of a network with so many frames or images needs besides its weights.
double Live(const NetworkFile& network, double pixels, double frames) {
  double most = 0;
  for (const LiveBytes& sum : network.live) {
    most = std::max(most, sum.base + sum.linear * pixels + sum.quadratic * pixels * pixels);
  }
  return kArena * most * frames / network.live_frames;
}

class Memory {
 public:
  Memory(const ModelSpec& model, const PlanRequest& request)
      : request_(request),
        rows_(request.height / model.downscale),
        columns_(request.width / model.downscale),
        denoiser_(Find(model, "denoiser")),
        unconditional_(Find(model, "denoiserUncond")),
        decoder_(Find(model, "vaeDecoder")) {
    for (const char* const name : {"audio", "faceLocator", "vaeEncoder", "reference"}) {
      const NetworkFile& network = Find(model, name);
      once_weights_ += static_cast<double>(network.weight_bytes);
      once_live_ = std::max(once_live_, Live(network, Pixels(), 1));
    }
    // What the networks hand over is float32 and stays for the clip.
    double kept = 0;
    for (const InputShapes& input :
         ShapesOf(model, "denoiser", {request.width, request.height, request.frames})) {
      kept += static_cast<double>(ElementsOf(input.largest));
    }
    kept += 2.0 * request.clip_frames * model.latent_channels * Pixels();
    clip_ = 4.0 * kept;
  }

  double Pixels() const { return static_cast<double>(rows_ * columns_); }

  // The most that is needed at any time of a clip.
  double Needed(const Choice& choice) const {
    const double frames = static_cast<double>(choice.windows) * request_.frames;
    std::vector<double> arenas = {Live(denoiser_, Pixels(), frames),
                                  Live(decoder_, Pixels(), choice.images)};
    double weights = static_cast<double>(denoiser_.weight_bytes + decoder_.weight_bytes);
    if (request_.guided) {
      arenas.push_back(Live(unconditional_, Pixels(), frames));
      weights += static_cast<double>(unconditional_.weight_bytes);
    }
    double live = 0;
    for (const double arena : arenas) live = choice.shrink ? std::max(live, arena) : live + arena;
    // The networks that run once do so before the others. These keep their arenas for the next clip,
    // unless they shrink.
    const double once = choice.shrink ? std::max(live, once_live_) : live + once_live_;
    const double most = choice.resident ? once_weights_ + once
                                        : std::max(live, once_weights_ + once_live_);
    return kFixedBytes + clip_ + weights + most;
  }

  // From the fastest to the smallest.
  std::vector<Choice> Choices() const {
    const auto pixels = static_cast<int64_t>(Pixels());
    const int windows = Most(std::min(request_.windows, kMostWindows),
                             kPixelsPerDenoise / std::max<int64_t>(1, pixels * request_.frames));
    const int images = Most(kMostImages, kPixelsPerDecode / std::max<int64_t>(1, pixels));
    std::vector<Choice> choices;
    // Loading what runs once for each clip saves nothing while the others keep their arenas.
    for (const auto& [resident, shrink] : {std::pair{true, false}, {true, true}, {false, true}}) {
      for (int w = windows; w >= 1; w /= 2) {
        for (int i = images; i >= 1; i /= 2) choices.push_back({w, i, resident, shrink});
      }
    }
    return choices;
  }

 private:
  static int Most(int limit, int64_t useful) {
    return static_cast<int>(std::clamp<int64_t>(useful, 1, std::max(1, limit)));
  }

  const PlanRequest& request_;
  const int64_t rows_;
  const int64_t columns_;
  const NetworkFile& denoiser_;
  const NetworkFile& unconditional_;
  const NetworkFile& decoder_;
  double once_weights_ = 0;
  double once_live_ = 0;
  double clip_ = 0;
};

std::string Gibibytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", bytes / static_cast<double>(uint64_t{1} << 30));
  return text;
}

std::string SizeOf(const PlanRequest& request) {
  return std::to_string(request.width) + "x" + std::to_string(request.height);
}

std::string Count(int count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::string WordsOf(const Choice& choice) {
  std::string words = Count(choice.windows, "window") + " per call, " +
                      Count(choice.images, "frame") + " decoded at once, ";
  words += choice.resident ? "all networks stay loaded"
                           : "networks that run once are loaded for each clip";
  if (choice.shrink) words += ", memory is given back after each call";
  return words;
}

// Whether the smallest choice fits.
bool Fits(const ModelSpec& model, const PlanRequest& request) {
  const Memory memory(model, request);
  return memory.Needed(memory.Choices().back()) <= static_cast<double>(request.free_bytes);
}

std::string WhatWouldFit(const ModelSpec& model, const PlanRequest& request) {
  PlanRequest other = request;
  for (other.frames = request.frames - 1; other.frames >= 1; other.frames--) {
    if (Fits(model, other)) {
      return "windows of " + Count(other.frames, "frame") + " would fit (contextFrames)";
    }
  }
  other = request;
  for (int side = 64 * ((std::max(request.width, request.height) - 1) / 64); side >= 64; side -= 64) {
    other.width = other.height = side;
    if (Fits(model, other)) {
      return "pictures of " + SizeOf(other) + " would fit";
    }
  }
  return "no picture would fit; use a GPU with more memory, free this one of other work, or use the "
         "device \"cpu\"";
}

Plan PlanOf(const PlanRequest& request, const Memory& memory, const std::vector<Choice>& choices,
            size_t chosen, const std::string& why) {
  const Choice& choice = choices[chosen];
  Plan plan;
  plan.sizes = {request.width, request.height, request.frames, choice.windows, choice.images};
  plan.resident = choice.resident;
  plan.shrink = choice.shrink;
  plan.bytes = static_cast<uint64_t>(std::ceil(memory.Needed(choice)));
  plan.sentence = SizeOf(request) + ", windows of " + Count(request.frames, "frame") + ": " +
                  WordsOf(choice) + "; needs " + Gibibytes(memory.Needed(choice)) + " of " +
                  Gibibytes(static_cast<double>(request.free_bytes)) + " GiB, " + why;
  return plan;
}

}  // namespace

Plan MakePlan(const ModelSpec& model, const PlanRequest& request) {
  const Memory memory(model, request);
  const std::vector<Choice> choices = memory.Choices();
  const auto free_bytes = static_cast<double>(request.free_bytes);
  for (size_t i = 0; i < choices.size(); i++) {
    if (memory.Needed(choices[i]) > free_bytes) continue;
    const std::string why =
        i == 0 ? "more at once would not be faster"
               : "the next faster way would need " +
                     Gibibytes(memory.Needed(choices[i - 1])) + " GiB";
    return PlanOf(request, memory, choices, i, why);
  }
  throw EngineError(ErrorCode::kOutOfMemory,
                    SizeOf(request) + " with windows of " + Count(request.frames, "frame") +
                        (request.guided ? " and guidance" : "") + " needs " +
                        Gibibytes(memory.Needed(choices.back())) + " GiB of the GPU, which has " +
                        Gibibytes(free_bytes) + " GiB free; " + WhatWouldFit(model, request));
}

std::optional<Plan> StepDown(const ModelSpec& model, const PlanRequest& request, const Plan& plan) {
  const Memory memory(model, request);
  const std::vector<Choice> choices = memory.Choices();
  const double limit = kFixedBytes + kStep * (static_cast<double>(plan.bytes) - kFixedBytes);
  for (size_t i = 0; i < choices.size(); i++) {
    if (memory.Needed(choices[i]) <= limit) {
      return PlanOf(request, memory, choices, i,
                    "after the GPU had no memory for " +
                        Gibibytes(static_cast<double>(plan.bytes)) + " GiB");
    }
  }
  return std::nullopt;
}

}  // namespace echomimic
