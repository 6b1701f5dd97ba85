#include "int8_ops.h"

#include <algorithm>
#include <cstring>

#include "context.h"
#include "kernels.h"

namespace echomimic::ops {

namespace {

// Rows that one task computes; whole tiles of every kernel.
constexpr int64_t kRows = 96;

struct Weight {
  Shape shape;
  const float* data;
};

Weight ConstantWeight(const Ort::ConstKernelInfo& info, size_t input = 1) {
  int constant = 0;
  const auto value = info.GetTensorConstantInput(input, &constant);
  Require(constant != 0, "the weights are not constant");
  return {value.GetTensorTypeAndShapeInfo().GetShape(), value.GetTensorData<float>()};
}

Int8Weights PackLinear(const Weight& weight) {
  Require(weight.shape.size() == 2, "the weights are not [K, N]");
  return Int8Weights(weight.data, 1, weight.shape[0], weight.shape[1], {0, weight.shape[1], 1});
}

// Up to kRows rows of `inner` floats times weights; `bytes` has room for the rows in bytes.
void MultiplyRows(const Int8Weights& weights, const float* in, int64_t inner, int64_t count,
                  const float* bias, const float* skip, float* out, uint8_t* bytes) {
  const auto& kernels = BestInt8Kernels();
  Int8Range ranges[kRows];
  const Int8Range* range_of[kRows];
  int64_t starts[kRows];
  int64_t places[kRows];
  for (int64_t i = 0; i < count; i++) {
    const float* const row = in + i * inner;
    ranges[i] = kernels.range(row, inner);
    range_of[i] = &ranges[i];
    starts[i] = i * weights.depth;
    places[i] = i * weights.columns;
    kernels.to_bytes(row, inner, ranges[i], bytes + starts[i]);
  }
  const int64_t part = 0;
  kernels.multiply(weights, {bytes, starts, &part, range_of, count, bias, skip, out, places});
}

// Weights [D, C, 3, 3] of a doubled image for one place of its pixels: taps that see the same pixel
// are added up. [D, C, 2, 2]
std::vector<float> Fold(const Weight& weight, int64_t below, int64_t right) {
  const int64_t pairs = weight.shape[0] * weight.shape[1];
  std::vector<float> folded(static_cast<size_t>(4 * pairs));
  // of three taps the first one sees the pixel before, or the last one the pixel behind
  const auto fold = [](int64_t tap, int64_t second) { return second != 0 ? tap / 2 : (tap + 1) / 2; };
  for (int64_t pair = 0; pair < pairs; pair++) {
    for (int64_t tap = 0; tap < 9; tap++) {
      folded[pair * 4 + fold(tap / 3, below) * 2 + fold(tap % 3, right)] +=
          weight.data[pair * 9 + tap];
    }
  }
  return folded;
}

Int8Weights PackConv(const float* weights, const Shape& shape, int64_t taps) {
  return Int8Weights(weights, taps, shape[1], shape[0], {1, taps, shape[1] * taps});
}

}  // namespace

Int8Linear::Int8Linear(const Ort::ConstKernelInfo& info)
    : inner_(ConstantWeight(info).shape[0]), weights_(PackLinear(ConstantWeight(info))) {}

void Int8Linear::Run(Ort::KernelContext& context) const {
  const Input x = Floats(context, 0);
  const Input bias = Floats(context, 2);
  const Input skip = Floats(context, 3);
  Require(!x.shape.empty() && x.shape.back() == inner_, "x is not [..., K]");
  Shape shape = x.shape;
  shape.back() = weights_.columns;
  Require(bias.data == nullptr || Product(bias.shape) == weights_.columns, "bias is not [N]");
  if (skip.data != nullptr) {
    Require(skip.shape.back() == weights_.columns && Product(skip.shape) == Product(shape),
            "skip is not like the result");
    shape = skip.shape;
  }
  float* const out = Output(context, shape);
  const int64_t rows = Product(x.shape) / inner_;
  Parallel(context, (rows + kRows - 1) / kRows, [&](int64_t unit) {
    const int64_t first = unit * kRows;
    const int64_t at = first * weights_.columns;
    auto* const bytes =
        reinterpret_cast<uint8_t*>(Scratch(static_cast<size_t>(kRows * weights_.depth / 4)));
    MultiplyRows(weights_, x.data + first * inner_, inner_, std::min(kRows, rows - first),
                 bias.data, skip.data != nullptr ? skip.data + at : nullptr, out + at, bytes);
  });
}

Int8FeedForward::Int8FeedForward(const Ort::ConstKernelInfo& info)
    : first_(PackLinear(ConstantWeight(info, 1))), second_(PackLinear(ConstantWeight(info, 3))) {
  const Shape first = ConstantWeight(info, 1).shape;
  width_ = first[0];
  inner_ = first[1] / 2;
  Require(ConstantWeight(info, 3).shape == Shape{inner_, width_} && first[1] == 2 * inner_,
          "the weights are not [C, 2 n] and [n, C]");
}

void Int8FeedForward::Run(Ort::KernelContext& context) const {
  const auto& kernels = BestKernels();
  const Input x = Floats(context, 0);
  const Input bias = Floats(context, 2);
  const Input skip = Floats(context, 4);
  Require(x.shape.size() == 2 && x.shape[1] == width_ && skip.shape == x.shape,
          "x is not [T, C] or skip not like it");
  Require(Product(bias.shape) == 2 * inner_, "bias is not [2 n]");
  float* const out = Output(context, x.shape);
  const int64_t rows = x.shape[0];
  // What lies between the two layers stays in the second cache.
  constexpr int64_t floats = 1 << 17;
  const int64_t step = std::clamp<int64_t>(floats / (2 * inner_) / 24 * 24, 24, kRows);
  Parallel(context, (rows + step - 1) / step, [&](int64_t unit) {
    const int64_t first = unit * step;
    const int64_t count = std::min(step, rows - first);
    const int64_t at = first * width_;
    float* const wide =
        Scratch(static_cast<size_t>(step * (3 * inner_ + std::max(first_.depth, second_.depth) / 4)));
    float* const narrow = wide + step * 2 * inner_;
    auto* const bytes = reinterpret_cast<uint8_t*>(narrow + step * inner_);
    MultiplyRows(first_, x.data + at, width_, count, nullptr, nullptr, wide, bytes);
    kernels.geglu(wide, bias.data, count, inner_, narrow);
    MultiplyRows(second_, narrow, inner_, count, nullptr, skip.data + at, out + at, bytes);
  });
}

Int8Conv::Int8Conv(const Ort::ConstKernelInfo& info)
    : stride_(info.GetAttribute<int64_t>("stride")),
      doubled_(info.GetAttribute<int64_t>("double") != 0),
      pads_(info.GetAttributes<int64_t>("pads")) {
  const Weight weight = ConstantWeight(info);
  const Shape& shape = weight.shape;
  Require(shape.size() == 4 && shape[2] == shape[3], "the weights are not [D, C, k, k]");
  Require(pads_.size() == 4 && stride_ > 0, "pads are not four, or no stride");
  kernel_ = shape[2];
  inner_ = shape[1];
  whole_ = PackConv(weight.data, shape, kernel_ * kernel_);
  if (!doubled_) return;
  Require(kernel_ == 3 && stride_ == 1 && pads_ == Shape{1, 1, 1, 1},
          "a doubled image keeps its size, with a kernel of 3x3");
  for (int64_t place = 0; place < 4; place++) {
    places_[place] = PackConv(Fold(weight, place / 2, place % 2).data(), shape, 4);
  }
}

void Int8Conv::Run(Ort::KernelContext& context) const {
  const auto& kernels = BestInt8Kernels();
  const Input x = Floats(context, 0);
  const Input bias = Floats(context, 2);
  const Input skip = Floats(context, 3);
  Require(x.shape.size() == 4 && x.shape[3] == inner_, "x is not [N, h, w, C]");
  const int64_t columns = whole_.columns;
  Require(bias.data == nullptr || Product(bias.shape) == columns, "bias is not [D]");
  const int64_t images = x.shape[0];
  const int64_t height = x.shape[1];
  const int64_t width = x.shape[2];
  // Sides of what the kernel sees: the image, doubled and cut.
  int64_t seen_height = doubled_ ? 2 * height : height;
  int64_t seen_width = doubled_ ? 2 * width : width;
  bool cut = false;
  if (doubled_ && context.GetInputCount() > 4 && context.GetInput(4)) {
    const Shape size = Integers(context, 4);
    Require(size.size() == 2 && size[0] <= seen_height && size[1] <= seen_width,
            "the doubled image is smaller than its result");
    cut = size[0] != seen_height || size[1] != seen_width;
    seen_height = size[0];
    seen_width = size[1];
  }
  const int64_t out_height = (seen_height + pads_[0] + pads_[2] - kernel_) / stride_ + 1;
  const int64_t out_width = (seen_width + pads_[1] + pads_[3] - kernel_) / stride_ + 1;
  Require(out_height > 0 && out_width > 0, "the image is smaller than the kernel");
  const Shape shape = {images, out_height, out_width, columns};
  Require(skip.data == nullptr || skip.shape == shape, "the skip is not like the result");
  float* const out = Output(context, shape);
  if (images == 0) return;

  // The images in bytes, zeros around them; a doubled one that is not cut stays as it is.
  const bool folded = doubled_ && !cut;
  const int64_t shift = cut ? 1 : 0;
  const int64_t rows = (folded ? height : seen_height) + pads_[0] + pads_[2];
  const int64_t across = (folded ? width : seen_width) + pads_[1] + pads_[3];
  const int64_t depth = whole_.depth;
  std::vector<uint8_t> bytes(static_cast<size_t>(images * rows * across * depth));
  std::vector<Int8Range> ranges(static_cast<size_t>(images));
  Parallel(context, images, [&](int64_t image) {
    const float* const pixels = x.data + image * height * width * inner_;
    uint8_t* const to = bytes.data() + image * rows * across * depth;
    const Int8Range range = kernels.range(pixels, height * width * inner_);
    ranges[image] = range;
    std::memset(to, range.zero, static_cast<size_t>(rows * across * depth));
    for (int64_t y = 0; y < rows - pads_[0] - pads_[2]; y++) {
      uint8_t* const row = to + ((y + pads_[0]) * across + pads_[1]) * depth;
      const float* const from = pixels + (y >> shift) * width * inner_;
      const int64_t length = across - pads_[1] - pads_[3];
      if (shift == 0 && depth == inner_) {
        kernels.to_bytes(from, length * inner_, range, row);
        continue;
      }
      for (int64_t at = 0; at < length; at++) {
        kernels.to_bytes(from + (at >> shift) * inner_, inner_, range, row + at * depth);
      }
    }
  });

  // Pixels of a place: all, or every fourth of a doubled image.
  const int64_t step = folded ? 2 : 1;
  const int64_t down = out_height / step;
  const int64_t pixels = down * (out_width / step);
  const int64_t side = folded ? 2 : kernel_;
  const int64_t blocks = (pixels + kRows - 1) / kRows;
  Parallel(context, images * blocks, [&](int64_t unit) {
    const int64_t image = unit / blocks;
    const int64_t first = unit % blocks * kRows;
    const int64_t count = std::min(kRows, pixels - first);
    const uint8_t* const in = bytes.data() + image * rows * across * depth;
    std::vector<int64_t> parts(static_cast<size_t>(side * side));
    for (int64_t part = 0; part < side * side; part++) {
      parts[part] = (part / side * across + part % side) * depth;
    }
    const Int8Range* range_of[kRows];
    std::fill_n(range_of, count, &ranges[image]);
    int64_t starts[kRows];
    int64_t places[kRows];
    for (int64_t place = 0; place < step * step; place++) {
      for (int64_t i = 0; i < count; i++) {
        const int64_t y = (first + i) / (out_width / step);
        const int64_t x_ = (first + i) % (out_width / step);
        const int64_t below = place / 2;
        const int64_t right = place % 2;
        starts[i] = ((y * stride_ + below) * across + x_ * stride_ + right) * depth;
        places[i] = ((image * out_height + y * step + below) * out_width + x_ * step + right) *
                    columns;
      }
      kernels.multiply(folded ? places_[place] : whole_,
                       {in, starts, parts.data(), range_of, count, bias.data, skip.data, out,
                        places});
    }
  });
}

}  // namespace echomimic::ops
