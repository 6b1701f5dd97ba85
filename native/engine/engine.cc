#include "engine.h"

#include <algorithm>
#include <new>
#include <utility>

#include "lane_loop.h"
#include "provider.h"
#include "runtime.h"
#include "versions.h"

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
  if (opening_ != nullptr) opening_->SetLoadCancellationFlag(true);
  if (job_ != nullptr) job_->cancellation.Cancel(ErrorCode::kDisposed);
  changed_.notify_all();
}

void Engine::Main() {
  try {
    const Stopwatch watch;
    Loaded loaded = Load();
    loaded.milliseconds = watch.milliseconds();
    emit_({0, std::move(loaded)});
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
  Unload();
  emit_({0, Closed{}});
}

void Engine::Unload() {
  networks_ = {};
  loader_.reset();
  tensors_.reset();
  device_.reset();
  free_bytes_ = 0;
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

// Loads the runtime's library too, which takes long enough to be felt on the caller's thread.
Loaded Engine::Load() {
  using Leave = ProviderAttempt::Leave;
  Loaded loaded;
  loaded.runtime_version = LoadRuntime(config_.runtime_library);
  Environment(config_.threads);
  for (size_t i = 0;; i++) {
    const auto [provider, leave] = config_.attempts.at(i);
    try {
      LoadOn(provider, loaded);
      return loaded;
    } catch (const EngineError& error) {
      {
        const std::lock_guard lock(mutex_);
        if (disposed_) throw;
      }
      const bool missing = error.code() == ErrorCode::kRuntimeMissing;
      const bool may = leave == Leave::kFailing || (leave == Leave::kLibrariesMissing && missing);
      if (!may || error.code() == ErrorCode::kModelInvalid || i + 1 == config_.attempts.size()) {
        throw;
      }
      loaded.passed_over.push_back(error.what());
      Unload();
    }
  }
}

void Engine::LoadOn(Provider provider, Loaded& loaded) {
  ProviderConfig how;
  how.provider = provider;
  how.threads = config_.threads;
  how.gpu = config_.gpu;
  how.graphs = config_.graphs;
  how.sizes = config_.usual;
  const auto& host = config_.host_device;
  std::optional<EngineCache> cache;
  if (provider != Provider::kCpu) {
    device_ = OpenCudaDevice(config_.gpu);
    RequireProvider(provider, config_.gpu);
    how.stream = device_->stream();
    free_bytes_ = device_->FreeMemory();
    if (config_.memory_limit > 0) free_bytes_ = std::min(free_bytes_, config_.memory_limit);
    loaded.driver_version = DriverVersion();
  } else if (host) {
    device_ = OpenHostDevice(host->faults);
    free_bytes_ = host->memory_bytes;
  }
  if (provider == Provider::kTensorRt) {
    loaded.tensorrt_version = TensorRtVersion();
    cache.emplace(config_.cache_folder,
                  EngineMachine{config_.gpu_name, config_.capability, loaded.driver_version,
                                loaded.tensorrt_version, loaded.runtime_version});
  }
  if (device_ != nullptr) tensors_ = std::make_unique<DeviceTensors>(*device_);
  loader_ = std::make_unique<Loader>(
      config_.model, std::move(how), host && host->standard_graphs, std::move(cache),
      [this](Ort::SessionOptions* options) {
        const std::lock_guard lock(mutex_);
        if (disposed_ && options != nullptr) {
          throw EngineError(ErrorCode::kDisposed, "the engine is disposed");
        }
        opening_ = options;
      },
      [this](const Opening& opening) { emit_({0, opening}); });
  plan_ = {};
  const bool guided = config_.guidance_by_default;
  if (free_bytes_ > 0) {
    const auto& [width, height, frames, windows, images] = config_.usual;
    plan_ = MakePlan(config_.model, {width, height, frames, windows, 0, guided, free_bytes_});
    loader_->Resize(plan_.sizes);
  }
  OpenMissing(guided);
  loaded.provider = provider;
  loaded.plan = plan_.sentence;
  loaded.engine_folder = loader_->cache_folder();
  loaded.engines_built = loader_->built();
  loaded.engines_reused = loader_->reused();
}

// Opens what the plan wants loaded before a clip begins.
void Engine::OpenMissing(bool guided) {
  for (const auto& [name, member] : kNetworks) {
    if (member == &Networks::unconditional && !guided) continue;
    if (networks_.*member == nullptr) networks_.*member = Open(name);
  }
}

std::unique_ptr<Network> Engine::Open(const std::string& name) {
  const auto& bank = config_.model.bank;
  std::vector<std::string> inputs = {"sample", "timestep", "audio", "face"};
  inputs.insert(inputs.end(), bank.begin(), bank.end());
  auto network = loader_->Open(name);
  if (name == "mel") network->Expect({"pcm"}, {"log_mel"});
  if (name == "audio") network->Expect({"mel"}, {"features"});
  if (name == "faceLocator") network->Expect({"mask"}, {"face"});
  if (name == "vaeEncoder") network->Expect({"image"}, {"latents"});
  if (name == "vaeDecoder") network->Expect({"latents"}, {"image"});
  if (name == "reference") network->Expect({"latents"}, bank);
  if (name == "denoiser") network->Expect(inputs, {"v"});
  if (name == "denoiserUncond") network->Expect({"sample", "timestep"}, {"v"});
  return network;
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
  features.Compute(Find("mel"), Find("audio"), request.audio, CpuMemory(), states.data(),
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
  Sink sink(*this, job);
  Clip clip(networks_, config_.model, std::move(request), job.cancellation, sink, costs_);
  Prepare(clip);
  try {
    OpenMissing(clip.guided());
    event.body = RenderClip(clip);
  } catch (const EngineError& error) {
    if (error.code() == ErrorCode::kOutOfMemory && device_ != nullptr) GiveAllBack();
    throw;
  }
}

// Networks keep what they once needed: the next clip opens them anew and finds the memory that the
// planner counts on.
void Engine::GiveAllBack() {
  networks_ = {};
  tensors_ = std::make_unique<DeviceTensors>(*device_);
}

// Plans a clip. Engines of TensorRT are for one size of pictures: those of another size are closed.
void Engine::Prepare(const Clip& clip) {
  encoded_ = false;
  const ProviderConfig& how = loader_->config();
  if (free_bytes_ > 0) {
    const RenderRequest& wanted = clip.request;
    request_ = {wanted.image.width, wanted.image.height, clip.window_frames, clip.windows,
                clip.frames,        clip.guided(),       free_bytes_};
    plan_ = MakePlan(config_.model, request_);
    const CallSizes& made = loader_->sizes();
    if (made.width != plan_.sizes.width || made.height != plan_.sizes.height ||
        made.frames < plan_.sizes.frames) {
      CallSizes sizes = plan_.sizes;
      sizes.frames = wanted.context_frames;
      loader_->Resize(sizes);
      if (how.provider == Provider::kTensorRt) {
        for (const auto& [name, member] : kNetworks) {
          if (ProviderOf(how, name) == Provider::kTensorRt && name != std::string("audio")) {
            (networks_.*member).reset();
          }
        }
      }
    }
    GiveMemoryBack(clip.cancellation.run_options(), how);
    if (plan_.shrink) GiveMemoryBack(clip.cancellation.FrugalOptions(), how);
  }
}

// The next smaller plan after the device was out of memory; none when there is none.
std::optional<CallSizes> Engine::StepDown(Cancellation& cancellation) {
  const std::optional<Plan> next = echomimic::StepDown(config_.model, request_, plan_);
  if (!next) return std::nullopt;
  plan_ = *next;
  if (plan_.shrink) GiveMemoryBack(cancellation.FrugalOptions(), loader_->config());
  if (encoded_) FreeOnce();
  return SizesOf(plan_);
}

// What runs once per clip has done so.
void Engine::FreeOnce() {
  if (plan_.resident) return;
  for (const auto& [name, member] : kNetworks) {
    if (!IsRepeated(name) && name != std::string("mel")) (networks_.*member).reset();
  }
}

// With TensorRT no more than the engines are made for.
CallSizes Engine::SizesOf(const Plan& plan) const {
  CallSizes sizes = plan.sizes;
  if (loader_->config().provider == Provider::kTensorRt) {
    sizes.windows = std::min(sizes.windows, loader_->sizes().windows);
    sizes.images = std::min(sizes.images, loader_->sizes().images);
  }
  return sizes;
}

RenderResult Engine::RenderClip(Clip& clip) {
  if (device_ == nullptr) {
    LaneLoop loop(clip, config_.threads);
    return Render(clip, loop, costs_);
  }
  const bool planned = free_bytes_ > 0;
  CallSizes sizes = planned ? SizesOf(plan_) : CallSizes{};
  if (!planned) {
    sizes = {clip.request.image.width, clip.request.image.height, clip.window_frames,
             config_.host_device->windows, config_.host_device->images};
  }
  DeviceLoop loop(
      clip, *device_, *tensors_, sizes,
      [&](const CallSizes& last) {
        return planned ? StepDown(clip.cancellation) : Smaller(last);
      },
      [this] {
        encoded_ = true;
        FreeOnce();
      });
  RenderResult result = Render(clip, loop, costs_);
  result.plan = plan_.sentence;
  return result;
}

}  // namespace echomimic
