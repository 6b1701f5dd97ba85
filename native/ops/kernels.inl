// Compiled once per instruction set by kernels.cc, inside a namespace that defines kWidth (floats
// per vector). Plain vector extensions of GCC and Clang; no header may be included here.

typedef float Vec __attribute__((vector_size(kWidth * 4), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(kWidth * 4), aligned(4), may_alias));

#define OPS_INLINE static inline __attribute__((always_inline))

OPS_INLINE Vec Load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
OPS_INLINE void Store(float* p, Vec v) { *reinterpret_cast<Vec*>(p) = v; }
OPS_INLINE Vec All(float x) { return Vec{} + x; }
OPS_INLINE Vec Max(Vec a, Vec b) { return a > b ? a : b; }
OPS_INLINE Vec Min(Vec a, Vec b) { return a < b ? a : b; }

OPS_INLINE float SumOf(Vec v) {
#if OPS_WIDTH == 16
  v += __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15);
  v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#elif OPS_WIDTH == 8
  v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3);
  v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 4, 5, 6, 7);
#else
  v += __builtin_shufflevector(v, v, 2, 3, 0, 1);
#endif
  return v[0] + v[1];
}

// The vectors' first halves element by element in turn, and their second halves.
#if OPS_WIDTH == 16
#define OPS_LOW(a, b) \
  __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define OPS_HIGH(a, b) \
  __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif OPS_WIDTH == 8
#define OPS_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define OPS_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define OPS_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define OPS_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif

// A square of kWidth rows becomes its columns.
OPS_INLINE void TransposeSquare(Vec* rows) {
#pragma GCC unroll 4
  for (int step = 1; step < kWidth; step *= 2) {
    Vec next[kWidth];
#pragma GCC unroll 8
    for (int i = 0; i < kWidth / 2; i++) {
      next[2 * i] = OPS_LOW(rows[i], rows[i + kWidth / 2]);
      next[2 * i + 1] = OPS_HIGH(rows[i], rows[i + kWidth / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kWidth; i++) rows[i] = next[i];
  }
}

// 2^x for x <= 127, relative error below 1.5e-7; 0 is 1.2e-38 or less.
OPS_INLINE Vec Exp2(Vec x) {
  x = Max(x, All(-126.0f));
  const Vec magic = All(12582912.0f);  // 1.5 * 2^23: the sum holds round(x) in its low bits
  const Vec shifted = x + magic;
  const Vec f = x - (shifted - magic);
  Vec p = All(1.3276472e-3f);
  p = p * f + 9.6755413e-3f;
  p = p * f + 5.5507133e-2f;
  p = p * f + 2.4022120e-1f;
  p = p * f + 6.9314697e-1f;
  p = p * f + 1.0000000716546713f;
  return reinterpret_cast<Vec>(reinterpret_cast<Ints>(p) + (reinterpret_cast<Ints>(shifted) << 23));
}

constexpr float kLog2E = 1.4426950408889634f;

OPS_INLINE Vec Silu(Vec x) {
  const Vec e = Exp2(Min(x * -kLog2E, All(126.0f)));
  return x / (e + 1.0f);
}

// x times the normal distribution function; erf to 1e-7 by 1 - 2^(-a q(a)).
OPS_INLINE Vec Gelu(Vec x) {
  const Vec s = x * 0.70710678f;
  const Vec a = Min(Max(s, -s), All(4.0f));
  Vec q = All(4.5358596e-05f);
  q = q * a - 4.4550764e-4f;
  q = q * a + 1.4894416e-3f;
  q = q * a + 7.7462953e-4f;
  q = q * a - 2.825368e-2f;
  q = q * a + 1.4848162e-1f;
  q = q * a + 9.184164e-1f;
  q = q * a + 1.6279086f;
  const Vec tail = Exp2(-a * q);  // erfc(a)
  return x * 0.5f * (s > 0.0f ? 2.0f - tail : tail);
}

OPS_INLINE int64_t RoundUp(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// Columns [0, columns) of kWidth rows, of which `valid` exist (the last stands in for the others):
// `out` + column * step holds the column.
OPS_INLINE void RowsToColumns(const float* rows, int64_t stride, int64_t valid, int64_t columns,
                              float* out, int64_t step) {
  int64_t c = 0;
  for (; c + kWidth <= columns; c += kWidth) {
    Vec square[kWidth];
#pragma GCC unroll 16
    for (int i = 0; i < kWidth; i++) {
      square[i] = Load(rows + (i < valid ? i : valid - 1) * stride + c);
    }
    TransposeSquare(square);
#pragma GCC unroll 16
    for (int i = 0; i < kWidth; i++) Store(out + (c + i) * step, square[i]);
  }
  for (; c < columns; c++) {
    for (int64_t i = 0; i < kWidth; i++) {
      out[c * step + i] = rows[(i < valid ? i : valid - 1) * stride + c];
    }
  }
}

// The way back: `columns` vectors become `valid` rows.
OPS_INLINE void ColumnsToRows(const float* in, int64_t step, int64_t columns, float* rows,
                              int64_t stride, int64_t valid) {
  int64_t c = 0;
  for (; c + kWidth <= columns; c += kWidth) {
    Vec square[kWidth];
#pragma GCC unroll 16
    for (int i = 0; i < kWidth; i++) square[i] = Load(in + (c + i) * step);
    TransposeSquare(square);
    if (valid == kWidth) {
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; i++) Store(rows + i * stride + c, square[i]);
    } else {
      for (int i = 0; i < valid; i++) Store(rows + i * stride + c, square[i]);
    }
  }
  for (; c < columns; c++) {
    for (int64_t i = 0; i < valid; i++) rows[i * stride + c] = in[c * step + i];
  }
}

// ---------------------------------------------------------------------------------------------
// Attention with the queries along the vector, so that nothing is summed across it: kBlock queries
// at a time, and their scores over a tile of keys stay in the first cache.

constexpr int64_t kVectors = 2;
constexpr int64_t kBlock = kVectors * kWidth;  // queries
constexpr int64_t kTile = 128;                 // keys
constexpr int64_t kKeys = 4;                   // at once
constexpr int64_t kDims = OPS_WIDTH == 16 ? 8 : 4;

static size_t AttentionScratch(const AttentionHead& h) {
  const int64_t keys = RoundUp(h.own.count + h.shared.count, kKeys);
  const int64_t dims = RoundUp(h.width, kDims);
  return static_cast<size_t>((h.width + dims) * keys + (kTile + h.width + dims) * kBlock);
}

OPS_INLINE void PackRows(const float* rows, int64_t stride, int64_t count, int64_t width,
                         int64_t step, float* packed) {
  for (int64_t i = 0; i < count; i++) {
    for (int64_t d = 0; d < width; d++) packed[i * step + d] = rows[i * stride + d];
  }
}

// Scores of a block of queries over kKeys keys.
OPS_INLINE void Scores(const float* query, int64_t width, const float* keys, float* scores,
                       Vec* best) {
  Vec s[kKeys][kVectors] = {};
  for (int64_t d = 0; d < width; d++) {
    Vec q[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; v++) q[v] = Load(query + d * kBlock + v * kWidth);
#pragma GCC unroll 4
    for (int j = 0; j < kKeys; j++) {
      const float k = keys[j * width + d];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; v++) s[j][v] += q[v] * k;
    }
  }
#pragma GCC unroll 4
  for (int j = 0; j < kKeys; j++) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; v++) {
      Store(scores + j * kBlock + v * kWidth, s[j][v]);
      best[v] = Max(best[v], s[j][v]);
    }
  }
}

// Adds kDims dimensions of `count` values, weighted, to `sums`.
OPS_INLINE void Mix(const float* weights, const float* values, int64_t step, int64_t count,
                    float* sums) {
  Vec acc[kDims][kVectors];
#pragma GCC unroll 8
  for (int d = 0; d < kDims; d++) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; v++) acc[d][v] = Load(sums + d * kBlock + v * kWidth);
  }
  for (int64_t j = 0; j < count; j++) {
    Vec w[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; v++) w[v] = Load(weights + j * kBlock + v * kWidth);
#pragma GCC unroll 8
    for (int d = 0; d < kDims; d++) {
      const float x = values[j * step + d];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; v++) acc[d][v] += w[v] * x;
    }
  }
#pragma GCC unroll 8
  for (int d = 0; d < kDims; d++) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; v++) Store(sums + d * kBlock + v * kWidth, acc[d][v]);
  }
}

static void Attention(const AttentionHead& h, float* scratch) {
  const int64_t width = h.width;
  const int64_t count = h.own.count + h.shared.count;
  const int64_t padded = RoundUp(count, kKeys);
  const int64_t dims = RoundUp(width, kDims);
  float* const keys = scratch;                    // [padded, width]
  float* const values = keys + padded * width;    // [padded, dims]
  float* const scores = values + padded * dims;   // [kTile, kBlock]
  float* const query = scores + kTile * kBlock;   // [width, kBlock]
  float* const sums = query + width * kBlock;     // [dims, kBlock]
  if (dims > width) {
    for (int64_t i = 0; i < padded * dims; i++) values[i] = 0;
  }
  for (int64_t i = count * width; i < padded * width; i++) keys[i] = 0;
  for (int64_t i = count * dims; i < padded * dims; i++) values[i] = 0;
  PackRows(h.own.keys, h.own.stride, h.own.count, width, width, keys);
  PackRows(h.own.values, h.own.stride, h.own.count, width, dims, values);
  PackRows(h.shared.keys, h.shared.stride, h.shared.count, width, width,
           keys + h.own.count * width);
  PackRows(h.shared.values, h.shared.stride, h.shared.count, width, dims,
           values + h.own.count * dims);
  for (int64_t first = 0; first < h.queries; first += kBlock) {
    for (int64_t v = 0; v < kVectors; v++) {
      const int64_t row = first + v * kWidth;
      const int64_t left = h.queries - row;
      // a block may have queries for its first vector only
      const float* const rows = h.query + (left > 0 ? row : h.queries - 1) * h.query_stride;
      RowsToColumns(rows, h.query_stride, left >= kWidth ? kWidth : left > 0 ? left : 1, width,
                    query + v * kWidth, kBlock);
    }
    for (int64_t i = 0; i < width * kBlock; i += kWidth) {
      Store(query + i, Load(query + i) * kLog2E);
    }
    for (int64_t i = 0; i < dims * kBlock; i += kWidth) Store(sums + i, Vec{});
    Vec top[kVectors];
    Vec total[kVectors];
    for (int v = 0; v < kVectors; v++) {
      top[v] = All(-3.0e38f);
      total[v] = Vec{};
    }
    for (int64_t from = 0; from < count; from += kTile) {
      const int64_t some = count - from < kTile ? count - from : kTile;
      Vec best[kVectors];
      for (int v = 0; v < kVectors; v++) best[v] = top[v];
      int64_t j = 0;
      for (; j + kKeys <= some; j += kKeys) {
        Scores(query, width, keys + (from + j) * width, scores + j * kBlock, best);
      }
      if (j < some) {
        Vec ignored[kVectors] = {};
        Scores(query, width, keys + (from + j) * width, scores + j * kBlock, ignored);
        for (; j < some; j++) {
          for (int v = 0; v < kVectors; v++) {
            best[v] = Max(best[v], Load(scores + j * kBlock + v * kWidth));
          }
        }
      }
      if (from > 0) {
        Vec fade[kVectors];
        for (int v = 0; v < kVectors; v++) {
          fade[v] = Exp2(top[v] - best[v]);
          total[v] *= fade[v];
        }
        for (int64_t d = 0; d < width; d++) {
          for (int v = 0; v < kVectors; v++) {
            float* const sum = sums + d * kBlock + v * kWidth;
            Store(sum, Load(sum) * fade[v]);
          }
        }
      }
      for (int v = 0; v < kVectors; v++) top[v] = best[v];
      for (j = 0; j < some; j++) {
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; v++) {
          float* const score = scores + j * kBlock + v * kWidth;
          const Vec w = Exp2(Load(score) - top[v]);
          total[v] += w;
          Store(score, w);
        }
      }
      for (int64_t d = 0; d < dims; d += kDims) {
        Mix(scores, values + from * dims + d, dims, some, sums + d * kBlock);
      }
    }
    for (int64_t v = 0; v < kVectors; v++) {
      const int64_t row = first + v * kWidth;
      const int64_t left = h.queries - row;
      if (left <= 0) break;
      const Vec whole = 1.0f / total[v];
      for (int64_t d = 0; d < width; d++) {
        float* const sum = sums + d * kBlock + v * kWidth;
        Store(sum, Load(sum) * whole);
      }
      ColumnsToRows(sums + v * kWidth, kBlock, width, h.out + row * h.out_stride, h.out_stride,
                    left >= kWidth ? kWidth : left);
    }
  }
}

// ---------------------------------------------------------------------------------------------
// Attention over frames with the positions along the vector.

// Heads that fill whole squares together, all of them where none do.
OPS_INLINE int64_t HeadGroup(const FrameAttention& a) {
  const int64_t width = a.channels / a.heads;
  for (int64_t some = 1; some < a.heads; some++) {
    if (a.heads % some == 0 && some * width % kWidth == 0) return some;
  }
  return a.heads;
}

static size_t FramesScratch(const FrameAttention& a) {
  const int64_t columns = HeadGroup(a) * (a.channels / a.heads);
  return static_cast<size_t>((a.frames * columns * 4 + a.frames) * kWidth);
}

static void Frames(const FrameAttention& a, float* scratch) {
  const int64_t frames = a.frames;
  const int64_t width = a.channels / a.heads;
  const int64_t some = HeadGroup(a);
  const int64_t columns = some * width;
  const int64_t part = frames * columns * kWidth;
  float* const parts = scratch;           // query, keys, values: [frames, columns]
  float* const mixed = parts + 3 * part;  // [frames, columns]
  float* const weights = mixed + part;    // [frames]
  for (int64_t c0 = 0; c0 < a.channels; c0 += columns) {
    for (int64_t f = 0; f < frames; f++) {
      for (int64_t which = 0; which < 3; which++) {
        float* const to = parts + which * part + f * columns * kWidth;
        const int64_t at = which * a.channels + c0;
        RowsToColumns(a.qkv + f * a.qkv_stride + at, 3 * a.channels, a.positions, columns, to,
                      kWidth);
        const float* const place = a.table + f * 3 * a.channels + at;
        const float gain = which == 0 ? kLog2E : 1.0f;
        for (int64_t c = 0; c < columns; c++) {
          Store(to + c * kWidth, (Load(to + c * kWidth) + place[c]) * gain);
        }
      }
    }
    for (int64_t head = 0; head < some; head++) {
      const float* const keys = parts + part + head * width * kWidth;
      const float* const values = keys + part;
      const int64_t step = columns * kWidth;
      for (int64_t i = 0; i < frames; i++) {
        const float* const query = parts + i * step + head * width * kWidth;
        Vec best = All(-3.0e38f);
        int64_t j = 0;
        for (; j + 4 <= frames; j += 4) {
          Vec s[4] = {};
          for (int64_t d = 0; d < width; d++) {
            const Vec q = Load(query + d * kWidth);
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) s[k] += q * Load(keys + (j + k) * step + d * kWidth);
          }
#pragma GCC unroll 4
          for (int k = 0; k < 4; k++) {
            best = Max(best, s[k]);
            Store(weights + (j + k) * kWidth, s[k]);
          }
        }
        for (; j < frames; j++) {
          Vec s = {};
          for (int64_t d = 0; d < width; d++) {
            s += Load(query + d * kWidth) * Load(keys + j * step + d * kWidth);
          }
          best = Max(best, s);
          Store(weights + j * kWidth, s);
        }
        Vec total = {};
        for (j = 0; j < frames; j++) {
          const Vec w = Exp2(Load(weights + j * kWidth) - best);
          total += w;
          Store(weights + j * kWidth, w);
        }
        const Vec whole = 1.0f / total;
        float* const out = mixed + i * step + head * width * kWidth;
        int64_t d = 0;
        for (; d + 4 <= width; d += 4) {
          Vec m[4] = {};
          for (j = 0; j < frames; j++) {
            const Vec w = Load(weights + j * kWidth);
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) m[k] += w * Load(values + j * step + (d + k) * kWidth);
          }
#pragma GCC unroll 4
          for (int k = 0; k < 4; k++) Store(out + (d + k) * kWidth, m[k] * whole);
        }
        for (; d < width; d++) {
          Vec m = {};
          for (j = 0; j < frames; j++) {
            m += Load(weights + j * kWidth) * Load(values + j * step + d * kWidth);
          }
          Store(out + d * kWidth, m * whole);
        }
      }
    }
    for (int64_t f = 0; f < frames; f++) {
      ColumnsToRows(mixed + f * columns * kWidth, kWidth, columns, a.out + f * a.out_stride + c0,
                    a.channels, a.positions);
    }
  }
}

// ---------------------------------------------------------------------------------------------

static void Norm(const GroupNorm& n) {
  const int64_t whole = n.size / kWidth * kWidth;
  const double count = static_cast<double>(n.channels) * static_cast<double>(n.size);
  double sum = 0;
  for (int64_t c = 0; c < n.channels; c++) {
    const float* const row = n.in + c * n.size;
    Vec s[4] = {};
    int64_t i = 0;
    for (; i + 4 * kWidth <= n.size; i += 4 * kWidth) {
      for (int k = 0; k < 4; k++) s[k] += Load(row + i + k * kWidth);
    }
    for (; i < whole; i += kWidth) s[0] += Load(row + i);
    float tail = 0;
    for (; i < n.size; i++) tail += row[i];
    sum += static_cast<double>(SumOf((s[0] + s[1]) + (s[2] + s[3])) + tail);
    if (n.shift != nullptr) sum += static_cast<double>(n.shift[c]) * static_cast<double>(n.size);
  }
  const double mean = sum / count;
  double squares = 0;
  for (int64_t c = 0; c < n.channels; c++) {
    const float* const row = n.in + c * n.size;
    const float off = static_cast<float>((n.shift != nullptr ? n.shift[c] : 0.0) - mean);
    Vec s[4] = {};
    int64_t i = 0;
    for (; i + 4 * kWidth <= n.size; i += 4 * kWidth) {
      for (int k = 0; k < 4; k++) {
        const Vec x = Load(row + i + k * kWidth) + off;
        s[k] += x * x;
      }
    }
    for (; i < whole; i += kWidth) {
      const Vec x = Load(row + i) + off;
      s[0] += x * x;
    }
    float tail = 0;
    for (; i < n.size; i++) tail += (row[i] + off) * (row[i] + off);
    squares += static_cast<double>(SumOf((s[0] + s[1]) + (s[2] + s[3])) + tail);
  }
  const double scale = 1.0 / __builtin_sqrt(squares / count + static_cast<double>(n.epsilon));
  for (int64_t c = 0; c < n.channels; c++) {
    const float* const row = n.in + c * n.size;
    float* const out = n.out + c * n.size;
    const float off = static_cast<float>((n.shift != nullptr ? n.shift[c] : 0.0) - mean);
    const float gain = static_cast<float>(n.gain != nullptr ? scale * n.gain[c] : scale);
    const float bias = n.bias != nullptr ? n.bias[c] : 0.0f;
    int64_t i = 0;
    if (n.silu) {
      for (; i < whole; i += kWidth) Store(out + i, Silu((Load(row + i) + off) * gain + bias));
    } else {
      for (; i < whole; i += kWidth) Store(out + i, (Load(row + i) + off) * gain + bias);
    }
    for (; i < n.size; i++) {
      const Vec x = All((row[i] + off) * gain + bias);
      out[i] = n.silu ? Silu(x)[0] : x[0];
    }
  }
}

static void Geglu(const float* in, const float* bias, int64_t rows, int64_t n, float* out) {
  for (int64_t r = 0; r < rows; r++) {
    const float* const hidden = in + r * 2 * n;
    const float* const gate = hidden + n;
    float* const to = out + r * n;
    int64_t i = 0;
    for (; i + kWidth <= n; i += kWidth) {
      Store(to + i, (Load(hidden + i) + Load(bias + i)) *
                        Gelu(Load(gate + i) + Load(bias + n + i)));
    }
    for (; i < n; i++) {
      to[i] = (hidden[i] + bias[i]) * Gelu(All(gate[i] + bias[n + i]))[0];
    }
  }
}

static void ResidualNorm(const ops::ResidualNorm& n) {
  const int64_t width = n.width;
  const int64_t whole = width / kWidth * kWidth;
  for (int64_t r = 0; r < n.rows; r++) {
    const float* const y = n.in + r * width;
    const float* const skip = n.skip != nullptr ? n.skip + r * width : nullptr;
    float* const sum = n.sum + r * width;
    float* const out = n.out + r * width;
    Vec total = {};
    float tail = 0;
    int64_t i = 0;
    if (skip != nullptr) {
      for (; i < whole; i += kWidth) {
        const Vec x = Load(y + i) + Load(n.add + i) + Load(skip + i);
        total += x;
        Store(sum + i, x);
      }
    } else {
      for (; i < whole; i += kWidth) {
        const Vec x = Load(y + i) + Load(n.add + i);
        total += x;
        Store(sum + i, x);
      }
    }
    for (; i < width; i++) {
      sum[i] = y[i] + n.add[i] + (skip != nullptr ? skip[i] : 0.0f);
      tail += sum[i];
    }
    const float mean = (SumOf(total) + tail) / static_cast<float>(width);
    total = Vec{};
    tail = 0;
    for (i = 0; i < whole; i += kWidth) {
      const Vec x = Load(sum + i) - mean;
      total += x * x;
    }
    for (; i < width; i++) tail += (sum[i] - mean) * (sum[i] - mean);
    const float variance = (SumOf(total) + tail) / static_cast<float>(width);
    const float scale = 1.0f / __builtin_sqrtf(variance + n.epsilon);
    for (i = 0; i < whole; i += kWidth) {
      Store(out + i, (Load(sum + i) - mean) * scale * Load(n.gain + i) + Load(n.bias + i));
    }
    for (; i < width; i++) out[i] = (sum[i] - mean) * scale * n.gain[i] + n.bias[i];
  }
}

static void Transpose(const float* in, int64_t channels, int64_t size, float* out) {
  int64_t c = 0;
  for (; c + kWidth <= channels; c += kWidth) {
    int64_t p = 0;
    for (; p + kWidth <= size; p += kWidth) {
      ColumnsToRows(in + c * size + p, size, kWidth, out + p * channels + c, channels, kWidth);
    }
    for (; p < size; p++) {
      for (int64_t i = c; i < c + kWidth; i++) out[p * channels + i] = in[i * size + p];
    }
  }
  for (; c < channels; c++) {
    for (int64_t p = 0; p < size; p++) out[p * channels + c] = in[c * size + p];
  }
}

// A row of the doubled image: left[0], right[0], left[1], right[1], ...
OPS_INLINE void Zip(const float* left, const float* right, int64_t count, float* out) {
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) {
    const Vec a = Load(left + i);
    const Vec b = Load(right + i);
    Store(out + 2 * i, OPS_LOW(a, b));
    Store(out + 2 * i + kWidth, OPS_HIGH(a, b));
  }
  for (; i < count; i++) {
    out[2 * i] = left[i];
    out[2 * i + 1] = right[i];
  }
}

static void Interleave(const float* in, int64_t step, int64_t height, int64_t width, float* out) {
  for (int64_t y = 0; y < height; y++) {
    for (int64_t below = 0; below < 2; below++) {
      const float* const left = in + 2 * below * step + (y + below) * (width + 1);
      Zip(left, left + step + 1, width, out + (2 * y + below) * 2 * width);
    }
  }
}

static void AddTokens(const float* tokens, const float* image, int64_t channels, int64_t size,
                      float* out) {
  int64_t p = 0;
  for (; p + kWidth <= size; p += kWidth) {
    int64_t c = 0;
    for (; c + kWidth <= channels; c += kWidth) {
      Vec square[kWidth];
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; i++) square[i] = Load(tokens + (p + i) * channels + c);
      TransposeSquare(square);
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; i++) {
        const int64_t at = (c + i) * size + p;
        Store(out + at, Load(image + at) + square[i]);
      }
    }
    for (; c < channels; c++) {
      for (int64_t i = p; i < p + kWidth; i++) {
        out[c * size + i] = image[c * size + i] + tokens[i * channels + c];
      }
    }
  }
  for (; p < size; p++) {
    for (int64_t c = 0; c < channels; c++) {
      out[c * size + p] = image[c * size + p] + tokens[p * channels + c];
    }
  }
}

#undef OPS_LOW
#undef OPS_HIGH
#undef OPS_INLINE

static constexpr Kernels kKernels = {kName,         kWidth, AttentionScratch, Attention,
                                     FramesScratch, Frames, Norm,             Geglu,
                                     ResidualNorm,  Transpose, AddTokens,
                                     Interleave};
