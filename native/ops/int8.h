#pragma once

#include <cstdint>
#include <vector>

// Matrix products in 8 bits, without ONNX Runtime. Rows are unsigned bytes with a scale and a zero
// of their own, weights signed bytes with a scale per column. Sums are exact, so that every
// processor gives the same numbers, whichever instructions it has.
namespace echomimic::ops {

// Floats as bytes: x is about (byte - zero) * scale.
struct Int8Range {
  float scale = 0;
  float inverse = 0;
  int32_t zero = 0;
};

// Steps between the weights that a product reads.
struct Int8Steps {
  int64_t part;
  int64_t inner;
  int64_t column;
};

// Weights [parts, inner, columns], packed; a part is a tap of a convolution.
class Int8Weights {
 public:
  Int8Weights() = default;
  Int8Weights(const float* weights, int64_t parts, int64_t inner, int64_t columns,
              const Int8Steps& steps);

  int64_t parts = 0;
  int64_t depth = 0;  // bytes of a row that a part reads: inner, rounded up to whole words
  int64_t columns = 0;
  // Panels of up to 64 columns; in a panel, word by word, four bytes of each column.
  std::vector<int8_t> bytes;
  std::vector<float> scales;  // of columns, rounded up to whole vectors of 16, as the next
  std::vector<int32_t> sums;
};

// out = row x weights + bias + skip, for `count` rows.
struct Int8Product {
  const uint8_t* in;
  const int64_t* rows;        // where each row starts in `in`
  const int64_t* parts;       // where each part starts in a row
  const Int8Range* const* ranges;  // of each row
  int64_t count;
  const float* bias;  // or null
  const float* skip;  // like out, or null
  float* out;
  const int64_t* places;  // where each row of `columns` floats starts in `out` and `skip`
};

struct Int8Kernels {
  const char* name;
  // The range of `count` floats, zero included.
  Int8Range (*range)(const float* in, int64_t count);
  void (*to_bytes)(const float* in, int64_t count, const Int8Range& range, uint8_t* out);
  void (*multiply)(const Int8Weights& weights, const Int8Product& product);
};

// Whether this processor multiplies bytes faster than floats (AVX-512 VNNI).
bool HasFastInt8();

// The fast variant where there is one, else the plain one.
const Int8Kernels& BestInt8Kernels();
// Plain C++ for any processor; the same numbers, slowly.
const Int8Kernels& PlainInt8Kernels();

}  // namespace echomimic::ops
