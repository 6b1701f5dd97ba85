#include <napi.h>

#include "engine_object.h"
#include "functions.h"
#include "providers.h"

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  echomimic::ExportFunctions(env, exports);
  echomimic::ExportProviders(env, exports);
  echomimic::EngineObject::Export(env, exports);
  return exports;
}

NODE_API_MODULE(echomimic, Init)
