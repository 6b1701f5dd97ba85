#pragma once

#include <napi.h>

namespace echomimic {

// What the engine tells ONNX Runtime's providers and plans for GPUs, for checks without one.
void ExportProviders(Napi::Env env, Napi::Object exports);

}  // namespace echomimic
