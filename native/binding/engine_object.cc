#include "engine_object.h"

#include <set>
#include <utility>

#include "convert.h"

namespace echomimic {

// What the wrapper, the function that carries events and the environment's end share. It lives
// until that function is finalized. The engine's thread never outlives the environment: when that
// ends first, its cleanup hook stops and joins the thread.
struct EngineObject::Link {
  using Events = Napi::TypedThreadSafeFunction<Link, Event, &EngineObject::Deliver>;
  Events events;
  std::unique_ptr<Engine> engine;  // null once closed
  std::shared_ptr<Link> self;
  bool ended = false;  // no JavaScript can be called any more

  void Stop() {
    ended = true;
    engine->Dispose();
    engine->Join();
  }
};

// The engines of one environment that are not closed yet. They are stopped before it ends.
struct EngineObject::OpenLinks {
  std::set<Link*> links;
};

void EngineObject::Export(Napi::Env env, Napi::Object exports) {
  exports.Set("Engine", DefineClass(env, "Engine",
                                    {InstanceMethod<&EngineObject::Render>("render"),
                                     InstanceMethod<&EngineObject::Run>("run"),
                                     InstanceMethod<&EngineObject::AudioTokens>("audioTokens"),
                                     InstanceMethod<&EngineObject::Cancel>("cancel"),
                                     InstanceMethod<&EngineObject::Acknowledge>("acknowledge"),
                                     InstanceMethod<&EngineObject::Dispose>("dispose"),
                                     InstanceMethod<&EngineObject::Hold>("hold"),
                                     InstanceMethod<&EngineObject::Release>("release")}));
  exports.Set("shutdown", Napi::Function::New<&EngineObject::Shutdown>(env, "shutdown"));
  env.SetInstanceData(new OpenLinks);
}

// Stops every engine and waits for it. process.exit() runs no cleanup hook, and would take ONNX
// Runtime's static objects away under a running thread.
Napi::Value EngineObject::Shutdown(const Napi::CallbackInfo& info) {
  for (Link* const link : info.Env().GetInstanceData<OpenLinks>()->links) link->Stop();
  return info.Env().Undefined();
}

EngineObject::EngineObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<EngineObject>(info), link_(std::make_shared<Link>()) {
  const Napi::Env env = info.Env();
  Guarded(env, [&] {
    if (info.Length() < 2 || !info[1].IsFunction()) {
      throw EngineError(ErrorCode::kOptionInvalid, "onEvent: expected a function");
    }
    EngineConfig config = ReadEngineConfig(info[0]);
    Link* const link = link_.get();
    link->events = Link::Events::New(env, info[1].As<Napi::Function>(), "echomimic", 0, 1, link,
                                     [](Napi::Env, void*, Link* ended) { ended->self.reset(); });
    link->self = link_;
    try {
      link->engine = std::make_unique<Engine>(std::move(config), [link](Event event) {
        auto* const message = new Event(std::move(event));
        if (link->events.NonBlockingCall(message) != napi_ok) delete message;
      });
    } catch (...) {
      link->events.Release();
      throw;
    }
    link->events.Unref(env);
    napi_add_env_cleanup_hook(env, OnEnvironmentEnd, link);
    env.GetInstanceData<OpenLinks>()->links.insert(link);
    return env.Undefined();
  });
}

// Collected without dispose(): the engine stops by itself and Deliver joins it.
EngineObject::~EngineObject() {
  if (link_->engine != nullptr) link_->engine->Dispose();
}

void EngineObject::OnEnvironmentEnd(void* link) {
  static_cast<Link*>(link)->Stop();
}

void EngineObject::Deliver(Napi::Env env, Napi::Function callback, Link* link, Event* event) {
  const std::unique_ptr<Event> owned(event);
  if (env == nullptr || link->ended) return;
  const Napi::Object object = ToObject(env, *event);
  if (std::holds_alternative<Closed>(event->body)) {
    napi_remove_env_cleanup_hook(env, OnEnvironmentEnd, link);
    env.GetInstanceData<OpenLinks>()->links.erase(link);
    link->engine.reset();  // its thread has nothing left to do
    link->events.Release();
  }
  callback.Call({object});
}

Engine& EngineObject::engine() const {
  if (link_->engine == nullptr) {
    throw EngineError(ErrorCode::kDisposed, "the engine is disposed");
  }
  return *link_->engine;
}

Napi::Value EngineObject::Render(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    engine().Submit(info[0].ToNumber().Int32Value(), ReadRenderRequest(info[1]));
    return info.Env().Undefined();
  });
}

Napi::Value EngineObject::Run(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    engine().Submit(info[0].ToNumber().Int32Value(), ReadNetworkRequest(info[1]));
    return info.Env().Undefined();
  });
}

Napi::Value EngineObject::AudioTokens(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    engine().Submit(info[0].ToNumber().Int32Value(), ReadTokensRequest(info[1]));
    return info.Env().Undefined();
  });
}

Napi::Value EngineObject::Cancel(const Napi::CallbackInfo& info) {
  if (link_->engine != nullptr) link_->engine->Cancel(info[0].ToNumber().Int32Value());
  return info.Env().Undefined();
}

Napi::Value EngineObject::Acknowledge(const Napi::CallbackInfo& info) {
  if (link_->engine != nullptr) link_->engine->Acknowledge(info[0].ToNumber().Int32Value());
  return info.Env().Undefined();
}

Napi::Value EngineObject::Dispose(const Napi::CallbackInfo& info) {
  if (link_->engine != nullptr) link_->engine->Dispose();
  return info.Env().Undefined();
}

Napi::Value EngineObject::Hold(const Napi::CallbackInfo& info) {
  if (link_->engine != nullptr) link_->events.Ref(info.Env());
  return info.Env().Undefined();
}

Napi::Value EngineObject::Release(const Napi::CallbackInfo& info) {
  if (link_->engine != nullptr) link_->events.Unref(info.Env());
  return info.Env().Undefined();
}

}  // namespace echomimic
