#include "ops.h"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "context.h"
#include "conv.h"
#include "int8_ops.h"
#include "kernels.h"

namespace echomimic {

namespace {

using ops::BestKernels;
using ops::Conv;
using ops::Floats;
using ops::Input;
using ops::Integers;
using ops::Output;
using ops::Parallel;
using ops::Product;
using ops::Require;
using ops::Scratch;
using ops::Shape;

// Attention of every head of `images` images; `head` is the first head of the first image, with
// the steps from image to image.
struct Steps {
  int64_t query;
  int64_t own;
  int64_t out;
};

void AllHeads(const Ort::KernelContext& context, const ops::AttentionHead& first, int64_t images,
              int64_t heads, const Steps& steps) {
  const auto& kernels = BestKernels();
  // Enough parts for many threads, each worth packing the keys for.
  const int64_t parts = std::max<int64_t>(1, 64 / std::max<int64_t>(1, images * heads));
  const int64_t rows = std::max<int64_t>(64, (first.queries + parts - 1) / parts);
  const int64_t blocks = (first.queries + rows - 1) / rows;
  Parallel(context, images * heads * blocks, [&](int64_t unit) {
    const int64_t block = unit % blocks;
    const int64_t head = unit / blocks % heads;
    const int64_t image = unit / blocks / heads;
    ops::AttentionHead h = first;
    const int64_t column = head * h.width;
    h.query += image * steps.query + block * rows * h.query_stride + column;
    h.out += image * steps.out + block * rows * h.out_stride + column;
    h.queries = std::min(rows, first.queries - block * rows);
    h.own.keys += image * steps.own + column;
    h.own.values += image * steps.own + column;
    if (h.shared.count > 0) {
      h.shared.keys += column;
      h.shared.values += column;
    }
    kernels.attention(h, Scratch(kernels.attention_scratch(h)));
  });
}

struct SelfAttention {
  static constexpr const char* name = "SelfAttention";
  static constexpr size_t inputs = 4;
  static constexpr size_t outputs = 1;
  static constexpr size_t required = 2;
  static constexpr bool IsInteger(size_t i) { return i == 1; }

  explicit SelfAttention(const Ort::ConstKernelInfo& info)
      : heads(info.GetAttribute<int64_t>("heads")) {}

  void Run(Ort::KernelContext& context) const {
    const Input qkv = Floats(context, 0);
    const int64_t images = Product(Integers(context, 1));
    const Input keys = Floats(context, 2);
    const Input values = Floats(context, 3);
    Require(qkv.shape.size() == 2 && qkv.shape[1] % (3 * heads) == 0, "qkv is not [T, 3 C]");
    const int64_t tokens = qkv.shape[0];
    const int64_t channels = qkv.shape[1] / 3;
    Require(images > 0 && tokens % images == 0, "qkv does not hold whole images");
    Require((keys.data == nullptr) == (values.data == nullptr) && keys.shape == values.shape,
            "shared keys and values differ");
    const int64_t size = tokens / images;
    ops::AttentionHead first{};
    first.query = qkv.data;
    first.query_stride = 3 * channels;
    first.queries = size;
    first.own = {qkv.data + channels, qkv.data + 2 * channels, 3 * channels, size};
    if (keys.data != nullptr) {
      Require(keys.shape.back() == channels, "shared keys are not [1, L, C]");
      first.shared = {keys.data, values.data, channels, Product(keys.shape) / channels};
    }
    first.width = channels / heads;
    first.out = Output(context, {tokens, channels});
    first.out_stride = channels;
    if (tokens == 0) return;
    AllHeads(context, first, images, heads,
             {size * 3 * channels, size * 3 * channels, size * channels});
  }

  int64_t heads;
};

struct CrossAttention {
  static constexpr const char* name = "CrossAttention";
  static constexpr size_t inputs = 3;
  static constexpr size_t outputs = 1;
  static constexpr size_t required = 3;
  static constexpr bool IsInteger(size_t i) { return i == 2; }

  explicit CrossAttention(const Ort::ConstKernelInfo& info)
      : heads(info.GetAttribute<int64_t>("heads")), offset(info.GetAttribute<int64_t>("offset")) {}

  void Run(Ort::KernelContext& context) const {
    const Input q = Floats(context, 0);
    const Input kv = Floats(context, 1);
    const int64_t images = Product(Integers(context, 2));
    Require(q.shape.size() == 2 && q.shape[1] % heads == 0, "q is not [T, C]");
    const int64_t channels = q.shape[1];
    Require(kv.shape.size() == 2 && kv.shape[1] >= offset + 2 * channels, "kv is too narrow");
    Require(images > 0 && q.shape[0] % images == 0 && kv.shape[0] % images == 0 &&
                kv.shape[0] > 0,
            "q or kv does not hold whole images");
    const int64_t size = q.shape[0] / images;
    const int64_t count = kv.shape[0] / images;
    const int64_t columns = kv.shape[1];
    ops::AttentionHead first{};
    first.query = q.data;
    first.query_stride = channels;
    first.queries = size;
    first.own = {kv.data + offset, kv.data + offset + channels, columns, count};
    first.width = channels / heads;
    first.out = Output(context, q.shape);
    first.out_stride = channels;
    if (q.shape[0] == 0) return;
    AllHeads(context, first, images, heads, {size * channels, count * columns, size * channels});
  }

  int64_t heads;
  int64_t offset;
};

struct FrameAttention {
  static constexpr const char* name = "FrameAttention";
  static constexpr size_t inputs = 3;
  static constexpr size_t outputs = 1;
  static constexpr size_t required = 3;
  static constexpr bool IsInteger(size_t i) { return i == 2; }

  explicit FrameAttention(const Ort::ConstKernelInfo& info)
      : heads(info.GetAttribute<int64_t>("heads")) {}

  void Run(Ort::KernelContext& context) const {
    const auto& kernels = BestKernels();
    const Input qkv = Floats(context, 0);
    const Input table = Floats(context, 1);
    const Shape clip = Integers(context, 2);
    Require(qkv.shape.size() == 2 && qkv.shape[1] % (3 * heads) == 0, "qkv is not [T, 3 C]");
    const int64_t channels = qkv.shape[1] / 3;
    Require(clip.size() == 2 && clip[0] > 0 && clip[1] > 0 &&
                qkv.shape[0] % (clip[0] * clip[1]) == 0,
            "qkv does not hold whole clips");
    const int64_t frames = clip[1];
    Require(table.shape.size() == 2 && table.shape[1] == 3 * channels && table.shape[0] >= frames,
            "more frames than the position table has");
    const int64_t size = qkv.shape[0] / (clip[0] * frames);
    float* const out = Output(context, {qkv.shape[0], channels});
    const int64_t step = kernels.position_block;
    const int64_t blocks = (size + step - 1) / step;
    Parallel(context, clip[0] * blocks, [&](int64_t unit) {
      const int64_t batch = unit / blocks;
      const int64_t from = unit % blocks * step;
      const int64_t token = batch * frames * size + from;
      const ops::FrameAttention a{qkv.data + token * 3 * channels,
                                  size * 3 * channels,
                                  std::min(step, size - from),
                                  table.data,
                                  frames,
                                  heads,
                                  channels,
                                  out + token * channels,
                                  size * channels};
      kernels.frames(a, Scratch(kernels.frames_scratch(a)));
    });
  }

  int64_t heads;
};

struct GroupNorm {
  static constexpr const char* name = "GroupNorm";
  static constexpr size_t inputs = 4;
  static constexpr size_t outputs = 1;
  static constexpr size_t required = 1;
  static constexpr bool IsInteger(size_t) { return false; }

  explicit GroupNorm(const Ort::ConstKernelInfo& info)
      : groups(info.GetAttribute<int64_t>("groups")),
        epsilon(info.GetAttribute<float>("epsilon")),
        silu(info.GetAttribute<int64_t>("silu") != 0),
        tokens(info.GetAttribute<int64_t>("tokens") != 0) {}

  void Run(Ort::KernelContext& context) const {
    const auto& kernels = BestKernels();
    const Input x = Floats(context, 0);
    const Input gain = Floats(context, 1);
    const Input bias = Floats(context, 2);
    const Input shift = Floats(context, 3);
    Require(x.shape.size() == 4 && x.shape[3] % groups == 0, "x is not [N, h, w, C]");
    const int64_t channels = x.shape[3];
    const int64_t size = x.shape[1] * x.shape[2];
    const auto fits = [&](const Input& v) {
      return v.data == nullptr || Product(v.shape) == channels;
    };
    Require(fits(gain) && fits(bias) && fits(shift), "gain, bias or shift is not [C]");
    Require((gain.data == nullptr) == (bias.data == nullptr), "gain without bias");
    float* const out =
        Output(context, tokens ? Shape{x.shape[0] * size, channels} : x.shape);
    if (Product(x.shape) == 0) return;
    // Few images are cut into groups that fill some vectors.
    const int64_t each = channels / groups;
    const int64_t wanted = x.shape[0] >= 8 ? groups : (4 * kernels.width + each - 1) / each;
    const int64_t step = std::min(groups, wanted);
    const int64_t blocks = (groups + step - 1) / step;
    Parallel(context, x.shape[0] * blocks, [&](int64_t unit) {
      const int64_t group = unit % blocks * step;
      const int64_t channel = group * each;
      const int64_t at = unit / blocks * size * channels + channel;
      const auto part = [&](const Input& v) {
        return v.data != nullptr ? v.data + channel : nullptr;
      };
      const ops::GroupNorm n{x.data + at,
                             channels,
                             part(shift),
                             part(gain),
                             part(bias),
                             std::min(step, groups - group),
                             each,
                             size,
                             epsilon,
                             silu,
                             out + at};
      kernels.group_norm(n, Scratch(kernels.group_norm_scratch(n)));
    });
  }

  int64_t groups;
  float epsilon;
  bool silu;
  bool tokens;
};

struct Geglu {
  static constexpr const char* name = "Geglu";
  static constexpr size_t inputs = 2;
  static constexpr size_t outputs = 1;
  static constexpr size_t required = 2;
  static constexpr bool IsInteger(size_t) { return false; }

  explicit Geglu(const Ort::ConstKernelInfo&) {}

  void Run(Ort::KernelContext& context) const {
    const auto& kernels = BestKernels();
    const Input x = Floats(context, 0);
    const Input bias = Floats(context, 1);
    Require(x.shape.size() == 2 && x.shape[1] % 2 == 0 && Product(bias.shape) == x.shape[1],
            "x is not [T, 2 n] or bias not [2 n]");
    const int64_t rows = x.shape[0];
    const int64_t n = x.shape[1] / 2;
    float* const out = Output(context, {rows, n});
    constexpr int64_t floats = 16384;
    const int64_t step = std::max<int64_t>(1, floats / std::max<int64_t>(1, n));
    Parallel(context, (rows + step - 1) / step, [&](int64_t unit) {
      const int64_t from = unit * step;
      kernels.geglu(x.data + from * 2 * n, bias.data, std::min(step, rows - from), n,
                    out + from * n);
    });
  }
};

struct ResidualNorm {
  static constexpr const char* name = "ResidualNorm";
  static constexpr size_t inputs = 5;
  static constexpr size_t outputs = 2;
  static constexpr size_t required = 4;
  static constexpr bool IsInteger(size_t) { return false; }

  explicit ResidualNorm(const Ort::ConstKernelInfo& info)
      : epsilon(info.GetAttribute<float>("epsilon")) {}

  void Run(Ort::KernelContext& context) const {
    const auto& kernels = BestKernels();
    const Input x = Floats(context, 0);
    const Input add = Floats(context, 1);
    const Input gain = Floats(context, 2);
    const Input bias = Floats(context, 3);
    const Input skip = Floats(context, 4);
    Require(x.shape.size() == 2, "x is not [T, C]");
    const int64_t width = x.shape[1];
    for (const Input* v : {&add, &gain, &bias}) Require(Product(v->shape) == width, "not [C]");
    Require(skip.data == nullptr || skip.shape == x.shape, "x and skip differ");
    const int64_t rows = x.shape[0];
    float* const out = Output(context, x.shape, 0);
    float* const sum = Output(context, x.shape, 1);
    constexpr int64_t floats = 16384;
    const int64_t step = std::max<int64_t>(1, floats / std::max<int64_t>(1, width));
    Parallel(context, (rows + step - 1) / step, [&](int64_t unit) {
      const int64_t from = unit * step;
      const int64_t at = from * width;
      kernels.residual_norm({x.data + at, add.data,
                             skip.data != nullptr ? skip.data + at : nullptr, gain.data, bias.data,
                             std::min(step, rows - from), width, epsilon, sum + at, out + at});
    });
  }

  float epsilon;
};

// The kernel of an operator: failures become statuses, no exception crosses ONNX Runtime.
template <typename Body>
struct Kernel {
  explicit Kernel(const Ort::ConstKernelInfo& info) : body(info) {}

  OrtStatusPtr ComputeV2(OrtKernelContext* raw) {
    try {
      Ort::KernelContext context(raw);
      body.Run(context);
      return nullptr;
    } catch (const std::exception& error) {
      const std::string message = std::string(Body::name) + ": " + error.what();
      return Ort::Status(message.c_str(), ORT_FAIL).release();
    }
  }

  Body body;
};

template <typename Body>
struct Operator : Ort::CustomOpBase<Operator<Body>, Kernel<Body>, true> {
  OrtStatusPtr CreateKernelV2(const OrtApi&, const OrtKernelInfo* info, void** kernel) const {
    try {
      *kernel = new Kernel<Body>(Ort::ConstKernelInfo(info));
      return nullptr;
    } catch (const std::exception& error) {
      return Ort::Status(error.what(), ORT_FAIL).release();
    }
  }

  const char* GetName() const { return Body::name; }
  const char* GetExecutionProviderType() const { return "CPUExecutionProvider"; }
  size_t GetInputTypeCount() const { return Body::inputs; }
  ONNXTensorElementDataType GetInputType(size_t i) const {
    return Body::IsInteger(i) ? ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64
                              : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
  }
  OrtCustomOpInputOutputCharacteristic GetInputCharacteristic(size_t i) const {
    return i < Body::required ? INPUT_OUTPUT_REQUIRED : INPUT_OUTPUT_OPTIONAL;
  }
  size_t GetOutputTypeCount() const { return Body::outputs; }
  ONNXTensorElementDataType GetOutputType(size_t) const {
    return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
  }
};

struct Domain {
  Domain() : domain("echomimic") {
    domain.Add(&self_attention);
    domain.Add(&cross_attention);
    domain.Add(&frame_attention);
    domain.Add(&group_norm);
    domain.Add(&geglu);
    domain.Add(&residual_norm);
    domain.Add(&conv);
    domain.Add(&int8_linear);
    domain.Add(&int8_feed_forward);
    domain.Add(&int8_conv);
  }

  Operator<SelfAttention> self_attention;
  Operator<CrossAttention> cross_attention;
  Operator<FrameAttention> frame_attention;
  Operator<GroupNorm> group_norm;
  Operator<Geglu> geglu;
  Operator<ResidualNorm> residual_norm;
  Operator<Conv> conv;
  Operator<ops::Int8Linear> int8_linear;
  Operator<ops::Int8FeedForward> int8_feed_forward;
  Operator<ops::Int8Conv> int8_conv;
  Ort::CustomOpDomain domain;
};

}  // namespace

NetworkRun::NetworkRun() { ops::networks_running++; }
NetworkRun::~NetworkRun() { ops::networks_running--; }

void AddCpuOps(Ort::SessionOptions& options, int threads) {
  int most = ops::threads;
  while (most < threads && !ops::threads.compare_exchange_weak(most, threads)) {
  }
  // Never destroyed: sessions may outlive static objects while the process exits.
  static Domain* const domain = new Domain;
  options.Add(domain->domain);
}

}  // namespace echomimic
