#pragma once

#include <onnxruntime_cxx_api.h>

#include <atomic>
#include <string>

#include "error.h"

namespace echomimic {

// Stops a running job from another thread: the flag is read between windows and stages, ONNX
// Runtime reads its own between the nodes of a graph.
class Cancellation {
 public:
  Cancellation() {
    run_options_.AddConfigEntry(kGraph, "-1");
    queued_options_.AddConfigEntry("disable_synchronize_execution_providers", "1");
  }
  void Cancel(ErrorCode reason) {
    int none = kRunning;
    state_.compare_exchange_strong(none, static_cast<int>(reason));
    run_options_.SetTerminate();
    queued_options_.SetTerminate();
  }
  bool cancelled() const { return state_.load() != kRunning; }
  ErrorCode reason() const { return static_cast<ErrorCode>(state_.load()); }
  void ThrowIfCancelled() const {
    if (!cancelled()) return;
    throw EngineError(reason(), reason() == ErrorCode::kDisposed
                                    ? "the engine was disposed while it was working"
                                    : "the work was cancelled");
  }
  // For runs whose results are there when they return.
  Ort::RunOptions& run_options() { return run_options_; }
  const Ort::RunOptions& run_options() const { return run_options_; }
  // For runs on a device that return once their work is queued. All of them have the same shapes and
  // addresses, so that they may be recorded as the CUDA graph of that number.
  Ort::RunOptions& queued_options() { return queued_options_; }
  const Ort::RunOptions& queued_options() const { return queued_options_; }
  void NameGraph(int number) { queued_options_.AddConfigEntry(kGraph, std::to_string(number).c_str()); }

 private:
  static constexpr int kRunning = -1;
  static constexpr const char* kGraph = "gpu_graph_id";
  std::atomic<int> state_{kRunning};
  Ort::RunOptions run_options_;
  Ort::RunOptions queued_options_;
};

}  // namespace echomimic
