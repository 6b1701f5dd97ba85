#include "convert.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

namespace echomimic {

Napi::Error ToNapiError(Napi::Env env, ErrorCode code, const std::string& message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, NameOf(code)));
  return error;
}

Napi::Value Guarded(Napi::Env env, const std::function<Napi::Value()>& body) {
  try {
    return body();
  } catch (const EngineError& error) {
    throw ToNapiError(env, error.code(), error.what());
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception& error) {
    throw ToNapiError(env, ErrorCode::kFailed, error.what());
  }
}

Fields::Fields(Napi::Value value, std::string path) : path_(std::move(path)) {
  if (!value.IsObject()) {
    throw EngineError(ErrorCode::kOptionInvalid,
                      (path_.empty() ? "options" : path_) + ": expected an object");
  }
  object_ = value.As<Napi::Object>();
}

void Fields::Refuse(const char* name, const char* expected) const {
  const std::string path = path_.empty() ? name : path_ + "." + name;
  throw EngineError(ErrorCode::kOptionInvalid,
                    path + ": expected " + expected + ", received " +
                        Get(name).ToString().Utf8Value());
}

Napi::Value Fields::Get(const char* name) const { return object_.Get(name); }

bool Fields::Has(const char* name) const { return !Get(name).IsUndefined(); }

double Fields::Number(const char* name) const {
  const Napi::Value value = Get(name);
  if (!value.IsNumber()) Refuse(name, "a number");
  return value.As<Napi::Number>().DoubleValue();
}

int Fields::Integer(const char* name) const {
  const double value = Number(name);
  if (std::trunc(value) != value || std::abs(value) > std::numeric_limits<int>::max()) {
    Refuse(name, "an integer");
  }
  return static_cast<int>(value);
}

bool Fields::Boolean(const char* name) const {
  const Napi::Value value = Get(name);
  if (!value.IsBoolean()) Refuse(name, "true or false");
  return value.As<Napi::Boolean>().Value();
}

std::string Fields::String(const char* name) const {
  const Napi::Value value = Get(name);
  if (!value.IsString()) Refuse(name, "a string");
  return value.As<Napi::String>().Utf8Value();
}

uint64_t Fields::Unsigned64(const char* name) const {
  const Napi::Value value = Get(name);
  bool lossless = false;
  uint64_t number = 0;
  if (value.IsBigInt()) number = value.As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) Refuse(name, "an unsigned integer of 64 bits");
  return number;
}

std::vector<std::string> Fields::Strings(const char* name) const {
  const Napi::Value value = Get(name);
  if (!value.IsArray()) Refuse(name, "an array of strings");
  const auto array = value.As<Napi::Array>();
  std::vector<std::string> strings;
  for (uint32_t i = 0; i < array.Length(); i++) {
    const Napi::Value item = array[i];
    if (!item.IsString()) Refuse(name, "an array of strings");
    strings.push_back(item.As<Napi::String>().Utf8Value());
  }
  return strings;
}

std::vector<float> Fields::Floats(const char* name) const {
  const Napi::Value value = Get(name);
  if (!value.IsTypedArray() ||
      value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array) {
    Refuse(name, "a Float32Array");
  }
  const auto array = value.As<Napi::Float32Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

std::vector<uint8_t> Fields::Bytes(const char* name) const {
  const Napi::Value value = Get(name);
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().ElementSize() != 1) {
    Refuse(name, "a Uint8Array");
  }
  const auto array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

Shape Fields::Sizes(const char* name) const {
  const Napi::Value value = Get(name);
  if (!value.IsArray()) Refuse(name, "an array of sizes");
  const auto array = value.As<Napi::Array>();
  Shape shape;
  for (uint32_t i = 0; i < array.Length(); i++) {
    const Napi::Value item = array[i];
    const double size = item.IsNumber() ? item.As<Napi::Number>().DoubleValue() : -1;
    if (!(size >= 0 && size <= 1e9) || std::trunc(size) != size) {
      Refuse(name, "an array of sizes");
    }
    shape.push_back(static_cast<int64_t>(size));
  }
  return shape;
}

Fields Fields::Object(const char* name) const {
  return {Get(name), path_.empty() ? name : path_ + "." + name};
}

std::vector<Fields> Fields::Objects(const char* name) const {
  const Napi::Value value = Get(name);
  if (!value.IsArray()) Refuse(name, "an array of objects");
  const auto array = value.As<Napi::Array>();
  std::vector<Fields> objects;
  for (uint32_t i = 0; i < array.Length(); i++) {
    objects.emplace_back(array[i], std::string(name) + "[" + std::to_string(i) + "]");
  }
  return objects;
}

ScheduleSpec ReadSchedule(const Fields& fields) {
  ScheduleSpec spec;
  spec.train_steps = fields.Integer("trainSteps");
  spec.beta_start = fields.Number("betaStart");
  spec.beta_end = fields.Number("betaEnd");
  if (spec.train_steps < 2 || spec.train_steps > 100000 || !(spec.beta_start > 0) ||
      !(spec.beta_end < 1) || !(spec.beta_start <= spec.beta_end)) {
    throw EngineError(ErrorCode::kModelInvalid, "schedule: not a usable noise schedule");
  }
  return spec;
}

namespace {

NetworkFile ReadNetworkFile(const Fields& fields) {
  NetworkFile network;
  network.name = fields.String("name");
  network.path = fields.String("path");
  network.cpu_path = fields.String("cpuPath");
  network.digest = fields.String("digest");
  network.weight_bytes = static_cast<uint64_t>(fields.Number("weightBytes"));
  if (!fields.Has("live")) return network;
  const Fields live = fields.Object("live");
  network.live_frames = live.Integer("frames");
  for (const Fields& sum : live.Objects("sums")) {
    network.live.push_back({sum.Number("base"), sum.Number("linear"), sum.Number("quadratic")});
  }
  return network;
}

ProviderAttempt::Leave ReadLeave(const Fields& fields) {
  const std::string leave = fields.String("leave");
  if (leave == "missing") return ProviderAttempt::Leave::kLibrariesMissing;
  return leave == "failing" ? ProviderAttempt::Leave::kFailing : ProviderAttempt::Leave::kNever;
}

HostDeviceConfig ReadHostDevice(const Fields& fields) {
  HostDeviceConfig host;
  host.standard_graphs = fields.Boolean("standardGraphs");
  host.windows = fields.Integer("windows");
  host.images = fields.Integer("images");
  host.memory_bytes = static_cast<uint64_t>(fields.Number("memoryBytes"));
  for (const int64_t number : fields.Sizes("outOfMemory")) {
    host.faults.out_of_memory.push_back(static_cast<int>(number));
  }
  host.faults.lost_at = fields.Integer("lostAt");
  return host;
}

}  // namespace

CallSizes ReadSizes(const Fields& fields) {
  CallSizes sizes;
  sizes.width = fields.Integer("width");
  sizes.height = fields.Integer("height");
  sizes.frames = fields.Integer("frames");
  sizes.windows = fields.Integer("windows");
  sizes.images = fields.Integer("images");
  return sizes;
}

ModelSpec ReadModelSpec(const Fields& fields) {
  ModelSpec model;
  for (const Fields& network : fields.Objects("networks")) {
    model.networks.push_back(ReadNetworkFile(network));
  }
  model.float16 = fields.Boolean("float16");
  for (const int64_t channels : fields.Sizes("unetChannels")) {
    model.unet_channels.push_back(static_cast<int>(channels));
  }
  model.bank = fields.Strings("bank");
  const Fields audio = fields.Object("audio");
  model.sample_rate = audio.Integer("sampleRate");
  model.hop = audio.Integer("hop");
  model.mel_bins = audio.Integer("melBins");
  model.block_frames = audio.Integer("blockFrames");
  model.layers = audio.Integer("states");
  model.width = audio.Integer("width");
  model.positions_per_second = audio.Integer("positionsPerSecond");
  model.window_before = audio.Integer("windowBefore");
  model.window_after = audio.Integer("windowAfter");
  const Fields latent = fields.Object("latent");
  model.latent_channels = latent.Integer("channels");
  model.downscale = latent.Integer("downscale");
  model.max_context = fields.Integer("maxContext");
  model.schedule = ReadSchedule(fields.Object("schedule"));
  return model;
}

EngineConfig ReadEngineConfig(Napi::Value value) {
  const Fields fields(value, "");
  EngineConfig config;
  config.runtime_library = fields.String("runtimeLibrary");
  for (const Fields& attempt : fields.Objects("attempts")) {
    config.attempts.push_back({ProviderNamed(attempt.String("provider")), ReadLeave(attempt)});
  }
  config.gpu = fields.Integer("gpu");
  config.gpu_name = fields.String("gpuName");
  config.capability = fields.String("capability");
  config.graphs = fields.Boolean("graphs");
  config.memory_limit = static_cast<uint64_t>(fields.Number("memoryLimit"));
  config.cache_folder = fields.String("cacheFolder");
  config.usual = ReadSizes(fields.Object("usual"));
  config.threads = fields.Integer("threads");
  config.guidance_by_default = fields.Boolean("guidanceByDefault");
  if (fields.Has("hostDevice")) config.host_device = ReadHostDevice(fields.Object("hostDevice"));
  config.model = ReadModelSpec(fields);
  return config;
}

namespace {

Picture ReadPicture(const Fields& fields) {
  return {fields.Integer("width"), fields.Integer("height"), fields.Bytes("data")};
}

}  // namespace

RenderRequest ReadRenderRequest(Napi::Value value) {
  const Fields fields(value, "");
  RenderRequest request;
  request.image = ReadPicture(fields.Object("image"));
  request.face_mask = ReadPicture(fields.Object("faceMask"));
  request.audio = fields.Floats("audio");
  request.fps = fields.Number("fps");
  request.steps = fields.Integer("steps");
  request.cfg = fields.Number("cfg");
  request.seed = fields.Unsigned64("seed");
  if (fields.Has("frames")) request.frames = fields.Integer("frames");
  request.context_frames = fields.Integer("contextFrames");
  request.context_overlap = fields.Integer("contextOverlap");
  if (fields.Has("noise")) request.noise = fields.Floats("noise");
  request.want_latents = fields.Boolean("wantLatents");
  return request;
}

NetworkRequest ReadNetworkRequest(Napi::Value value) {
  const Fields fields(value, "");
  NetworkRequest request;
  request.network = fields.String("network");
  for (const Fields& input : fields.Objects("inputs")) {
    NamedTensor named{input.String("name"), {input.Sizes("shape"), input.Floats("data")}};
    if (ElementsOf(named.tensor.shape) != named.tensor.data.size()) {
      throw EngineError(ErrorCode::kOptionInvalid,
                        "inputs." + named.name + ": the shape does not fit the data");
    }
    request.inputs.push_back(std::move(named));
  }
  return request;
}

TokensRequest ReadTokensRequest(Napi::Value value) {
  const Fields fields(value, "");
  return {fields.Floats("audio"), fields.Number("fps")};
}

namespace {

Napi::Object ToObject(Napi::Env env, const Tensor& tensor) {
  auto object = Napi::Object::New(env);
  auto shape = Napi::Array::New(env, tensor.shape.size());
  for (size_t i = 0; i < tensor.shape.size(); i++) {
    shape.Set(static_cast<uint32_t>(i), Napi::Number::New(env, tensor.shape[i]));
  }
  auto data = Napi::Float32Array::New(env, tensor.data.size());
  std::memcpy(data.Data(), tensor.data.data(), tensor.data.size() * sizeof(float));
  object.Set("shape", shape);
  object.Set("data", data);
  return object;
}

// Adds the body of an event to the object that tells of it.
struct BodyWriter {
  Napi::Env env;
  Napi::Object& object;

  void Number(const char* name, double value) const {
    object.Set(name, Napi::Number::New(env, value));
  }
  void String(const char* name, const std::string& value) const {
    object.Set(name, Napi::String::New(env, value));
  }
  void Kind(const char* kind) const { object.Set("kind", Napi::String::New(env, kind)); }

  void operator()(const Loaded& loaded) const {
    Kind("loaded");
    Number("milliseconds", loaded.milliseconds);
    String("runtimeVersion", loaded.runtime_version);
    String("provider", NameOf(loaded.provider));
    auto passed = Napi::Array::New(env, loaded.passed_over.size());
    for (uint32_t i = 0; i < passed.Length(); i++) {
      passed.Set(i, Napi::String::New(env, loaded.passed_over[i]));
    }
    object.Set("passedOver", passed);
    String("driverVersion", loaded.driver_version);
    String("tensorrtVersion", loaded.tensorrt_version);
    String("plan", loaded.plan);
    String("engineFolder", loaded.engine_folder);
    Number("enginesBuilt", loaded.engines_built);
    Number("enginesReused", loaded.engines_reused);
  }
  void operator()(const Opening& opening) const {
    Kind("opening");
    String("network", opening.network);
    String("reason", opening.reason);
  }
  void operator()(const Failed& failed) const {
    Kind("failed");
    object.Set("code", Napi::String::New(env, NameOf(failed.code)));
    object.Set("message", Napi::String::New(env, failed.message));
  }
  void operator()(const Closed&) const { Kind("closed"); }
  void operator()(const Progress& progress) const {
    Kind("progress");
    Number("percent", progress.percent);
    object.Set("stage", Napi::String::New(env, NameOf(progress.stage)));
    Number("step", progress.step);
    Number("steps", progress.steps);
    Number("window", progress.window);
    Number("windows", progress.windows);
    Number("framesDone", progress.frames_done);
    Number("frames", progress.frames);
  }
  void operator()(const FrameChunk& chunk) const {
    Kind("frames");
    Number("first", chunk.first);
    Number("count", chunk.count);
    Number("width", chunk.width);
    Number("height", chunk.height);
    auto data = Napi::Uint8Array::New(env, chunk.data.size());
    std::memcpy(data.Data(), chunk.data.data(), chunk.data.size());
    object.Set("data", data);
  }
  void operator()(const LatentsSnapshot& snapshot) const {
    Kind("latents");
    Number("step", snapshot.step);
    object.Set("latents", ToObject(env, snapshot.latents));
  }
  void operator()(const RenderResult& result) const {
    Kind("rendered");
    Number("frames", result.frames);
    Number("width", result.width);
    Number("height", result.height);
    Number("fps", result.fps);
    object.Set("seed", Napi::BigInt::New(env, result.seed));
    auto timings = Napi::Object::New(env);
    for (int i = 0; i < kStages; i++) {
      timings.Set(NameOf(static_cast<Stage>(i)), Napi::Number::New(env, result.milliseconds[i]));
    }
    timings.Set("total", Napi::Number::New(env, result.total_milliseconds));
    object.Set("timings", timings);
    if (!result.plan.empty()) String("plan", result.plan);
  }
  void operator()(const Outputs& outputs) const {
    Kind("outputs");
    auto tensors = Napi::Object::New(env);
    for (const auto& output : outputs) tensors.Set(output.name, ToObject(env, output.tensor));
    object.Set("outputs", tensors);
  }
};

}  // namespace

Napi::Object ToObject(Napi::Env env, const Event& event) {
  auto object = Napi::Object::New(env);
  object.Set("id", Napi::Number::New(env, event.id));
  std::visit(BodyWriter{env, object}, event.body);
  return object;
}

Napi::Object ToObject(Napi::Env env, const Plan& plan) {
  auto object = Napi::Object::New(env);
  object.Set("windows", Napi::Number::New(env, plan.sizes.windows));
  object.Set("images", Napi::Number::New(env, plan.sizes.images));
  object.Set("resident", Napi::Boolean::New(env, plan.resident));
  object.Set("shrink", Napi::Boolean::New(env, plan.shrink));
  object.Set("bytes", Napi::Number::New(env, static_cast<double>(plan.bytes)));
  object.Set("sentence", Napi::String::New(env, plan.sentence));
  return object;
}

}  // namespace echomimic
