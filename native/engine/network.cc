#include "network.h"

#include <algorithm>

#include "../ops/ops.h"
#include "failures.h"

namespace echomimic {

namespace {

bool Has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

Ort::MemoryInfo CpuMemory() {
  return Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
}

Ort::Value Wrap(float* data, const Shape& shape) { return Wrap(CpuMemory(), data, shape); }

Ort::Value Wrap(const Ort::MemoryInfo& memory, float* data, const Shape& shape) {
  return Ort::Value::CreateTensor<float>(memory, data, ElementsOf(shape), shape.data(),
                                         shape.size());
}

Network::Network(Ort::Env& env, const std::string& name, const std::string& path,
                 const Ort::SessionOptions& options)
    : name_(name), path_(path) {
  try {
    session_ = Ort::Session(env, path.c_str(), options);
    inputs_ = session_.GetInputNames();
    outputs_ = session_.GetOutputNames();
    for (size_t i = 0; i < inputs_.size() + outputs_.size(); i++) {
      const bool input = i < inputs_.size();
      const auto info = input ? session_.GetInputTypeInfo(i)
                              : session_.GetOutputTypeInfo(i - inputs_.size());
      if (info.GetONNXType() != ONNX_TYPE_TENSOR ||
          info.GetTensorTypeAndShapeInfo().GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) {
        throw EngineError(ErrorCode::kModelInvalid,
                          path + ": \"" + (input ? inputs_[i] : outputs_[i - inputs_.size()]) +
                              "\" is not a float32 tensor");
      }
    }
  } catch (const Ort::Exception& error) {
    throw ExplainFailure("network " + name + " (" + path + ")", error.what(),
                         ErrorCode::kModelInvalid);
  }
}

void Network::Expect(const std::vector<std::string>& inputs,
                     const std::vector<std::string>& outputs) const {
  for (const bool input : {true, false}) {
    const auto& wanted = input ? inputs : outputs;
    const auto& present = input ? inputs_ : outputs_;
    for (const auto& name : wanted) {
      if (!Has(present, name)) {
        throw EngineError(ErrorCode::kModelInvalid, path_ + ": has no " +
                                                        (input ? "input \"" : "output \"") + name +
                                                        "\"");
      }
    }
    for (const auto& name : present) {
      if (!Has(wanted, name)) {
        throw EngineError(ErrorCode::kModelInvalid, path_ + ": has an unknown " +
                                                        (input ? "input \"" : "output \"") + name +
                                                        "\"");
      }
    }
  }
}

void Network::Run(const Ort::RunOptions& options, const Ort::IoBinding& binding) {
  try {
    const NetworkRun running;
    session_.Run(options, binding);
  } catch (const Ort::Exception& error) {
    throw ExplainFailure("network " + name_, error.what());
  }
}

std::vector<NamedTensor> Network::Run(const Ort::RunOptions& options,
                                      const std::vector<NamedTensor>& inputs) {
  try {
    std::vector<const char*> input_names;
    std::vector<Ort::Value> values;
    for (const auto& input : inputs) {
      input_names.push_back(input.name.c_str());
      // ONNX Runtime takes inputs by a pointer without const and only reads them.
      values.push_back(Wrap(const_cast<float*>(input.tensor.data.data()), input.tensor.shape));
    }
    std::vector<const char*> output_names;
    for (const auto& name : outputs_) output_names.push_back(name.c_str());
    const NetworkRun running;
    const auto results = session_.Run(options, input_names.data(), values.data(), values.size(),
                                      output_names.data(), output_names.size());
    std::vector<NamedTensor> outputs;
    for (size_t i = 0; i < results.size(); i++) {
      const Shape shape = results[i].GetTensorTypeAndShapeInfo().GetShape();
      const float* const data = results[i].GetTensorData<float>();
      outputs.push_back({outputs_[i], {shape, {data, data + ElementsOf(shape)}}});
    }
    return outputs;
  } catch (const Ort::Exception& error) {
    throw ExplainFailure("network " + name_, error.what());
  }
}

void CheckSize(const Ort::Value& value, size_t elements, const char* what) {
  const size_t found = value.GetTensorTypeAndShapeInfo().GetElementCount();
  if (found == elements) return;
  throw EngineError(ErrorCode::kModelInvalid, std::string(what) + ": expected " +
                                                  std::to_string(elements) +
                                                  " numbers, the network made " +
                                                  std::to_string(found));
}

}  // namespace echomimic
