#pragma once

#include <onnxruntime_cxx_api.h>

#include <string>
#include <vector>

#include "tensor.h"

namespace echomimic {

// Memory of the host.
Ort::MemoryInfo CpuMemory();

// A float tensor over memory that the caller owns and keeps alive, the host's or the one named.
Ort::Value Wrap(float* data, const Shape& shape);
Ort::Value Wrap(const Ort::MemoryInfo& memory, float* data, const Shape& shape);

// One graph in a session of its own. All its inputs and outputs are float32.
class Network {
 public:
  // Throws ENGINE_MODEL_INVALID, or what the failure of a provider means.
  Network(Ort::Env& env, const std::string& name, const std::string& path,
          const Ort::SessionOptions& options);

  const std::string& name() const { return name_; }
  const std::vector<std::string>& inputs() const { return inputs_; }
  const std::vector<std::string>& outputs() const { return outputs_; }
  // Fails with ENGINE_MODEL_INVALID when the graph lacks one of these names.
  void Expect(const std::vector<std::string>& inputs, const std::vector<std::string>& outputs) const;

  Ort::IoBinding Bind() { return Ort::IoBinding(session_); }
  void Run(const Ort::RunOptions& options, const Ort::IoBinding& binding);

  // Runs on copies; for work that is done once per clip.
  std::vector<NamedTensor> Run(const Ort::RunOptions& options,
                               const std::vector<NamedTensor>& inputs);

 private:
  std::string name_;
  std::string path_;
  Ort::Session session_{nullptr};
  std::vector<std::string> inputs_;
  std::vector<std::string> outputs_;
};

// Throws ENGINE_MODEL_INVALID unless a network made a tensor of so many numbers.
void CheckSize(const Ort::Value& value, size_t elements, const char* what);

}  // namespace echomimic
