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

}  // namespace echomimic::cuda
