#pragma once

#include <cstddef>
#include <cstdint>

// The arithmetic of the CPU operators, without ONNX Runtime. Rows are tokens; a stride counts
// floats. Every function works on its own part of the output and may run on any thread.
namespace echomimic::ops {

// Keys and values of one attention: rows of a matrix, `keys + i * stride`.
struct KeyValues {
  const float* keys = nullptr;
  const float* values = nullptr;
  int64_t stride = 0;
  int64_t count = 0;
};

// One head over `queries` rows. The scale 1 / sqrt(width) is part of the queries.
struct AttentionHead {
  const float* query;
  int64_t query_stride;
  int64_t queries;
  KeyValues own;
  KeyValues shared;  // the bank; count 0 without
  int64_t width;     // of the head
  float* out;
  int64_t out_stride;
};

// Attention over frames, all heads, of `positions` neighbours (at most `position_block` of the
// kernels). `qkv` and `out` point at the first position in the first frame; query, keys and values
// of a token stand side by side. `table` [frames, 3 C] is added to each frame's.
struct FrameAttention {
  const float* qkv;
  int64_t qkv_stride;  // from frame to frame
  int64_t positions;
  const float* table;
  int64_t frames;
  int64_t heads;
  int64_t channels;
  float* out;
  int64_t out_stride;
};

// Normalisation of `channels` rows of `size` values with common statistics, then gain, bias and
// optionally SiLU. `shift`, where given, is added per channel before the statistics.
struct GroupNorm {
  const float* in;
  const float* shift;
  const float* gain;  // null: no gain and bias
  const float* bias;
  int64_t channels;
  int64_t size;
  float epsilon;
  bool silu;
  float* out;
};

// sum = in + add (+ skip) and out = layer norm of it, for `rows` rows.
struct ResidualNorm {
  const float* in;
  const float* add;   // [width]
  const float* skip;  // like in, or null
  const float* gain;
  const float* bias;
  int64_t rows;
  int64_t width;
  float epsilon;
  float* sum;
  float* out;
};

struct Kernels {
  const char* name;
  int64_t position_block;
  // Floats of scratch that `attention` and `frames` need.
  size_t (*attention_scratch)(const AttentionHead&);
  void (*attention)(const AttentionHead&, float* scratch);
  size_t (*frames_scratch)(const FrameAttention&);
  void (*frames)(const FrameAttention&, float* scratch);
  void (*group_norm)(const GroupNorm&);
  // (x[0..n) + bias) * gelu(x[n..2n) + bias[n..2n)) for each of `rows` rows.
  void (*geglu)(const float* in, const float* bias, int64_t rows, int64_t n, float* out);
  void (*residual_norm)(const ResidualNorm&);
  // [channels, size] to [size, channels].
  void (*transpose)(const float* in, int64_t channels, int64_t size, float* out);
  // [size, channels] plus the image [channels, size], as an image.
  void (*add_tokens)(const float* tokens, const float* image, int64_t channels, int64_t size,
                     float* out);
  // Four planes of (height + 1) x (width + 1), `step` floats apart, to one of 2 height x 2 width:
  // each gives one place of every 2x2 square, from its row and column 0 or 1 on.
  void (*interleave)(const float* in, int64_t step, int64_t height, int64_t width, float* out);
};

// The widest variant that this processor runs.
const Kernels& BestKernels();

}  // namespace echomimic::ops
