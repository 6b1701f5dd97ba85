#include "schedule.h"

#include <cmath>

namespace echomimic {

std::vector<double> AlphasCumprod(const ScheduleSpec& spec) {
  const int n = spec.train_steps;
  std::vector<double> roots(n);
  double product = 1.0;
  for (int i = 0; i < n; i++) {
    const double beta =
        n > 1 ? spec.beta_start + (spec.beta_end - spec.beta_start) * i / (n - 1) : spec.beta_start;
    product *= 1.0 - beta;
    roots[i] = std::sqrt(product);
  }
  // Zero terminal signal-to-noise ratio: shift the last root to zero, scale the first one back.
  const double first = roots.front();
  const double last = roots.back();
  std::vector<double> alphas(n);
  for (int i = 0; i < n; i++) {
    const double root = n > 1 ? (roots[i] - last) * first / (first - last) : first;
    alphas[i] = root * root;
  }
  return alphas;
}

std::vector<Step> MakeSchedule(const ScheduleSpec& spec, int steps) {
  const std::vector<double> alphas = AlphasCumprod(spec);
  const double ratio = static_cast<double>(spec.train_steps) / steps;
  std::vector<Step> schedule;
  schedule.reserve(steps);
  for (int i = 0; i < steps; i++) {
    // Ties round to even, as the official schedule does; rint follows the default rounding mode.
    const auto timestep = static_cast<int64_t>(std::rint(spec.train_steps - i * ratio)) - 1;
    const int64_t previous = timestep - spec.train_steps / steps;
    const double alpha = alphas[timestep];
    const double alpha_previous = previous >= 0 ? alphas[previous] : 1.0;
    const double signal = std::sqrt(alpha);
    const double noise = std::sqrt(1.0 - alpha);
    const double signal_previous = std::sqrt(alpha_previous);
    const double noise_previous = std::sqrt(1.0 - alpha_previous);
    // x0 = signal x - noise v, epsilon = noise x + signal v, x' = signal' x0 + noise' epsilon
    schedule.push_back({timestep,
                        static_cast<float>(signal_previous * signal + noise_previous * noise),
                        static_cast<float>(noise_previous * signal - signal_previous * noise)});
  }
  return schedule;
}

}  // namespace echomimic
