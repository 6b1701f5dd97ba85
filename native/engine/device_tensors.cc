#include "device_tensors.h"

#include <algorithm>

namespace echomimic {

float* DeviceTensors::Take(const std::string& name, const Shape& shape) {
  DeviceBuffer<float>& tensor = tensors_[name];
  const size_t size = ElementsOf(shape);
  if (tensor.size() < size) {
    if (tensor.size() > 0) ForgetGraphs();
    tensor = {};  // gives its memory back first
    tensor = DeviceBuffer<float>(device_, size);
  }
  return tensor.data();
}

int DeviceTensors::GraphOf(const CallSizes& calls) {
  const auto known = std::find_if(graphs_.begin(), graphs_.end(),
                                  [&](const auto& graph) { return graph.first == calls; });
  if (known != graphs_.end()) return known->second;
  graphs_.emplace_back(calls, ++last_graph_);
  return last_graph_;
}

}  // namespace echomimic
