#pragma once

#include <onnxruntime_cxx_api.h>

#include <atomic>

#include "error.h"

namespace echomimic {

// Stops a running job from another thread: the flag is read between windows and stages, ONNX
// Runtime reads its own between the nodes of a graph.
class Cancellation {
 public:
  void Cancel(ErrorCode reason) {
    int none = kRunning;
    state_.compare_exchange_strong(none, static_cast<int>(reason));
    run_options_.SetTerminate();
  }
  bool cancelled() const { return state_.load() != kRunning; }
  ErrorCode reason() const { return static_cast<ErrorCode>(state_.load()); }
  void ThrowIfCancelled() const {
    if (!cancelled()) return;
    throw EngineError(reason(), reason() == ErrorCode::kDisposed
                                    ? "the engine was disposed while it was working"
                                    : "the work was cancelled");
  }
  const Ort::RunOptions& run_options() const { return run_options_; }

 private:
  static constexpr int kRunning = -1;
  std::atomic<int> state_{kRunning};
  Ort::RunOptions run_options_;
};

}  // namespace echomimic
