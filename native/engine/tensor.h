#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace echomimic {

using Shape = std::vector<int64_t>;

inline size_t ElementsOf(const Shape& shape) {
  size_t count = 1;
  for (const int64_t size : shape) count *= static_cast<size_t>(size);
  return count;
}

struct Tensor {
  Shape shape;
  std::vector<float> data;
};

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

}  // namespace echomimic
