#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace echomimic::cuda {

struct Gpu {
  int index = 0;
  std::string name;
  uint64_t memory_bytes = 0;
  int major = 0;  // compute capability
  int minor = 0;
  int multiprocessors = 0;
};

struct GpuList {
  std::vector<Gpu> gpus;
  std::string reason;  // why there are none; empty if there are
};

// The GPUs that this process sees. Throws nothing for a machine without driver or GPU.
GpuList ListGpus();

struct GpuMemory {
  uint64_t free_bytes = 0;
  uint64_t total_bytes = 0;
};

// What all processes together have left of a GPU. Opens the GPU for this process, which takes some
// of it. Throws kDeviceUnavailable for one that is not there.
GpuMemory MemoryOf(int index);

}  // namespace echomimic::cuda
