// Vectors of kWidth floats by the compilers' plain extensions, and what the kernels need of them.
// See kernels.inl.

typedef float Vec __attribute__((vector_size(kWidth * 4), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(kWidth * 4), aligned(4), may_alias));

// Before a loop that shall become straight code.
#if defined(__clang__)
#define OPS_UNROLL _Pragma("unroll")
#else
#define OPS_UNROLL _Pragma("GCC unroll 16")
#endif

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
  OPS_UNROLL
  for (int step = 1; step < kWidth; step *= 2) {
    Vec next[kWidth];
    OPS_UNROLL
    for (int i = 0; i < kWidth / 2; i++) {
      next[2 * i] = OPS_LOW(rows[i], rows[i + kWidth / 2]);
      next[2 * i + 1] = OPS_HIGH(rows[i], rows[i + kWidth / 2]);
    }
    OPS_UNROLL
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
    OPS_UNROLL
    for (int i = 0; i < kWidth; i++) {
      square[i] = Load(rows + (i < valid ? i : valid - 1) * stride + c);
    }
    TransposeSquare(square);
    OPS_UNROLL
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
    OPS_UNROLL
    for (int i = 0; i < kWidth; i++) square[i] = Load(in + (c + i) * step);
    TransposeSquare(square);
    if (valid == kWidth) {
      OPS_UNROLL
      for (int i = 0; i < kWidth; i++) Store(rows + i * stride + c, square[i]);
    } else {
      for (int i = 0; i < valid; i++) Store(rows + i * stride + c, square[i]);
    }
  }
  for (; c < columns; c++) {
    for (int64_t i = 0; i < valid; i++) rows[i * stride + c] = in[c * step + i];
  }
}
