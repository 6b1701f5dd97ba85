#include "functions.h"

#include "../engine/cpu.h"
#include "../engine/noise.h"
#include "../engine/request.h"
#include "../engine/runtime.h"
#include "../engine/schedule.h"
#include "../engine/windows.h"
#include "../ops/int8.h"
#include "convert.h"
#ifdef ECHOMIMIC_CUDA
#include "../cuda/gpus.h"
#endif

namespace echomimic {

namespace {

Napi::Value LoadRuntimeLibrary(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::String::New(info.Env(), LoadRuntime(info[0].ToString().Utf8Value()));
  });
}

Napi::Value CountCores(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), PhysicalCores());
}

// cuda(): whether this build knows CUDA, the GPUs it sees, and the reason when there are none
Napi::Value ListCuda(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Guarded(env, [&]() -> Napi::Value {
    auto result = Napi::Object::New(env);
    auto gpus = Napi::Array::New(env);
#ifdef ECHOMIMIC_CUDA
    const cuda::GpuList list = cuda::ListGpus();
    for (size_t i = 0; i < list.gpus.size(); i++) {
      const cuda::Gpu& gpu = list.gpus[i];
      auto object = Napi::Object::New(env);
      object.Set("index", Napi::Number::New(env, gpu.index));
      object.Set("name", Napi::String::New(env, gpu.name));
      object.Set("memoryBytes", Napi::Number::New(env, static_cast<double>(gpu.memory_bytes)));
      object.Set("major", Napi::Number::New(env, gpu.major));
      object.Set("minor", Napi::Number::New(env, gpu.minor));
      object.Set("multiprocessors", Napi::Number::New(env, gpu.multiprocessors));
      gpus.Set(static_cast<uint32_t>(i), object);
    }
    const bool built = true;
    const std::string reason = list.reason;
#else
    const bool built = false;
    const std::string reason =
        "this engine is built without CUDA; run: npm run build:addon -- --cuda";
#endif
    result.Set("built", Napi::Boolean::New(env, built));
    result.Set("gpus", gpus);
    if (!reason.empty()) result.Set("reason", Napi::String::New(env, reason));
    return result;
  });
}

// gpuMemory(index): what all processes together have left of a GPU
Napi::Value AskGpuMemory(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Guarded(env, [&]() -> Napi::Value {
#ifdef ECHOMIMIC_CUDA
    const cuda::GpuMemory memory = cuda::MemoryOf(info[0].ToNumber().Int32Value());
    auto result = Napi::Object::New(env);
    result.Set("freeBytes", Napi::Number::New(env, static_cast<double>(memory.free_bytes)));
    result.Set("totalBytes", Napi::Number::New(env, static_cast<double>(memory.total_bytes)));
    return result;
#else
    throw EngineError(ErrorCode::kDeviceUnavailable, "this engine is built without CUDA");
#endif
  });
}

Napi::Value FastInt8(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), ops::HasFastInt8());
}

// schedule({ trainSteps, betaStart, betaEnd, steps })
Napi::Value ComputeSchedule(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Guarded(env, [&]() -> Napi::Value {
    const Fields fields(info[0], "");
    const ScheduleSpec spec = ReadSchedule(fields);
    const int steps = fields.Integer("steps");
    if (steps < 1 || steps > spec.train_steps) {
      throw EngineError(ErrorCode::kOptionInvalid, "steps: out of range");
    }
    const auto alphas = AlphasCumprod(spec);
    auto alphas_array = Napi::Float64Array::New(env, alphas.size());
    for (size_t i = 0; i < alphas.size(); i++) alphas_array[i] = alphas[i];
    const auto schedule = MakeSchedule(spec, steps);
    auto list = Napi::Array::New(env, schedule.size());
    for (size_t i = 0; i < schedule.size(); i++) {
      auto step = Napi::Object::New(env);
      step.Set("timestep", Napi::Number::New(env, static_cast<double>(schedule[i].timestep)));
      step.Set("keep", Napi::Number::New(env, schedule[i].keep));
      step.Set("turn", Napi::Number::New(env, schedule[i].turn));
      list.Set(static_cast<uint32_t>(i), step);
    }
    auto result = Napi::Object::New(env);
    result.Set("alphasCumprod", alphas_array);
    result.Set("steps", list);
    return result;
  });
}

Napi::Array ToArray(Napi::Env env, const std::vector<int>& numbers) {
  auto array = Napi::Array::New(env, numbers.size());
  for (size_t i = 0; i < numbers.size(); i++) {
    array.Set(static_cast<uint32_t>(i), Napi::Number::New(env, numbers[i]));
  }
  return array;
}

// windows({ frames, contextFrames, contextOverlap, step, streaming })
Napi::Value ComputeWindows(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Guarded(env, [&]() -> Napi::Value {
    const Fields fields(info[0], "");
    const int frames = fields.Integer("frames");
    const int context = fields.Integer("contextFrames");
    const int overlap = fields.Integer("contextOverlap");
    const int step = fields.Integer("step");
    if (frames < 1 || context < 1 || overlap < 0 || overlap >= context || step < 0) {
      throw EngineError(ErrorCode::kOptionInvalid, "windows: out of range");
    }
    StreamingOrder order;
    order.windows = MakeWindows(frames, context, overlap, step);
    if (fields.Boolean("streaming")) order = OrderForStreaming(order.windows, frames);
    auto windows = Napi::Array::New(env, order.windows.size());
    for (size_t i = 0; i < order.windows.size(); i++) {
      windows.Set(static_cast<uint32_t>(i), ToArray(env, order.windows[i]));
    }
    auto result = Napi::Object::New(env);
    result.Set("windows", windows);
    result.Set("ready", ToArray(env, order.ready));
    return result;
  });
}

// noise({ seed, frame, count })
Napi::Value ComputeNoise(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Guarded(env, [&]() -> Napi::Value {
    const Fields fields(info[0], "");
    const int count = fields.Integer("count");
    if (count < 0 || count > (1 << 26)) {
      throw EngineError(ErrorCode::kOptionInvalid, "count: out of range");
    }
    auto numbers = Napi::Float32Array::New(env, static_cast<size_t>(count));
    FrameNoise(fields.Unsigned64("seed"), static_cast<uint32_t>(fields.Integer("frame")),
               numbers.Data(), static_cast<size_t>(count));
    return numbers;
  });
}

// philox([c0, c1, c2, c3], [k0, k1]): for the generator's published test vectors
Napi::Value ComputePhilox(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Guarded(env, [&]() -> Napi::Value {
    std::array<uint32_t, 4> counter{};
    std::array<uint32_t, 2> key{};
    const auto counters = info[0].As<Napi::Array>();
    const auto keys = info[1].As<Napi::Array>();
    for (uint32_t i = 0; i < 4; i++) counter[i] = counters.Get(i).ToNumber().Uint32Value();
    for (uint32_t i = 0; i < 2; i++) key[i] = keys.Get(i).ToNumber().Uint32Value();
    const auto words = Philox(counter, key);
    auto result = Napi::Array::New(env, words.size());
    for (uint32_t i = 0; i < 4; i++) result.Set(i, Napi::Number::New(env, words[i]));
    return result;
  });
}

// frameCount({ audio: {...}, samples, fps })
Napi::Value CountFrames(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Guarded(env, [&]() -> Napi::Value {
    const Fields fields(info[0], "");
    ModelSpec model;
    model.hop = fields.Integer("hop");
    model.block_frames = fields.Integer("blockFrames");
    model.positions_per_second = fields.Integer("positionsPerSecond");
    const double samples = fields.Number("samples");
    const double fps = fields.Number("fps");
    if (!(samples >= 0 && samples < 1e12) || !(fps >= 1 && fps <= 240)) {
      throw EngineError(ErrorCode::kOptionInvalid, "samples, fps: out of range");
    }
    return Napi::Number::New(
        env, static_cast<double>(FramesOf(model, static_cast<int64_t>(samples), fps)));
  });
}

}  // namespace

void ExportFunctions(Napi::Env env, Napi::Object exports) {
  auto codes = Napi::Array::New(env, kErrorCodes.size());
  for (size_t i = 0; i < kErrorCodes.size(); i++) {
    codes.Set(static_cast<uint32_t>(i), Napi::String::New(env, kErrorCodes[i]));
  }
  exports.Set("errorCodes", codes);
  exports.Set("loadRuntime", Napi::Function::New<LoadRuntimeLibrary>(env, "loadRuntime"));
  exports.Set("physicalCores", Napi::Function::New<CountCores>(env, "physicalCores"));
  exports.Set("hasFastInt8", Napi::Function::New<FastInt8>(env, "hasFastInt8"));
  exports.Set("cuda", Napi::Function::New<ListCuda>(env, "cuda"));
  exports.Set("gpuMemory", Napi::Function::New<AskGpuMemory>(env, "gpuMemory"));
  exports.Set("schedule", Napi::Function::New<ComputeSchedule>(env, "schedule"));
  exports.Set("windows", Napi::Function::New<ComputeWindows>(env, "windows"));
  exports.Set("noise", Napi::Function::New<ComputeNoise>(env, "noise"));
  exports.Set("philox", Napi::Function::New<ComputePhilox>(env, "philox"));
  exports.Set("frameCount", Napi::Function::New<CountFrames>(env, "frameCount"));
}

}  // namespace echomimic
