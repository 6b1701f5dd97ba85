#include "progress.h"

#include <algorithm>
#include <utility>

namespace echomimic {

const char* NameOf(Stage stage) {
  switch (stage) {
    case Stage::kAudio:
      return "audio";
    case Stage::kReference:
      return "reference";
    case Stage::kDenoise:
      return "denoise";
    case Stage::kDecode:
      return "decode";
  }
  return "";
}

ProgressMeter::ProgressMeter(const Costs& costs, const double (&units)[kStages],
                             std::function<void(const Progress&)> report)
    : costs_(costs), report_(std::move(report)) {
  std::copy(std::begin(units), std::end(units), units_);
}

void ProgressMeter::Advance(Stage stage, double units, double milliseconds) {
  const int index = static_cast<int>(stage);
  milliseconds_[index] += milliseconds;
  done_[index] += units;
  double done = 0;
  double total = 0;
  for (int i = 0; i < kStages; i++) {
    done += costs_.of[i] * std::min(done_[i], units_[i]);
    total += costs_.of[i] * units_[i];
  }
  // 100 is kept for the moment when every frame has been taken.
  state_.percent = std::max(state_.percent, std::min(99.9, 100 * done / total));
  state_.stage = stage;
  report_(state_);
}

void ProgressMeter::Finish() {
  state_.percent = 100;
  report_(state_);
}

Costs ProgressMeter::MeasuredCosts() const {
  Costs measured = costs_;
  for (int i = 0; i < kStages; i++) {
    if (done_[i] > 0) measured.of[i] = std::max(1e-3, milliseconds_[i] / done_[i]);
  }
  return measured;
}

}  // namespace echomimic
