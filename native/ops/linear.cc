#include "linear.h"

#include <algorithm>

#include "context.h"

namespace echomimic::ops {

namespace {

// Rows that one task computes; whole tiles of every kernel.
constexpr int64_t kRows = 96;

}  // namespace

Int8Linear::Int8Linear(const Ort::ConstKernelInfo& info) {
  int constant = 0;
  const auto weight = info.GetTensorConstantInput(1, &constant);
  Require(constant != 0, "the weights are not constant");
  const Shape shape = weight.GetTensorTypeAndShapeInfo().GetShape();
  Require(shape.size() == 2, "the weights are not [K, N]");
  inner_ = shape[0];
  weights_ = Int8Weights(weight.GetTensorData<float>(), 1, shape[0], shape[1],
                         {0, shape[1], 1});
}

void Int8Linear::Run(Ort::KernelContext& context) const {
  const auto& kernels = BestInt8Kernels();
  const Input x = Floats(context, 0);
  const Input bias = Floats(context, 2);
  const Input skip = Floats(context, 3);
  Require(!x.shape.empty() && x.shape.back() == inner_, "x is not [..., K]");
  Shape shape = x.shape;
  shape.back() = weights_.columns;
  Require(bias.data == nullptr || Product(bias.shape) == weights_.columns, "bias is not [N]");
  Require(skip.data == nullptr || skip.shape == shape, "skip is not like the result");
  float* const out = Output(context, shape);
  const int64_t rows = Product(x.shape) / inner_;
  Parallel(context, (rows + kRows - 1) / kRows, [&](int64_t unit) {
    const int64_t first = unit * kRows;
    const int64_t count = std::min(kRows, rows - first);
    auto* const bytes =
        reinterpret_cast<uint8_t*>(Scratch(static_cast<size_t>(kRows * weights_.depth / 4)));
    Int8Range ranges[kRows];
    const Int8Range* range_of[kRows];
    int64_t starts[kRows];
    for (int64_t i = 0; i < count; i++) {
      const float* const row = x.data + (first + i) * inner_;
      ranges[i] = kernels.range(row, inner_);
      range_of[i] = &ranges[i];
      starts[i] = i * weights_.depth;
      kernels.to_bytes(row, inner_, ranges[i], bytes + starts[i]);
    }
    const int64_t part = 0;
    const int64_t at = first * weights_.columns;
    kernels.multiply(weights_, {bytes, starts, &part, range_of, count, bias.data,
                                skip.data != nullptr ? skip.data + at : nullptr, out + at});
  });
}

}  // namespace echomimic::ops
