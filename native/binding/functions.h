#pragma once

#include <napi.h>

namespace echomimic {

// Everything of the addon that is not the Engine class: the runtime's library, the machine's cores,
// and the pure functions of the loop, for checks.
void ExportFunctions(Napi::Env env, Napi::Object exports);

}  // namespace echomimic
