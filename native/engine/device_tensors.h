#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "../cuda/device.h"
#include "shapes.h"

namespace echomimic {

// The tensors that networks are bound to, by name, and the numbers of the CUDA graphs that are recorded
// with them. Tensors outlive a clip and stay where they are while they are large enough: a graph knows
// addresses only, and ONNX Runtime keeps every graph for as long as its network is open.
class DeviceTensors {
 public:
  explicit DeviceTensors(Device& device) : device_(device) {}

  // The tensor of that name, with what is in it if it was as large before. Throws
  // ENGINE_OUT_OF_MEMORY.
  float* Take(const std::string& name, const Shape& shape);
  // The number of the graphs of calls of these sizes.
  int GraphOf(const CallSizes& calls);
  // What was recorded is not to be used any more: every number that is asked for is a new one.
  void ForgetGraphs() { graphs_.clear(); }

 private:
  Device& device_;
  std::map<std::string, DeviceBuffer<float>> tensors_;
  std::vector<std::pair<CallSizes, int>> graphs_;
  int last_graph_ = 0;
};

}  // namespace echomimic
