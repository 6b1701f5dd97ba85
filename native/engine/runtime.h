#pragma once

#include <onnxruntime_cxx_api.h>

#include <string>

namespace echomimic {

// Loads ONNX Runtime's library; the first call decides for the whole process. Returns its version.
// Throws ENGINE_RUNTIME_MISSING.
std::string LoadRuntime(const std::string& library);

// The process-wide environment. It is never destroyed, so that nothing of ONNX Runtime has to be
// torn down while the process exits. Its thread pool has the size that the first caller asks for.
Ort::Env& Environment(int threads);

// Options of a session on the CPU provider with `threads` threads. `repeated` tells that the network
// runs many times per clip: it keeps its scratch memory, the others give it back after each run.
Ort::SessionOptions CpuSessionOptions(int threads, bool repeated);

// Gives freed memory back to the system where the allocator has to be asked.
void TrimMemory();

}  // namespace echomimic
