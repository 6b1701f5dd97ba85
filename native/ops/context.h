#pragma once

#include <onnxruntime_cxx_api.h>

#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <vector>

// What the operators need of ONNX Runtime's kernel context.
namespace echomimic::ops {

using Shape = std::vector<int64_t>;

inline void Require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

inline int64_t Product(const Shape& shape, size_t from = 0) {
  int64_t product = 1;
  for (size_t i = from; i < shape.size(); i++) product *= shape[i];
  return product;
}

// A thread's scratch, as large as its largest task was.
inline float* Scratch(size_t floats) {
  thread_local std::vector<float> memory;
  constexpr size_t line = 16;
  if (memory.size() < floats + line) memory.resize(floats + line);
  const auto address = reinterpret_cast<uintptr_t>(memory.data());
  return memory.data() + (line - address / 4 % line) % line;
}

// How many networks run at this moment, and how many threads a session has at most.
inline std::atomic<int> networks_running{0};
inline std::atomic<int> threads{1};

// Runs body(0) to body(units - 1), on the session's threads if any of them has nothing else to do:
// where every core runs a network of its own, handing work to another costs more than it brings.
template <typename Body>
void Parallel(const Ort::KernelContext& context, int64_t units, const Body& body) {
  if (units == 1 || networks_running >= threads) {
    for (int64_t i = 0; i < units; i++) body(i);
    return;
  }
  context.ParallelFor(
      [](void* data, size_t i) { (*static_cast<const Body*>(data))(static_cast<int64_t>(i)); },
      static_cast<size_t>(units), 0, const_cast<Body*>(&body));
}

// Inputs that are not there are empty.
struct Input {
  Shape shape;
  const float* data = nullptr;
};

inline Input Floats(const Ort::KernelContext& context, size_t index) {
  if (index >= context.GetInputCount()) return {};
  const auto value = context.GetInput(index);
  if (!value) return {};
  return {value.GetTensorTypeAndShapeInfo().GetShape(), value.GetTensorData<float>()};
}

inline Shape Integers(const Ort::KernelContext& context, size_t index) {
  if (index >= context.GetInputCount()) return {};
  const auto value = context.GetInput(index);
  if (!value) return {};
  const int64_t* const data = value.GetTensorData<int64_t>();
  return {data, data + value.GetTensorTypeAndShapeInfo().GetElementCount()};
}

inline float* Output(Ort::KernelContext& context, const Shape& shape, size_t index = 0) {
  return context.GetOutput(index, shape).GetTensorMutableData<float>();
}

}  // namespace echomimic::ops
