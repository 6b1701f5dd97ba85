#pragma once

#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels.h"

namespace echomimic::ops {

// One call: images [images, height, width, inner] to [images, out_height, out_width, outer].
struct ConvShape {
  int64_t images;
  int64_t height;
  int64_t width;
  int64_t inner;
  int64_t out_height;
  int64_t out_width;
  int64_t outer;
  int64_t kernel;
  int64_t stride;
  int64_t top;  // padding
  int64_t left;
  bool linear;   // weights are [inner, outer]
  bool doubled;  // the sides are doubled first, every pixel repeated, and cut to the result's
};

// The scheme with the least work for a shape.
Scheme BestScheme(const ConvShape& shape);

// Weights [outer, inner, kernel, kernel] or [inner, outer] as `MatrixProduct` wants them, one block
// per coordinate or one part per tap.
std::vector<float> PackWeights(const Ort::KernelContext& context, const float* weights,
                               const ConvShape& shape, Scheme scheme);

// The operator; see ops.h. Weights are packed when a scheme is first used.
struct Conv {
  static constexpr const char* name = "Conv";
  static constexpr size_t inputs = 5;
  static constexpr size_t outputs = 1;
  static constexpr size_t required = 2;
  static constexpr bool IsInteger(size_t i) { return i == 4; }

  explicit Conv(const Ort::ConstKernelInfo& info);
  void Run(Ort::KernelContext& context) const;

 private:
  const float* Weights(const Ort::KernelContext& context, const float* plain,
                       const ConvShape& shape, Scheme scheme) const;

  int64_t stride_;
  bool doubled_;
  std::vector<int64_t> pads_;  // top, left, bottom, right
  mutable std::mutex mutex_;
  mutable std::vector<float> packed_[4];
};

}  // namespace echomimic::ops
