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
    OPS_UNROLL
    for (int v = 0; v < kVectors; v++) q[v] = Load(query + d * kBlock + v * kWidth);
    OPS_UNROLL
    for (int j = 0; j < kKeys; j++) {
      const float k = keys[j * width + d];
      OPS_UNROLL
      for (int v = 0; v < kVectors; v++) s[j][v] += q[v] * k;
    }
  }
  OPS_UNROLL
  for (int j = 0; j < kKeys; j++) {
    OPS_UNROLL
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
  OPS_UNROLL
  for (int d = 0; d < kDims; d++) {
    OPS_UNROLL
    for (int v = 0; v < kVectors; v++) acc[d][v] = Load(sums + d * kBlock + v * kWidth);
  }
  for (int64_t j = 0; j < count; j++) {
    Vec w[kVectors];
    OPS_UNROLL
    for (int v = 0; v < kVectors; v++) w[v] = Load(weights + j * kBlock + v * kWidth);
    OPS_UNROLL
    for (int d = 0; d < kDims; d++) {
      const float x = values[j * step + d];
      OPS_UNROLL
      for (int v = 0; v < kVectors; v++) acc[d][v] += w[v] * x;
    }
  }
  OPS_UNROLL
  for (int d = 0; d < kDims; d++) {
    OPS_UNROLL
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
        OPS_UNROLL
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
            OPS_UNROLL
            for (int k = 0; k < 4; k++) s[k] += q * Load(keys + (j + k) * step + d * kWidth);
          }
          OPS_UNROLL
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
            OPS_UNROLL
            for (int k = 0; k < 4; k++) m[k] += w * Load(values + j * step + (d + k) * kWidth);
          }
          OPS_UNROLL
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
