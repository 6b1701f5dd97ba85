#include "engine.h"

#include <algorithm>
#include <new>
#include <utility>

#include "lane_loop.h"
#include "provider.h"
#include "runtime.h"

namespace echomimic {

namespace {

constexpr int kChunksInFlight = 2;

const std::pair<const char*, std::unique_ptr<Network> Networks::*> kNetworks[] = {
    {"mel", &Networks::mel},
    {"audio", &Networks::audio},
    {"faceLocator", &Networks::face_locator},
    {"vaeEncoder", &Networks::vae_encoder},
    {"vaeDecoder", &Networks::vae_decoder},
    {"reference", &Networks::reference},
    {"denoiser", &Networks::denoiser},
    {"denoiserUncond", &Networks::unconditional},
};

Failed Describe(std::exception_ptr error) {
  try {
    std::rethrow_exception(error);
  } catch (const EngineError& known) {
    return {known.code(), known.what()};
  } catch (const std::bad_alloc&) {
    return {ErrorCode::kFailed, "not enough memory"};
  } catch (const std::exception& other) {
    return {ErrorCode::kFailed, other.what()};
  } catch (...) {
    return {ErrorCode::kFailed, "unknown failure"};
  }
}

// Fewer windows, then fewer images per call.
std::optional<CallSizes> Smaller(CallSizes sizes) {
  int& largest = sizes.windows > 1 ? sizes.windows : sizes.images;
  if (largest == 1) return std::nullopt;
  largest /= 2;
  return sizes;
}

}  // namespace

struct Engine::Job {
  int id = 0;
  std::variant<RenderRequest, NetworkRequest, TokensRequest> request;
  Cancellation cancellation;
  int in_flight = 0;  // chunks of frames handed over and not yet taken; under the engine's mutex
};

class Engine::Sink : public RenderSink {
 public:
  Sink(Engine& engine, Job& job) : engine_(engine), job_(job) {}

  void OnProgress(const Progress& progress) override { engine_.emit_({job_.id, progress}); }
  void OnLatents(LatentsSnapshot snapshot) override {
    engine_.emit_({job_.id, std::move(snapshot)});
  }
  void OnFrames(FrameChunk chunk) override {
    WaitUntilInFlight(kChunksInFlight - 1);
    {
      const std::lock_guard lock(engine_.mutex_);
      job_.in_flight++;
    }
    engine_.emit_({job_.id, std::move(chunk)});
  }
  void Drain() override { WaitUntilInFlight(0); }

 private:
  void WaitUntilInFlight(int most) {
    std::unique_lock lock(engine_.mutex_);
    engine_.changed_.wait(
        lock, [&] { return job_.in_flight <= most || job_.cancellation.cancelled(); });
    job_.cancellation.ThrowIfCancelled();
  }

  Engine& engine_;
  Job& job_;
};

Engine::Engine(EngineConfig config, Emit emit)
    : config_(std::move(config)), emit_(std::move(emit)) {
  thread_ = std::thread([this] { Main(); });
}

Engine::~Engine() {
  Dispose();
  Join();
}

void Engine::Join() {
  if (thread_.joinable()) thread_.join();
}

void Engine::Submit(int id, RenderRequest request) {
  Validate(config_.model, request);
  Enqueue(id, std::move(request));
}

void Engine::Submit(int id, NetworkRequest request) { Enqueue(id, std::move(request)); }

void Engine::Submit(int id, TokensRequest request) {
  ValidateAudio(config_.model, request.audio.size(), request.fps);
  Enqueue(id, std::move(request));
}

template <typename Request>
void Engine::Enqueue(int id, Request request) {
  auto job = std::make_shared<Job>();
  job->id = id;
  job->request = std::move(request);
  {
    const std::lock_guard lock(mutex_);
    if (disposed_) throw EngineError(ErrorCode::kDisposed, "the engine is disposed");
    if (lost_) throw EngineError(lost_->code, lost_->message);
    if (job_ != nullptr) {
      throw EngineError(ErrorCode::kBusy, "the engine is working; wait for its promise");
    }
    job_ = std::move(job);
  }
  changed_.notify_all();
}

void Engine::Cancel(int id) {
  const std::lock_guard lock(mutex_);
  if (job_ == nullptr || job_->id != id) return;
  job_->cancellation.Cancel(ErrorCode::kCancelled);
  changed_.notify_all();
}

void Engine::Acknowledge(int id) {
  const std::lock_guard lock(mutex_);
  if (job_ == nullptr || job_->id != id) return;
  job_->in_flight--;
  changed_.notify_all();
}

void Engine::Dispose() {
  const std::lock_guard lock(mutex_);
  if (disposed_) return;
  disposed_ = true;
  if (once_options_) once_options_.SetLoadCancellationFlag(true);
  if (repeated_options_) repeated_options_.SetLoadCancellationFlag(true);
  if (job_ != nullptr) job_->cancellation.Cancel(ErrorCode::kDisposed);
  changed_.notify_all();
}

void Engine::Main() {
  try {
    const Stopwatch watch;
    const std::string version = Load();
    emit_({0, Loaded{watch.milliseconds(), version}});
  } catch (...) {
    Failed failure = Describe(std::current_exception());
    const std::lock_guard lock(mutex_);
    if (disposed_) failure = {ErrorCode::kDisposed, "the engine was disposed while it was loading"};
    disposed_ = true;
    emit_({0, std::move(failure)});
  }
  while (true) {
    std::shared_ptr<Job> job;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return disposed_ || job_ != nullptr; });
      job = job_;
    }
    if (job == nullptr) break;
    Event event{job->id, Closed{}};
    try {
      job->cancellation.ThrowIfCancelled();
      Execute(*job, event);
    } catch (...) {
      Failed failure = Diagnose(Describe(std::current_exception()));
      // ONNX Runtime reports a requested stop as an ordinary failure.
      try {
        if (failure.code != ErrorCode::kDeviceLost) job->cancellation.ThrowIfCancelled();
      } catch (const EngineError& stop) {
        failure = {stop.code(), stop.what()};
      }
      event.body = std::move(failure);
    }
    {
      const std::lock_guard lock(mutex_);
      const auto* const failed = std::get_if<Failed>(&event.body);
      if (failed != nullptr && failed->code == ErrorCode::kDeviceLost) lost_ = *failed;
      job_.reset();
    }
    emit_(std::move(event));
  }
  networks_ = {};
  tensors_.reset();
  device_.reset();
  emit_({0, Closed{}});
}

// A device that is lost makes everything fail; what failed first may not say so.
Failed Engine::Diagnose(Failed failure) {
  if (device_ == nullptr || failure.code == ErrorCode::kDeviceLost) return failure;
  try {
    device_->Synchronize();
  } catch (const EngineError& error) {
    if (error.code() == ErrorCode::kDeviceLost) {
      return {error.code(), failure.message + "; " + error.what()};
    }
  }
  return failure;
}

std::unique_ptr<Network> Engine::Open(const std::string& name) {
  const auto& files = config_.model.networks;
  const auto file = std::find_if(files.begin(), files.end(),
                                 [&](const NetworkFile& item) { return item.name == name; });
  if (file == files.end()) {
    throw EngineError(ErrorCode::kModelInvalid, "the model has no network \"" + name + "\"");
  }
  const Provider graphs = config_.host_device && config_.host_device->standard_graphs
                              ? Provider::kCuda
                              : Provider::kCpu;
  return std::make_unique<Network>(Environment(config_.threads), name,
                                   GraphOf(*file, graphs),
                                   IsRepeated(name) ? repeated_options_ : once_options_);
}

// Loads the runtime's library too, which takes long enough to be felt on the caller's thread.
std::string Engine::Load() {
  const std::string version = LoadRuntime(config_.runtime_library);
  if (config_.host_device) device_ = OpenHostDevice(config_.host_device->faults);
  if (device_ != nullptr) tensors_ = std::make_unique<DeviceTensors>(*device_);
  {
    Ort::SessionOptions once = CpuSessionOptions(config_.threads, false);
    Ort::SessionOptions repeated = CpuSessionOptions(config_.threads, true);
    const std::lock_guard lock(mutex_);
    if (disposed_) throw EngineError(ErrorCode::kDisposed, "the engine is disposed");
    once_options_ = std::move(once);
    repeated_options_ = std::move(repeated);
  }
  for (const auto& [name, member] : kNetworks) {
    if (member == &Networks::unconditional && !config_.guidance_by_default) continue;
    networks_.*member = Open(name);
  }
  const auto& bank = config_.model.bank;
  networks_.mel->Expect({"pcm"}, {"log_mel"});
  networks_.audio->Expect({"mel"}, {"features"});
  networks_.face_locator->Expect({"mask"}, {"face"});
  networks_.vae_encoder->Expect({"image"}, {"latents"});
  networks_.vae_decoder->Expect({"latents"}, {"image"});
  networks_.reference->Expect({"latents"}, bank);
  std::vector<std::string> inputs = {"sample", "timestep", "audio", "face"};
  inputs.insert(inputs.end(), bank.begin(), bank.end());
  networks_.denoiser->Expect(inputs, {"v"});
  return version;
}

Network& Engine::Find(const std::string& name) {
  for (const auto& [known, member] : kNetworks) {
    if (name != known) continue;
    if (networks_.*member == nullptr) networks_.*member = Open(known);
    return *(networks_.*member);
  }
  throw EngineError(ErrorCode::kOptionInvalid, "network: there is no network \"" + name + "\"");
}

Outputs Engine::Tokens(const TokensRequest& request, const Cancellation& cancellation) {
  const ModelSpec& model = config_.model;
  const auto frames = static_cast<int>(
      FramesOf(model, static_cast<int64_t>(request.audio.size()), request.fps));
  const AudioFeatures features(model, request.fps, static_cast<int64_t>(request.audio.size()),
                               frames);
  std::vector<float> states(ElementsOf(features.shape()));
  features.Compute(*networks_.mel, *networks_.audio, request.audio, CpuMemory(), states.data(),
                   cancellation, [] {});
  Tensor tensor{{frames, features.tokens_per_frame(), model.width}, {}};
  tensor.data.resize(ElementsOf(tensor.shape));
  const size_t numbers = static_cast<size_t>(features.tokens_per_frame()) * model.width;
  for (int frame = 0; frame < frames; frame++) {
    features.Gather(states.data(), frame, tensor.data.data() + frame * numbers);
  }
  return {{"tokens", std::move(tensor)}};
}

void Engine::Execute(Job& job, Event& event) {
  if (auto* const request = std::get_if<NetworkRequest>(&job.request)) {
    event.body = Find(request->network).Run(job.cancellation.run_options(), request->inputs);
    return;
  }
  if (auto* const request = std::get_if<TokensRequest>(&job.request)) {
    event.body = Tokens(*request, job.cancellation);
    return;
  }
  auto& request = std::get<RenderRequest>(job.request);
  if (request.cfg > 1) Find("denoiserUncond").Expect({"sample", "timestep"}, {"v"});
  Sink sink(*this, job);
  Clip clip(networks_, config_.model, std::move(request), job.cancellation, sink, costs_);
  event.body = RenderClip(clip);
}

RenderResult Engine::RenderClip(Clip& clip) {
  if (device_ == nullptr) {
    LaneLoop loop(clip, config_.threads);
    return Render(clip, loop, costs_);
  }
  const auto& host = *config_.host_device;
  DeviceLoop loop(clip, *device_, *tensors_,
                  {clip.request.image.width, clip.request.image.height, clip.window_frames,
                   host.windows, host.images},
                  Smaller);
  return Render(clip, loop, costs_);
}

}  // namespace echomimic
