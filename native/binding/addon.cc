#include <napi.h>

#include "engine_object.h"
#include "functions.h"

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  echomimic::ExportFunctions(env, exports);
  echomimic::EngineObject::Export(env, exports);
  return exports;
}

NODE_API_MODULE(echomimic, Init)
