#pragma once

#include <onnxruntime_cxx_api.h>

#include <array>
#include <cstdint>
#include <vector>

#include "int8.h"

namespace echomimic::ops {

// The operators in 8 bits; see ops.h. Weights become bytes when a session is made.

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

struct Int8FeedForward {
  static constexpr const char* name = "Int8FeedForward";
  static constexpr size_t inputs = 5;
  static constexpr size_t outputs = 1;
  static constexpr size_t required = 5;
  static constexpr bool IsInteger(size_t) { return false; }

  explicit Int8FeedForward(const Ort::ConstKernelInfo& info);
  void Run(Ort::KernelContext& context) const;

 private:
  int64_t width_;
  int64_t inner_;
  Int8Weights first_;
  Int8Weights second_;
};

struct Int8Conv {
  static constexpr const char* name = "Int8Conv";
  static constexpr size_t inputs = 5;
  static constexpr size_t outputs = 1;
  static constexpr size_t required = 2;
  static constexpr bool IsInteger(size_t i) { return i == 4; }

  explicit Int8Conv(const Ort::ConstKernelInfo& info);
  void Run(Ort::KernelContext& context) const;

 private:
  int64_t kernel_ = 0;
  int64_t inner_ = 0;
  int64_t stride_;
  bool doubled_;
  std::vector<int64_t> pads_;  // top, left, bottom, right
  Int8Weights whole_;
  // A doubled image repeats every pixel, so each place of a doubled pixel sees 2x2 pixels: above
  // left, above right, below left, below right.
  std::array<Int8Weights, 4> places_;
};

}  // namespace echomimic::ops
