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

// Normalisation of `groups` groups of `each` channels, side by side in `size` rows, then gain, bias
// and optionally SiLU. `shift`, where given, is added per channel before the statistics.
struct GroupNorm {
  const float* in;
  int64_t stride;  // from row to row, of `out` too
  const float* shift;
  const float* gain;  // null: no gain and bias
  const float* bias;
  int64_t groups;
  int64_t each;
  int64_t size;
  float epsilon;
  bool silu;
  float* out;
};

// How a convolution is computed: tap by tap, or 3x3 by Winograd's schemes with results of 2x2 or 4x4
// at once, or on an image whose sides are doubled by repeating every pixel.
enum class Scheme { kDirect, kTwo, kFour, kDoubled };

// out[r] = sum over parts p of rows[p * count + r] times the weights of part p. Weights lie in
// panels of two vectors of columns, the last of one where that is enough; a panel has a row for
// every value of every part.
struct MatrixProduct {
  const float* const* rows;  // [parts, count], `inner` values each
  int64_t count;
  int64_t parts;
  int64_t inner;
  const float* weights;
  int64_t columns;  // whole vectors
  float* out;
  int64_t out_stride;
};

// What of a square of pixels lies inside an image: rows `top` to `bottom` - 1, likewise columns.
// Pixels are `channels` floats apart, rows `row` floats.
struct Square {
  int64_t top;
  int64_t bottom;
  int64_t left;
  int64_t right;
  int64_t row;
  int64_t channels;
};

// A patch of an image, zero outside of it, to its coordinates, `step` floats apart. `in` is where the
// patch's first pixel lies or would lie.
struct Patch {
  const float* in;
  Square square;
  float* out;
  int64_t step;
};

// Coordinates, `step` floats apart, to a square of pixels plus bias and `skip`.
struct Tile {
  const float* in;
  int64_t step;
  const float* bias;  // or null
  const float* skip;  // or null, else like out
  Square square;
  float* out;
};

// out = in + bias + skip for `rows` rows.
struct Finish {
  const float* in;
  int64_t step;  // from row to row
  int64_t rows;
  int64_t channels;
  const float* bias;  // or null
  const float* skip;  // or null
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
  int64_t width;  // floats of a vector
  // Floats of scratch that `attention` and `frames` need.
  size_t (*attention_scratch)(const AttentionHead&);
  void (*attention)(const AttentionHead&, float* scratch);
  size_t (*frames_scratch)(const FrameAttention&);
  void (*frames)(const FrameAttention&, float* scratch);
  size_t (*group_norm_scratch)(const GroupNorm&);
  void (*group_norm)(const GroupNorm&, float* scratch);
  // (x[0..n) + bias) * gelu(x[n..2n) + bias[n..2n)) for each of `rows` rows.
  void (*geglu)(const float* in, const float* bias, int64_t rows, int64_t n, float* out);
  void (*residual_norm)(const ResidualNorm&);
  void (*multiply)(const MatrixProduct&);
  void (*to_coordinates)(Scheme, const Patch&);
  void (*from_coordinates)(Scheme, const Tile&);
  void (*finish)(const Finish&);
};

// The widest variant that this processor runs.
const Kernels& BestKernels();

}  // namespace echomimic::ops
