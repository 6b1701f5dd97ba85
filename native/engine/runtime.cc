#include "runtime.h"

#include <dlfcn.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <mutex>

#include "../ops/ops.h"
#include "error.h"

namespace echomimic {

namespace {

struct Process {
  std::mutex mutex;
  std::string version;
  Ort::Env* env = nullptr;
  int pool_threads = 0;
};

// Never destroyed: other threads may still be inside ONNX Runtime while static objects go away.
Process& TheProcess() {
  static Process* const process = new Process;
  return *process;
}

}  // namespace

std::string LoadRuntime(const std::string& library) {
  Process& process = TheProcess();
  const std::lock_guard lock(process.mutex);
  if (!process.version.empty()) return process.version;
  const auto missing = [&](const std::string& why) {
    return EngineError(ErrorCode::kRuntimeMissing, "ONNX Runtime from " + library + ": " + why);
  };
  void* const handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* const reason = dlerror();
    throw missing(reason != nullptr ? reason : "cannot be loaded");
  }
  using GetApiBase = const OrtApiBase* (*)();
  const auto get_api_base = reinterpret_cast<GetApiBase>(dlsym(handle, "OrtGetApiBase"));
  if (get_api_base == nullptr) throw missing("has no OrtGetApiBase");
  const OrtApiBase* const base = get_api_base();
  const std::string version = base->GetVersionString();
  const OrtApi* const api = base->GetApi(ORT_API_VERSION);
  if (api == nullptr) {
    throw missing("version " + version + " is older than the headers (API " +
                  std::to_string(ORT_API_VERSION) + ")");
  }
  Ort::InitApi(api);
  process.version = version;
  return version;
}

Ort::Env& Environment(int threads) {
  Process& process = TheProcess();
  const std::lock_guard lock(process.mutex);
  if (process.env == nullptr) {
    Ort::ThreadingOptions options;
    options.SetGlobalIntraOpNumThreads(threads);
    options.SetGlobalInterOpNumThreads(1);
    options.SetGlobalDenormalAsZero();
    // Waiting threads sleep: a spinning pool wins little on an idle machine and loses threefold
    // when the cores have other work too.
    options.SetGlobalSpinControl(0);
    // Failures come back as exceptions with the same text; the log would only repeat them.
    process.env = new Ort::Env(options, ORT_LOGGING_LEVEL_FATAL, "echomimic");
    process.pool_threads = threads;
  }
  return *process.env;
}

Ort::SessionOptions CpuSessionOptions(int threads, bool repeated) {
  Environment(threads);
  Process& process = TheProcess();
  Ort::SessionOptions options;
  AddCpuOps(options, threads);
  options.SetGraphOptimizationLevel(ORT_ENABLE_ALL);
  options.SetExecutionMode(ORT_SEQUENTIAL);
  if (!repeated) options.DisableCpuMemArena();
  // A pattern is a second copy of what the first run took, taken by the second run and never shared.
  options.DisableMemPattern();
  options.AddConfigEntry("session.set_denormal_as_zero", "1");
  if (process.pool_threads == threads) {
    options.DisablePerSessionThreads();
  } else {
    options.SetIntraOpNumThreads(threads);
    options.SetInterOpNumThreads(1);
    options.AddConfigEntry("session.intra_op.allow_spinning", "0");
  }
  return options;
}

void TrimMemory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace echomimic
