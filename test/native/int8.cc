// Products in 8 bits, over random shapes: every variant of the kernels gives the same bits, and
// their distance from the product in double precision is what rounding explains.
//
//   int8 ROUNDS SEED
#include "../../native/ops/int8.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

using namespace echomimic::ops;

namespace {

struct Case {
  int64_t rows, parts, inner, columns;
  bool bias, skip;
  std::vector<float> in, weights, add, residual;
};

class Numbers {
 public:
  explicit Numbers(uint64_t seed) : random_(seed) {}
  int64_t Whole(int64_t from, int64_t to) {
    return std::uniform_int_distribution<int64_t>(from, to)(random_);
  }
  std::vector<float> Some(int64_t count, float size) {
    std::normal_distribution<float> normal(0.3f * size, size);
    std::vector<float> numbers(static_cast<size_t>(count));
    for (auto& x : numbers) x = normal(random_);
    return numbers;
  }

 private:
  std::mt19937_64 random_;
};

// Rows of all parts one after the other.
std::vector<float> Multiply(const Int8Kernels& kernels, const Int8Weights& weights, const Case& c) {
  const int64_t length = c.parts * weights.depth;
  std::vector<uint8_t> bytes(static_cast<size_t>(c.rows * length));
  std::vector<Int8Range> ranges(static_cast<size_t>(c.rows));
  std::vector<const Int8Range*> of_row;
  std::vector<int64_t> rows, parts, places;
  for (int64_t p = 0; p < c.parts; p++) parts.push_back(p * weights.depth);
  for (int64_t r = 0; r < c.rows; r++) {
    const float* const row = c.in.data() + r * c.parts * c.inner;
    ranges[r] = kernels.range(row, c.parts * c.inner);
    of_row.push_back(&ranges[r]);
    rows.push_back(r * length);
    // the other way round
    places.push_back((c.rows - 1 - r) * c.columns);
    for (int64_t p = 0; p < c.parts; p++) {
      kernels.to_bytes(row + p * c.inner, c.inner, ranges[r], bytes.data() + rows[r] + parts[p]);
    }
  }
  std::vector<float> out(static_cast<size_t>(c.rows * c.columns), -1e30f);
  kernels.multiply(weights, {bytes.data(), rows.data(), parts.data(), of_row.data(), c.rows,
                             c.bias ? c.add.data() : nullptr,
                             c.skip ? c.residual.data() : nullptr, out.data(),
                             places.data()});
  return out;
}

// How many numbers are farther from the truth than half a step of each factor allows.
int64_t Beyond(const Case& c, const Int8Weights& weights, const std::vector<float>& out) {
  int64_t beyond = 0;
  const int64_t depth = c.parts * c.inner;
  for (int64_t r = 0; r < c.rows; r++) {
    const float* const row = c.in.data() + r * depth;
    const int64_t at = (c.rows - 1 - r) * c.columns;
    const auto [low, high] = std::minmax_element(row, row + depth);
    // the zero is rounded too, which moves all of a row by up to half a step
    const double step = (std::max(*high, 0.0f) - std::min(*low, 0.0f)) / 255.0;
    for (int64_t column = 0; column < c.columns; column++) {
      double sum = (c.bias ? c.add[column] : 0.0) +
                   (c.skip ? c.residual[at + column] : 0.0);
      double allowed = 1e-5 * (std::abs(sum) + 1);
      const double half = weights.scales[column] / 2;
      for (int64_t k = 0; k < depth; k++) {
        const double w = c.weights[k * c.columns + column];
        sum += row[k] * w;
        allowed += step * (std::abs(w) + half) + std::abs(row[k]) * half + 1e-6 * std::abs(row[k] * w);
      }
      if (!(std::abs(out[at + column] - sum) <= allowed)) beyond++;
    }
  }
  return beyond;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) return 2;
  Numbers numbers(std::strtoull(arguments[2], nullptr, 10));
  int64_t compared = 0, differ = 0, beyond = 0;
  for (int round = std::atoi(arguments[1]); round > 0; round--) {
    Case c{};
    c.rows = numbers.Whole(1, 40);
    c.parts = numbers.Whole(0, 3) == 0 ? 9 : 1;
    c.inner = numbers.Whole(1, c.parts == 1 ? 200 : 50);
    c.columns = numbers.Whole(1, 150);
    c.bias = numbers.Whole(0, 1) == 1;
    c.skip = numbers.Whole(0, 1) == 1;
    c.in = numbers.Some(c.rows * c.parts * c.inner, 2.0f);
    c.weights = numbers.Some(c.parts * c.inner * c.columns, 0.2f);
    c.add = numbers.Some(c.columns, 1.0f);
    c.residual = numbers.Some(c.rows * c.columns, 1.0f);
    // a row of nothing, a row of one sign and a column of nothing
    std::fill_n(c.in.begin(), c.parts * c.inner, 0.0f);
    for (int64_t i = 0; i < c.parts * c.inner; i++) {
      float& x = c.in[(c.rows - 1) * c.parts * c.inner + i];
      x = std::abs(x);
    }
    for (int64_t k = 0; k < c.parts * c.inner; k++) c.weights[k * c.columns] = 0;
    const Int8Weights weights(c.weights.data(), c.parts, c.inner, c.columns,
                              {c.inner * c.columns, c.columns, 1});
    const auto plain = Multiply(PlainInt8Kernels(), weights, c);
    const auto best = Multiply(BestInt8Kernels(), weights, c);
    for (size_t i = 0; i < plain.size(); i++) {
      if (std::memcmp(&plain[i], &best[i], sizeof(float)) != 0) differ++;
    }
    compared += static_cast<int64_t>(plain.size());
    beyond += Beyond(c, weights, plain);
  }
  std::printf("%s and plain: %lld numbers, %lld differ\n", BestInt8Kernels().name,
              static_cast<long long>(compared), static_cast<long long>(differ));
  std::printf("rounding: %lld beyond what it explains\n", static_cast<long long>(beyond));
  return differ == 0 && beyond == 0 ? 0 : 1;
}
