// Norms, activations and changes of layout: one pass each over what lies in memory.

static size_t NormScratch(const GroupNorm& n) {
  return static_cast<size_t>(8 * RoundUp(n.groups * n.each, kWidth));
}

// Sums of the values and of their squares, less a pivot, over the rows of some channels: in float32
// over 64 rows and in double beyond. The pivot is the first row, so that neither cancels.
OPS_INLINE void Moments(const float* in, int64_t stride, int64_t size, int64_t count,
                        double* sums, double* squares) {
  const Vec pivot = LoadPart(in, count);
  for (int64_t from = 0; from < size; from += 64) {
    const int64_t to = from + 64 < size ? from + 64 : size;
    Vec s[2] = {};
    Vec q[2] = {};
    int64_t row = from;
    for (; row + 2 <= to; row += 2) {
      OPS_UNROLL
      for (int k = 0; k < 2; k++) {
        const Vec x = LoadPart(in + (row + k) * stride, count) - pivot;
        s[k] += x;
        q[k] += x * x;
      }
    }
    if (row < to) {
      const Vec x = LoadPart(in + row * stride, count) - pivot;
      s[0] += x;
      q[0] += x * x;
    }
    s[0] += s[1];
    q[0] += q[1];
    for (int i = 0; i < kWidth; i++) {
      sums[i] += static_cast<double>(s[0][i]);
      squares[i] += static_cast<double>(q[0][i]);
    }
  }
}

static void Norm(const GroupNorm& n, float* scratch) {
  const int64_t channels = n.groups * n.each;
  const int64_t padded = RoundUp(channels, kWidth);
  double* const sums = reinterpret_cast<double*>(scratch);
  double* const squares = sums + padded;
  float* const factor = scratch + 4 * padded;
  float* const offset = factor + padded;
  for (int64_t c = 0; c < 2 * padded; c++) sums[c] = 0;
  for (int64_t c = 0; c < channels; c += kWidth) {
    Moments(n.in + c, n.stride, n.size, channels - c, sums + c, squares + c);
  }
  const double size = static_cast<double>(n.size);
  for (int64_t g = 0; g < n.groups; g++) {
    const int64_t end = (g + 1) * n.each;
    // the channels' own means, with shift
    double mean = 0;
    for (int64_t c = g * n.each; c < end; c++) {
      const double shift = n.shift != nullptr ? n.shift[c] : 0.0;
      mean += sums[c] / size + static_cast<double>(n.in[c]) + shift;
    }
    mean /= static_cast<double>(n.each);
    double variance = 0;
    for (int64_t c = g * n.each; c < end; c++) {
      const double shift = n.shift != nullptr ? n.shift[c] : 0.0;
      const double own = sums[c] / size;
      const double off = own + static_cast<double>(n.in[c]) + shift - mean;
      variance += squares[c] / size - own * own + off * off;
    }
    variance /= static_cast<double>(n.each);
    variance = variance > 0 ? variance : 0;
    const double scale = 1.0 / __builtin_sqrt(variance + static_cast<double>(n.epsilon));
    for (int64_t c = g * n.each; c < end; c++) {
      const double shift = n.shift != nullptr ? n.shift[c] : 0.0;
      factor[c] = static_cast<float>(n.gain != nullptr ? scale * n.gain[c] : scale);
      offset[c] = static_cast<float>(shift - mean);
    }
  }
  for (int64_t row = 0; row < n.size; row++) {
    const float* const in = n.in + row * n.stride;
    float* const out = n.out + row * n.stride;
    for (int64_t c = 0; c < channels; c += kWidth) {
      const int64_t count = channels - c;
      Vec x = (LoadPart(in + c, count) + Load(offset + c)) * Load(factor + c);
      if (n.bias != nullptr) x += LoadPart(n.bias + c, count);
      StorePart(out + c, n.silu ? Silu(x) : x, count);
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
