#include "gpus.h"

#include <cuda_runtime_api.h>

#include "check.h"

namespace echomimic::cuda {

namespace {

std::string VersionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string ReasonFor(cudaError_t error) {
  int driver = 0;
  cudaDriverGetVersion(&driver);
  if (driver == 0) return "no NVIDIA driver is installed";
  if (error == cudaErrorInsufficientDriver) {
    return "the NVIDIA driver supports CUDA " + VersionText(driver) + ", this build needs CUDA " +
           VersionText(CUDART_VERSION) + ": update the driver or build with an older CUDA toolkit";
  }
  if (error == cudaSuccess || error == cudaErrorNoDevice) {
    return "the NVIDIA driver shows this process no GPU; CUDA_VISIBLE_DEVICES may hide it";
  }
  return std::string("CUDA answers: ") + cudaGetErrorString(error) + " (" +
         cudaGetErrorName(error) + ")";
}

}  // namespace

GpuList ListGpus() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    cudaGetLastError();
    return {{}, ReasonFor(error)};
  }
  GpuList list;
  for (int index = 0; index < count; index++) {
    cudaDeviceProp properties{};
    Check(cudaGetDeviceProperties(&properties, index), "reading a GPU's properties");
    list.gpus.push_back({index, properties.name, properties.totalGlobalMem, properties.major,
                         properties.minor, properties.multiProcessorCount});
  }
  return list;
}

GpuMemory MemoryOf(int index) {
  Check(cudaSetDevice(index), "opening a GPU");
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  Check(cudaMemGetInfo(&free_bytes, &total_bytes), "asking for a GPU's memory");
  return {free_bytes, total_bytes};
}

}  // namespace echomimic::cuda
