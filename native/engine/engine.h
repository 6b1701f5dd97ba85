#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "device_loop.h"
#include "job.h"
#include "loader.h"
#include "model.h"
#include "planner.h"
#include "progress.h"
#include "render.h"
#include "request.h"

namespace echomimic {

// For checks: the loop of GPUs with the host as the device, its networks on the CPU.
struct HostDeviceConfig {
  bool standard_graphs = false;  // instead of those for the CPU
  int windows = 1;  // per call at most, where no memory is given
  int images = 1;
  uint64_t memory_bytes = 0;  // to plan for, as if a GPU had them
  HostFaults faults;
};

// A provider to try, and when the next one may be tried after it failed.
struct ProviderAttempt {
  Provider provider = Provider::kCpu;
  enum class Leave { kNever, kLibrariesMissing, kFailing } leave = Leave::kNever;
};

struct EngineConfig {
  ModelSpec model;
  std::string runtime_library;
  std::vector<ProviderAttempt> attempts;
  int gpu = 0;              // CUDA's number
  std::string gpu_name;
  std::string capability;   // such as 9.0
  bool graphs = true;       // CUDA graphs
  uint64_t memory_limit = 0;  // bytes of the GPU's memory that may be planned with; 0: what is free
  std::string cache_folder;   // of TensorRT's engines
  CallSizes usual;            // what is planned for until a clip wants something else
  int threads = 1;
  bool guidance_by_default = false;  // load the unconditional network with the others
  std::optional<HostDeviceConfig> host_device;
};

// One network on given inputs, for checks and measurements.
struct NetworkRequest {
  std::string network;
  std::vector<NamedTensor> inputs;
};

// The audio tokens of every video frame, for checks.
struct TokensRequest {
  std::vector<float> audio;
  double fps = 0;
};

// What the engine tells its owner. `id` is the job's; 0 is the engine itself.
struct Loaded {
  double milliseconds = 0;
  std::string runtime_version;
  Provider provider = Provider::kCpu;
  std::vector<std::string> passed_over;  // providers that were tried before, and why not
  std::string driver_version;            // on GPUs
  std::string tensorrt_version;          // with TensorRT
  std::string plan;                      // on GPUs: the planner's sentence for the usual clip
  std::string engine_folder;             // with TensorRT
  int engines_built = 0;
  int engines_reused = 0;
};
struct Failed {
  ErrorCode code;
  std::string message;
};
struct Closed {};
using Outputs = std::vector<NamedTensor>;
struct Event {
  int id = 0;
  std::variant<Loaded, Failed, Closed, Opening, Progress, FrameChunk, LatentsSnapshot, RenderResult,
               Outputs>
      body;
};

// Owns the networks and the thread on which they are loaded, run and freed. Every method may be
// called from any thread, and none of them waits for that thread except Join. Each job ends with
// exactly one RenderResult, Outputs or Failed; the thread ends with Closed.
class Engine {
 public:
  using Emit = std::function<void(Event)>;

  // Starts loading at once; Loaded or Failed with id 0 follows.
  Engine(EngineConfig config, Emit emit);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Throws ENGINE_BUSY, ENGINE_DISPOSED or ENGINE_OPTION_INVALID.
  void Submit(int id, RenderRequest request);
  void Submit(int id, NetworkRequest request);
  void Submit(int id, TokensRequest request);
  void Cancel(int id);
  // Tells that a chunk of frames of job `id` was taken.
  void Acknowledge(int id);
  // Stops the running job, frees the networks and ends the thread.
  void Dispose();
  void Join();

 private:
  struct Job;
  class Sink;

  void Main();
  Loaded Load();
  void LoadOn(Provider provider, Loaded& loaded);
  void Unload();
  std::unique_ptr<Network> Open(const std::string& name);
  void OpenMissing(bool guided);
  void Execute(Job& job, Event& event);
  void Prepare(const Clip& clip);
  void GiveAllBack();
  std::optional<CallSizes> StepDown(Cancellation& cancellation);
  void FreeOnce();
  CallSizes SizesOf(const Plan& plan) const;
  RenderResult RenderClip(Clip& clip);
  Failed Diagnose(Failed failure);
  Outputs Tokens(const TokensRequest& request, const Cancellation& cancellation);
  template <typename Request>
  void Enqueue(int id, Request request);
  Network& Find(const std::string& name);

  const EngineConfig config_;
  const Emit emit_;
  std::thread thread_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<Job> job_;  // waiting or running
  bool disposed_ = false;
  Ort::SessionOptions* opening_ = nullptr;  // of a session that is being made
  std::optional<Failed> lost_;  // the device; no job can be done any more

  // Only the engine's thread touches these after the constructor. The networks work on the device
  // and end before it.
  std::unique_ptr<Device> device_;  // none: the CPU
  std::unique_ptr<DeviceTensors> tensors_;
  std::unique_ptr<Loader> loader_;
  Networks networks_;
  uint64_t free_bytes_ = 0;  // of the device before anything was loaded; 0: nothing is planned
  PlanRequest request_;      // of the clip
  Plan plan_;                // likewise
  bool encoded_ = false;     // the clip's reference: networks that run once have done so
  Costs costs_;
};

}  // namespace echomimic
