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
    queued_options_.AddConfigEntry(kNoWaiting, "1");
  }
  void Cancel(ErrorCode reason) {
    int none = kRunning;
    state_.compare_exchange_strong(none, static_cast<int>(reason));
    run_options_.SetTerminate();
    host_options_.SetTerminate();
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
  // The same for a network that is on the CPU whatever the device is: ONNX Runtime refuses to give
  // back memory of a GPU that such a network has not.
  const Ort::RunOptions& host_options() const { return host_options_; }
  // For runs on a device that return once their work is queued. They are not cut short: they would
  // leave half of a CUDA graph behind. All runs of a network with the same number have the same shapes
  // and addresses: they may be recorded as the CUDA graph of that number.
  const Ort::RunOptions& QueuedOptions(int graph) {
    if (!frugal_) queued_options_.AddConfigEntry(kGraph, std::to_string(graph).c_str());
    return queued_options_;
  }
  // The same, for runs that give their memory back at their end: they are waited for and not
  // recorded, because a graph would go on using that memory.
  Ort::RunOptions& FrugalOptions() {
    frugal_ = true;
    queued_options_.AddConfigEntry(kGraph, "-1");
    queued_options_.AddConfigEntry(kNoWaiting, "0");
    return queued_options_;
  }
  bool frugal() const { return frugal_; }

 private:
  static constexpr int kRunning = -1;
  static constexpr const char* kGraph = "gpu_graph_id";
  static constexpr const char* kNoWaiting = "disable_synchronize_execution_providers";
  std::atomic<int> state_{kRunning};
  Ort::RunOptions run_options_;
  Ort::RunOptions host_options_;
  Ort::RunOptions queued_options_;
  bool frugal_ = false;
};

}  // namespace echomimic
