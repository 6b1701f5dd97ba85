#include "providers.h"

#include "../engine/cpu.h"
#include "../engine/engine_cache.h"
#include "../engine/failures.h"
#include "../engine/planner.h"
#include "../engine/provider.h"
#include "../engine/runtime.h"
#include "../engine/shapes.h"
#include "convert.h"

namespace echomimic {

namespace {

PlanRequest ReadPlanRequest(const Fields& fields) {
  PlanRequest request;
  request.width = fields.Integer("width");
  request.height = fields.Integer("height");
  request.frames = fields.Integer("frames");
  request.windows = fields.Integer("windows");
  request.clip_frames = fields.Integer("clipFrames");
  request.guided = fields.Boolean("guided");
  request.free_bytes = static_cast<uint64_t>(fields.Number("freeBytes"));
  return request;
}

Napi::Array ToArray(Napi::Env env, const Shape& shape) {
  auto array = Napi::Array::New(env, shape.size());
  for (uint32_t i = 0; i < shape.size(); i++) {
    array.Set(i, Napi::Number::New(env, static_cast<double>(shape[i])));
  }
  return array;
}

// inputShapes(model, network, sizes)
Napi::Value ListInputShapes(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Guarded(env, [&]() -> Napi::Value {
    const auto inputs = ShapesOf(ReadModelSpec({info[0], "model"}), info[1].ToString().Utf8Value(),
                                 ReadSizes({info[2], "sizes"}));
    auto list = Napi::Array::New(env, inputs.size());
    for (uint32_t i = 0; i < inputs.size(); i++) {
      auto object = Napi::Object::New(env);
      object.Set("name", Napi::String::New(env, inputs[i].name));
      object.Set("least", ToArray(env, inputs[i].least));
      object.Set("usual", ToArray(env, inputs[i].usual));
      object.Set("largest", ToArray(env, inputs[i].largest));
      list.Set(i, object);
    }
    return list;
  });
}

// providerOptions(model, network, { provider, gpu, graphs, memoryLimit, folders, sizes })
Napi::Value ListProviderOptions(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Guarded(env, [&]() -> Napi::Value {
    const ModelSpec model = ReadModelSpec({info[0], "model"});
    const std::string network = info[1].ToString().Utf8Value();
    const Fields fields(info[2], "");
    ProviderConfig config;
    config.provider = ProviderNamed(fields.String("provider"));
    config.gpu = fields.Integer("gpu");
    config.graphs = fields.Boolean("graphs");
    config.memory_limit = static_cast<uint64_t>(fields.Number("memoryLimit"));
    config.engine_folder = fields.String("engineFolder");
    config.timing_folder = fields.String("timingFolder");
    config.sizes = ReadSizes(fields.Object("sizes"));
    auto object = Napi::Object::New(env);
    const auto options = config.provider == Provider::kTensorRt
                             ? TensorRtOptionsOf(config, model, network)
                             : CudaOptionsOf(config, network);
    for (const auto& [name, value] : options) object.Set(name, Napi::String::New(env, value));
    return object;
  });
}

// requireProvider(library, provider, gpu): tries to load it
Napi::Value TryProvider(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&]() -> Napi::Value {
    LoadRuntime(info[0].ToString().Utf8Value());
    Environment(PhysicalCores());
    RequireProvider(ProviderNamed(info[1].ToString().Utf8Value()),
                    info[2].ToNumber().Int32Value());
    return info.Env().Undefined();
  });
}

// classifyFailure(text)
Napi::Value Classify(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Guarded(env, [&]() -> Napi::Value {
    const Failure failure = ClassifyFailure(info[0].ToString().Utf8Value());
    auto object = Napi::Object::New(env);
    object.Set("code", Napi::String::New(env, NameOf(failure.code)));
    object.Set("advice", Napi::String::New(env, failure.advice));
    return object;
  });
}

// plan(model, request, bytes): the plan, or the next smaller one than one of so many bytes
Napi::Value MakePlanFor(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Guarded(env, [&]() -> Napi::Value {
    const ModelSpec model = ReadModelSpec({info[0], "model"});
    const PlanRequest request = ReadPlanRequest({info[1], "request"});
    std::optional<Plan> plan;
    if (info[2].IsNumber()) {
      Plan last;
      last.bytes = static_cast<uint64_t>(info[2].ToNumber().Int64Value());
      plan = StepDown(model, request, last);
    } else {
      plan = MakePlan(model, request);
    }
    return plan ? ToObject(env, *plan) : env.Null();
  });
}

// openEngine(root, machine, key, open): through the cache of TensorRT's engines; `open` gets a folder
Napi::Value OpenEngine(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Guarded(env, [&]() -> Napi::Value {
    const Fields machine(info[1], "machine");
    const EngineCache cache(info[0].ToString().Utf8Value(),
                            {machine.String("gpu"), machine.String("capability"),
                             machine.String("driver"), machine.String("tensorrt"),
                             machine.String("runtime")});
    const Fields fields(info[2], "key");
    const EngineKey key{fields.String("network"), fields.String("digest"),
                        {{"profile", fields.String("profile")}}};
    auto result = Napi::Object::New(env);
    result.Set("reason", Napi::String::New(env, cache.Reason(key)));
    const auto open = info[3].As<Napi::Function>();
    const bool built = cache.Open(key, [&](const std::string& folder) {
      try {
        open.Call({Napi::String::New(env, folder)});
      } catch (const Napi::Error& error) {
        throw EngineError(ErrorCode::kFailed, error.Message());
      }
    });
    result.Set("built", Napi::Boolean::New(env, built));
    result.Set("folder", Napi::String::New(env, cache.folder()));
    return result;
  });
}

}  // namespace

void ExportProviders(Napi::Env env, Napi::Object exports) {
  exports.Set("inputShapes", Napi::Function::New<ListInputShapes>(env, "inputShapes"));
  exports.Set("providerOptions", Napi::Function::New<ListProviderOptions>(env, "providerOptions"));
  exports.Set("requireProvider", Napi::Function::New<TryProvider>(env, "requireProvider"));
  exports.Set("classifyFailure", Napi::Function::New<Classify>(env, "classifyFailure"));
  exports.Set("openEngine", Napi::Function::New<OpenEngine>(env, "openEngine"));
  exports.Set("plan", Napi::Function::New<MakePlanFor>(env, "plan"));
}

}  // namespace echomimic
