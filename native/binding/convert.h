#pragma once

#include <napi.h>

#include <functional>
#include <string>
#include <vector>

#include "../engine/engine.h"
#include "../engine/planner.h"

namespace echomimic {

// An error with a `code`, as src/errors.ts knows them.
Napi::Error ToNapiError(Napi::Env env, ErrorCode code, const std::string& message);

// Runs `body` and turns what it throws into a JavaScript exception with a code.
Napi::Value Guarded(Napi::Env env, const std::function<Napi::Value()>& body);

// Reads the fields of one options object; every complaint names the field's path.
class Fields {
 public:
  Fields(Napi::Value value, std::string path);

  bool Has(const char* name) const;
  double Number(const char* name) const;
  int Integer(const char* name) const;
  bool Boolean(const char* name) const;
  std::string String(const char* name) const;
  uint64_t Unsigned64(const char* name) const;  // a bigint
  std::vector<std::string> Strings(const char* name) const;
  std::vector<float> Floats(const char* name) const;
  std::vector<uint8_t> Bytes(const char* name) const;
  Shape Sizes(const char* name) const;
  Fields Object(const char* name) const;
  std::vector<Fields> Objects(const char* name) const;

 private:
  Napi::Value Get(const char* name) const;
  [[noreturn]] void Refuse(const char* name, const char* expected) const;

  Napi::Object object_;
  std::string path_;
};

EngineConfig ReadEngineConfig(Napi::Value value);
ModelSpec ReadModelSpec(const Fields& fields);
CallSizes ReadSizes(const Fields& fields);
RenderRequest ReadRenderRequest(Napi::Value value);
NetworkRequest ReadNetworkRequest(Napi::Value value);
TokensRequest ReadTokensRequest(Napi::Value value);
ScheduleSpec ReadSchedule(const Fields& fields);

Napi::Object ToObject(Napi::Env env, const Event& event);
Napi::Object ToObject(Napi::Env env, const Plan& plan);

}  // namespace echomimic
