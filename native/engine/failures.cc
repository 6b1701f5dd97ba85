#include "failures.h"

#include <iterator>

namespace echomimic {

namespace {

constexpr const char* kInstallProviders =
    "ONNX Runtime's GPU providers are not installed: run npm run providers, or set ONNXRUNTIME_ROOT "
    "to an unpacked GPU release and run npm run build:addon -- --cuda (docs/gpus.md)";
constexpr const char* kInstallCuda =
    "install the CUDA libraries of the major version that the file's name ends in, and name their "
    "folder in LD_LIBRARY_PATH or in the linker's configuration (docs/gpus.md)";
constexpr const char* kInstallCudnn =
    "install cuDNN 9 for the CUDA version that the providers need, and name its folder in "
    "LD_LIBRARY_PATH or in the linker's configuration (docs/gpus.md)";
constexpr const char* kInstallTensorRt =
    "install the TensorRT of the major version that the file's name ends in, and name its folder in "
    "LD_LIBRARY_PATH or in the linker's configuration, or use the provider \"cuda\" (docs/gpus.md)";
constexpr const char* kOtherVersion =
    "a library is there in another version than the providers need: docs/gpus.md tells how to see "
    "which they need";
constexpr const char* kUpdateDriver =
    "update the NVIDIA driver, or use libraries of an older CUDA (docs/gpus.md)";
constexpr const char* kNoGpu =
    "check that nvidia-smi lists the GPU and that CUDA_VISIBLE_DEVICES does not hide it, or use the "
    "device \"cpu\"";
constexpr const char* kUnsupported =
    "these libraries have no code for this GPU's architecture: use the provider \"cuda\" in place of "
    "\"tensorrt\", a release of ONNX Runtime or TensorRT that knows the GPU, or the device \"cpu\"";
constexpr const char* kLost =
    "this process cannot use the GPU any more: start it again, and look for Xid messages in the "
    "kernel's log if it happens twice";
constexpr const char* kMemory =
    "use smaller pictures or fewer context frames, or free the GPU of other work";
constexpr const char* kBuild =
    "TensorRT could not build this network: use the provider \"cuda\", and report the message with "
    "TensorRT's version";
constexpr const char* kCache =
    "a file of the engine cache cannot be used: delete the folder, it is built again";

// The first entry whose parts all stand in the text, in this order, decides. What is more specific
// comes first: a library that is missing may be named in a text that also names the provider.
struct Entry {
  const char* first;
  const char* second;  // may be empty
  ErrorCode code;
  const char* advice;
};
constexpr auto kRuntime = ErrorCode::kRuntimeMissing;
constexpr auto kUnavailable = ErrorCode::kDeviceUnavailable;
constexpr auto kArchitecture = ErrorCode::kDeviceUnsupported;
constexpr auto kDeviceGone = ErrorCode::kDeviceLost;
constexpr auto kNoMemory = ErrorCode::kOutOfMemory;

constexpr Entry kEntries[] = {
    // Loading: glibc's text stands behind ONNX Runtime's.
    {"libcudnn", "cannot open shared object file", kRuntime, kInstallCudnn},
    {"libnvinfer", "cannot open shared object file", kRuntime, kInstallTensorRt},
    {"libnvonnxparser", "cannot open shared object file", kRuntime, kInstallTensorRt},
    {"libonnxruntime_providers_", ".so: cannot open shared object file", kRuntime,
     kInstallProviders},
    {"libcublas", "cannot open shared object file", kRuntime, kInstallCuda},
    {"libcudart", "cannot open shared object file", kRuntime, kInstallCuda},
    {"libcufft", "cannot open shared object file", kRuntime, kInstallCuda},
    {"libcurand", "cannot open shared object file", kRuntime, kInstallCuda},
    {"libnvrtc", "cannot open shared object file", kRuntime, kInstallCuda},
    {"libcuda.so", "cannot open shared object file", kUnavailable, kUpdateDriver},
    {"Failed to load library", "undefined symbol", kRuntime, kOtherVersion},
    {"Failed to load library", "version `", kRuntime, kOtherVersion},
    {"Failed to load library", "", kRuntime, kInstallProviders},
    {"Failed to load shared library", "", kRuntime, kInstallProviders},
    {"execution provider is not enabled in this build", "", kRuntime, kInstallProviders},
    {"dlopen failed", "libcudnn", kRuntime, kInstallCudnn},
    {"cuDNN library", "was not found", kRuntime, kInstallCudnn},
    {"Could not load library libcudnn", "", kRuntime, kInstallCudnn},
    {"Unable to load", "libcudnn", kRuntime, kInstallCudnn},
    {"CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED", "", kRuntime, kInstallCudnn},
    {"CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH", "", kRuntime, kOtherVersion},
    {"CUDNN_STATUS_VERSION_MISMATCH", "", kRuntime, kOtherVersion},
    // Memory, before the status codes that may follow from its lack.
    {"out of memory", "", kNoMemory, kMemory},
    {"Out of memory", "", kNoMemory, kMemory},
    {"OutOfMemory", "", kNoMemory, kMemory},
    {"Failed to allocate memory for requested buffer", "", kNoMemory, kMemory},
    {"Available memory of", "is smaller than requested bytes", kNoMemory, kMemory},
    {"_STATUS_ALLOC_FAILED", "", kNoMemory, kMemory},
    {"CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED", "", kNoMemory, kMemory},
    {"CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", "", kNoMemory, kMemory},
    {"insufficient memory", "", kNoMemory, kMemory},
    {"Insufficient workspace", "", kNoMemory, kMemory},
    // The architecture.
    {"no kernel image", "", kArchitecture, kUnsupported},
    {"cudaErrorNoKernelImageForDevice", "", kArchitecture, kUnsupported},
    {"PTX was compiled with an unsupported toolchain", "", kArchitecture, kUpdateDriver},
    {"Unsupported SM", "", kArchitecture, kUnsupported},
    {"Target GPU SM", "is not supported", kArchitecture, kUnsupported},
    {"_STATUS_ARCH_MISMATCH", "", kArchitecture, kUnsupported},
    {"CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH", "", kArchitecture, kUnsupported},
    // The device.
    {"driver version is insufficient", "", kUnavailable, kUpdateDriver},
    {"unsupported display driver / cuda driver combination", "", kUnavailable, kUpdateDriver},
    {"forward compatibility was attempted on non supported HW", "", kUnavailable, kUpdateDriver},
    {"no CUDA-capable device", "", kUnavailable, kNoGpu},
    {"Invalid device ID", "", kUnavailable, kNoGpu},
    {"invalid device ordinal", "", kUnavailable, kNoGpu},
    {"CUDA-capable device(s) is/are busy or unavailable", "", kUnavailable, kNoGpu},
    {"initialization error", "", kUnavailable, kNoGpu},
    {"illegal memory access", "", kDeviceGone, kLost},
    {"misaligned address", "", kDeviceGone, kLost},
    {"illegal instruction", "", kDeviceGone, kLost},
    {"unspecified launch failure", "", kDeviceGone, kLost},
    {"launch timed out", "", kDeviceGone, kLost},
    {"uncorrectable ECC error", "", kDeviceGone, kLost},
    {"uncorrectable NVLink error", "", kDeviceGone, kLost},
    {"device-side assert", "", kDeviceGone, kLost},
    {"GPU is lost", "", kDeviceGone, kLost},
    {"driver shutting down", "", kDeviceGone, kLost},
    {"context is destroyed", "", kDeviceGone, kLost},
    {"_STATUS_EXECUTION_FAILED", "", kDeviceGone, kLost},
    {"_STATUS_MAPPING_ERROR", "", kDeviceGone, kLost},
    {"CUBLAS_STATUS_NOT_INITIALIZED", "", kUnavailable, kNoGpu},
    {"CUDNN_STATUS_NOT_INITIALIZED", "", kUnavailable, kNoGpu},
    // TensorRT's builder and its cache.
    {"could not deserialize engine from cache", "", ErrorCode::kFailed, kCache},
    {"failed to deserialize engine", "", ErrorCode::kFailed, kCache},
    {"could not create timing cache", "", ErrorCode::kFailed, kCache},
    {"failed to create engine from network", "", ErrorCode::kFailed, kBuild},
    {"TensorRT EP Failed to Build Engine", "", ErrorCode::kFailed, kBuild},
    {"no associated shape profiles provided", "", ErrorCode::kFailed, kBuild},
};

}  // namespace

Failure ClassifyFailure(const std::string& text) {
  for (const Entry& entry : kEntries) {
    const size_t first = text.find(entry.first);
    if (first != std::string::npos && text.find(entry.second, first) != std::string::npos) {
      return {entry.code, entry.advice};
    }
  }
  return {ErrorCode::kFailed, ""};
}

EngineError ExplainFailure(const std::string& attempt, const std::string& text,
                           ErrorCode otherwise) {
  const Failure failure = ClassifyFailure(text);
  const bool known = *failure.advice != '\0';
  // ONNX Runtime ends some of its texts with an empty line.
  const std::string said = text.substr(0, text.find_last_not_of(" \n") + 1);
  return EngineError(known ? failure.code : otherwise,
                     attempt + ": " + said + (known ? "; " : "") + failure.advice);
}

}  // namespace echomimic
