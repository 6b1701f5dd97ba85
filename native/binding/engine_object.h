#pragma once

#include <napi.h>

#include <memory>

#include "../engine/engine.h"

namespace echomimic {

// The JavaScript face of an Engine: `new Engine(config, onEvent)`, see native/addon.d.ts. Its
// methods only hand over; everything that happens comes back through `onEvent`.
class EngineObject : public Napi::ObjectWrap<EngineObject> {
 public:
  static void Export(Napi::Env env, Napi::Object exports);
  explicit EngineObject(const Napi::CallbackInfo& info);
  ~EngineObject() override;

 private:
  struct Link;
  struct OpenLinks;

  Napi::Value Render(const Napi::CallbackInfo& info);
  Napi::Value Run(const Napi::CallbackInfo& info);
  Napi::Value AudioTokens(const Napi::CallbackInfo& info);
  Napi::Value Cancel(const Napi::CallbackInfo& info);
  Napi::Value Acknowledge(const Napi::CallbackInfo& info);
  Napi::Value Dispose(const Napi::CallbackInfo& info);
  Napi::Value Hold(const Napi::CallbackInfo& info);
  Napi::Value Release(const Napi::CallbackInfo& info);

  static void Deliver(Napi::Env env, Napi::Function callback, Link* link, Event* event);
  static void OnEnvironmentEnd(void* link);
  static Napi::Value Shutdown(const Napi::CallbackInfo& info);
  Engine& engine() const;

  std::shared_ptr<Link> link_;
};

}  // namespace echomimic
