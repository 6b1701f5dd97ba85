#pragma once

#include <onnxruntime_cxx_api.h>

#include <cstdint>

#include "int8.h"

namespace echomimic::ops {

// The operator Int8Linear; see ops.h. Weights become bytes when a session is made.
struct Int8Linear {
  static constexpr const char* name = "Int8Linear";
  static constexpr size_t inputs = 4;
  static constexpr size_t outputs = 1;
  static constexpr size_t required = 2;
  static constexpr bool IsInteger(size_t) { return false; }

  explicit Int8Linear(const Ort::ConstKernelInfo& info);
  void Run(Ort::KernelContext& context) const;

 private:
  int64_t inner_ = 0;
  Int8Weights weights_;
};

}  // namespace echomimic::ops
