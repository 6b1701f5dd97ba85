// Convolutions as products of rows and packed weights. Winograd's schemes turn square patches of the
// image into coordinates, in which a convolution is one product per coordinate, and turn the sums
// back into squares of the result; fewer products than the taps would take. The channels lie along
// the vector.

constexpr int kProductVectors = 2;
constexpr int kProductRows = OPS_WIDTH == 16 ? 12 : 6;

OPS_INLINE Vec LoadPart(const float* p, int64_t count) {
  if (count >= kWidth) return Load(p);
  Vec v = {};
  for (int i = 0; i < count; i++) v[i] = p[i];
  return v;
}

OPS_INLINE void StorePart(float* p, Vec v, int64_t count) {
  if (count >= kWidth) return Store(p, v);
  for (int i = 0; i < count; i++) p[i] = v[i];
}

// `rows` rows from row `from` on, times one panel of `vectors` vectors.
OPS_INLINE void Panel(const ops::MatrixProduct& p, int64_t from, int rows, int vectors,
                      const float* weights, float* out) {
  Vec sums[kProductRows][kProductVectors] = {};
  for (int64_t part = 0; part < p.parts; part++) {
    const float* const* const row = p.rows + part * p.count + from;
    const float* in[kProductRows];
    OPS_UNROLL
    for (int r = 0; r < rows; r++) in[r] = row[r];
    for (int64_t k = 0; k < p.inner; k++) {
      Vec w[kProductVectors];
      OPS_UNROLL
      for (int v = 0; v < vectors; v++) w[v] = Load(weights + v * kWidth);
      weights += vectors * kWidth;
      OPS_UNROLL
      for (int r = 0; r < rows; r++) {
        const Vec x = All(in[r][k]);
        OPS_UNROLL
        for (int v = 0; v < vectors; v++) sums[r][v] += x * w[v];
      }
    }
  }
  OPS_UNROLL
  for (int r = 0; r < rows; r++) {
    OPS_UNROLL
    for (int v = 0; v < vectors; v++) {
      Store(out + (from + r) * p.out_stride + v * kWidth, sums[r][v]);
    }
  }
}

OPS_INLINE void PanelRows(const ops::MatrixProduct& p, int vectors, const float* weights, float* out) {
  int64_t r = 0;
  for (; r + kProductRows <= p.count; r += kProductRows) {
    Panel(p, r, kProductRows, vectors, weights, out);
  }
#if OPS_WIDTH == 16
  for (; r + 6 <= p.count; r += 6) Panel(p, r, 6, vectors, weights, out);
#endif
  for (; r + 2 <= p.count; r += 2) Panel(p, r, 2, vectors, weights, out);
  for (; r < p.count; r++) Panel(p, r, 1, vectors, weights, out);
}

static void Multiply(const ops::MatrixProduct& p) {
  const int64_t step = p.parts * p.inner * kWidth;
  const float* weights = p.weights;
  int64_t c = 0;
  for (; c + 2 * kWidth <= p.columns; c += 2 * kWidth) {
    PanelRows(p, 2, weights, p.out + c);
    weights += 2 * step;
  }
  if (c < p.columns) PanelRows(p, 1, weights, p.out + c);
}

// One dimension of a patch to its coordinates.
OPS_INLINE void Spread(Scheme scheme, const Vec* d, int in, Vec* t, int out) {
  if (scheme == Scheme::kDoubled) {
    t[0] = d[0] - d[in];
    t[out] = d[in];
    t[2 * out] = d[2 * in] - d[in];
  } else if (scheme == Scheme::kTwo) {
    t[0] = d[0] - d[2 * in];
    t[out] = d[in] + d[2 * in];
    t[2 * out] = d[2 * in] - d[in];
    t[3 * out] = d[in] - d[3 * in];
  } else {
    const Vec a = d[4 * in] - 4.0f * d[2 * in];
    const Vec b = d[3 * in] - 4.0f * d[in];
    const Vec e = d[4 * in] - d[2 * in];
    const Vec f = 2.0f * (d[3 * in] - d[in]);
    t[0] = 4.0f * (d[0] - d[2 * in]) + e;
    t[out] = a + b;
    t[2 * out] = a - b;
    t[3 * out] = e + f;
    t[4 * out] = e - f;
    t[5 * out] = 4.0f * (d[in] - d[3 * in]) + (d[5 * in] - d[3 * in]);
  }
}

// One dimension of coordinates back to places.
OPS_INLINE void Gather(Scheme scheme, const Vec* m, int in, Vec* y, int out) {
  if (scheme == Scheme::kDoubled) {
    y[0] = m[0] + m[in];
    y[out] = m[in] + m[2 * in];
  } else if (scheme == Scheme::kTwo) {
    y[0] = m[0] + m[in] + m[2 * in];
    y[out] = m[in] - m[2 * in] - m[3 * in];
  } else {
    const Vec a = m[in] + m[2 * in];
    const Vec b = m[in] - m[2 * in];
    const Vec e = m[3 * in] + m[4 * in];
    const Vec f = m[3 * in] - m[4 * in];
    y[0] = m[0] + a + e;
    y[out] = b + 2.0f * f;
    y[2 * out] = a + 4.0f * e;
    y[3 * out] = b + 8.0f * f + m[5 * in];
  }
}

OPS_INLINE void SpreadTile(Scheme scheme, int patch, bool whole, const ops::Patch& p) {
  const ops::Square q = p.square;
  for (int64_t c = 0; c < q.channels; c += kWidth) {
    const int64_t count = q.channels - c;
    Vec half[36];
    OPS_UNROLL
    for (int x = 0; x < patch; x++) {
      Vec column[6];
      OPS_UNROLL
      for (int y = 0; y < patch; y++) {
        const bool inside = whole || (y >= q.top && y < q.bottom && x >= q.left && x < q.right);
        column[y] = inside ? LoadPart(p.in + y * q.row + x * q.channels + c, count) : Vec{};
      }
      Spread(scheme, column, 1, half + x, patch);
    }
    OPS_UNROLL
    for (int y = 0; y < patch; y++) {
      Vec row[6];
      Spread(scheme, half + y * patch, 1, row, 1);
      OPS_UNROLL
      for (int x = 0; x < patch; x++) Store(p.out + (y * patch + x) * p.step + c, row[x]);
    }
  }
}

OPS_INLINE void SpreadAny(Scheme scheme, int patch, const ops::Patch& p) {
  const ops::Square& q = p.square;
  if (q.top == 0 && q.left == 0 && q.bottom == patch && q.right == patch) {
    SpreadTile(scheme, patch, true, p);
  } else {
    SpreadTile(scheme, patch, false, p);
  }
}

OPS_INLINE void GatherTile(Scheme scheme, int patch, int tile, const ops::Tile& t) {
  const ops::Square q = t.square;
  for (int64_t c = 0; c < q.channels; c += kWidth) {
    const int64_t count = q.channels - c;
    Vec half[24];
    OPS_UNROLL
    for (int x = 0; x < patch; x++) {
      Vec column[6];
      OPS_UNROLL
      for (int y = 0; y < patch; y++) column[y] = Load(t.in + (y * patch + x) * t.step + c);
      Gather(scheme, column, 1, half + x, patch);
    }
    const Vec bias = t.bias != nullptr ? LoadPart(t.bias + c, count) : Vec{};
    OPS_UNROLL
    for (int y = 0; y < tile; y++) {
      if (y >= q.bottom) break;
      Vec row[4];
      Gather(scheme, half + y * patch, 1, row, 1);
      OPS_UNROLL
      for (int x = 0; x < tile; x++) {
        if (x >= q.right) break;
        const int64_t at = y * q.row + x * q.channels + c;
        Vec sum = row[x] + bias;
        if (t.skip != nullptr) sum += LoadPart(t.skip + at, count);
        StorePart(t.out + at, sum, count);
      }
    }
  }
}

static void ToCoordinates(Scheme scheme, const ops::Patch& p) {
  if (scheme == Scheme::kDoubled) return SpreadAny(Scheme::kDoubled, 3, p);
  if (scheme == Scheme::kTwo) return SpreadAny(Scheme::kTwo, 4, p);
  SpreadAny(Scheme::kFour, 6, p);
}

static void FromCoordinates(Scheme scheme, const ops::Tile& t) {
  if (scheme == Scheme::kDoubled) return GatherTile(Scheme::kDoubled, 3, 2, t);
  if (scheme == Scheme::kTwo) return GatherTile(Scheme::kTwo, 4, 2, t);
  GatherTile(Scheme::kFour, 6, 4, t);
}

static void FinishRows(const ops::Finish& f) {
  for (int64_t r = 0; r < f.rows; r++) {
    const float* const in = f.in + r * f.step;
    float* const out = f.out + r * f.channels;
    for (int64_t c = 0; c < f.channels; c += kWidth) {
      const int64_t count = f.channels - c;
      Vec sum = Load(in + c);
      if (f.bias != nullptr) sum += LoadPart(f.bias + c, count);
      if (f.skip != nullptr) sum += LoadPart(f.skip + r * f.channels + c, count);
      StorePart(out + c, sum, count);
    }
  }
}
