#pragma once

#include <chrono>
#include <functional>

namespace echomimic {

enum class Stage { kAudio, kReference, kDenoise, kDecode };
inline constexpr int kStages = 4;
const char* NameOf(Stage stage);

struct Progress {
  double percent = 0;
  Stage stage = Stage::kAudio;
  int step = 0;
  int steps = 0;
  int window = 0;
  int windows = 0;
  int frames_done = 0;
  int frames = 0;
};

// Milliseconds since it was made.
class Stopwatch {
 public:
  double milliseconds() const {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_)
        .count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// What one unit of each stage costs, relative to the others. The engine starts from a guess and
// keeps what it measured in its last render.
struct Costs {
  double of[kStages] = {0.05, 0.2, 1.0, 0.1};
};

// Percentages and times of one render. Units: audio blocks, one reference pass, windows (twice as
// many with guidance), decoded frames.
class ProgressMeter {
 public:
  ProgressMeter(const Costs& costs, const double (&units)[kStages],
                std::function<void(const Progress&)> report);

  // Adds units done in `stage` and the time that they took, and reports.
  void Advance(Stage stage, double units, double milliseconds);
  void Finish();

  Progress& state() { return state_; }
  double milliseconds(Stage stage) const { return milliseconds_[static_cast<int>(stage)]; }
  Costs MeasuredCosts() const;

 private:
  Costs costs_;
  double units_[kStages];
  double done_[kStages] = {};
  double milliseconds_[kStages] = {};
  std::function<void(const Progress&)> report_;
  Progress state_;
};

}  // namespace echomimic
