#include "versions.h"

#include <dlfcn.h>

namespace echomimic {

namespace {

template <typename Function>
Function Symbol(void* library, const char* name) {
  return library == nullptr ? nullptr : reinterpret_cast<Function>(dlsym(library, name));
}

}  // namespace

std::string DriverVersion() {
  void* const nvml = dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL);
  const auto start = Symbol<int (*)()>(nvml, "nvmlInit_v2");
  const auto ask = Symbol<int (*)(char*, unsigned)>(nvml, "nvmlSystemGetDriverVersion");
  const auto end = Symbol<int (*)()>(nvml, "nvmlShutdown");
  if (start == nullptr || ask == nullptr || end == nullptr || start() != 0) return "";
  char version[96] = "";
  if (ask(version, sizeof version) != 0) version[0] = '\0';
  end();
  return version;
}

std::string TensorRtVersion() {
  for (const char* const name : {"libnvinfer.so.10", "libnvinfer.so.11", "libnvinfer.so.12"}) {
    void* const library = dlopen(name, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD);
    const auto ask = Symbol<int (*)()>(library, "getInferLibVersion");
    if (ask == nullptr) continue;
    const int version = ask();  // 10.9.0 is 100900
    dlclose(library);
    return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
           std::to_string(version % 100);
  }
  return "";
}

}  // namespace echomimic
