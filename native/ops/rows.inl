// Norms, activations and changes of layout: one pass each over what lies in memory.

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
      OPS_UNROLL
      for (int i = 0; i < kWidth; i++) square[i] = Load(tokens + (p + i) * channels + c);
      TransposeSquare(square);
      OPS_UNROLL
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
