#include "conv.h"

#include <algorithm>
#include <array>

#include "context.h"

namespace echomimic::ops {

namespace {

// Sides of a patch and of what comes out of it; coordinates per side are as many as the patch's.
struct SchemeSize {
  int64_t patch;
  int64_t tile;
};

constexpr SchemeSize SizeOf(Scheme scheme) {
  switch (scheme) {
    case Scheme::kTwo: return {4, 2};
    case Scheme::kFour: return {6, 4};
    case Scheme::kDoubled: return {3, 2};
    case Scheme::kDirect: break;
  }
  return {1, 1};
}

int64_t Coordinates(Scheme scheme) { return SizeOf(scheme).patch * SizeOf(scheme).patch; }

int64_t DivideUp(int64_t n, int64_t by) { return (n + by - 1) / by; }

// kFour needs four times the memory of the plain weights; layers above this are left to kTwo.
constexpr int64_t kMostWeights = 12 << 20;
// What a thread works on should stay in its second cache.
constexpr int64_t kBlockFloats = 160 << 10;

// Tiles that one task computes: many when the weights are large and must be read for every block.
int64_t BlockTiles(const ConvShape& s, Scheme scheme) {
  const int64_t coordinates = Coordinates(scheme);
  const int64_t weights = coordinates * s.inner * s.outer * (scheme == Scheme::kDirect ? 9 : 1);
  const int64_t least = weights <= kBlockFloats ? 24 : weights <= 8 * kBlockFloats ? 48 : 96;
  const int64_t fit = kBlockFloats / (coordinates * (s.inner + s.outer));
  return std::clamp<int64_t>(fit / 24 * 24, least, 192);
}

// Weights of one tap pair to their coordinates in one dimension: `in` and `out` are the steps.
void SpreadWeights(Scheme scheme, const double* g, int in, double* u, int out) {
  const double a = g[0];
  const double b = g[in];
  const double c = g[2 * in];
  if (scheme == Scheme::kDoubled) {
    u[0] = a;
    u[out] = a + b + c;
    u[2 * out] = c;
  } else if (scheme == Scheme::kTwo) {
    u[0] = a;
    u[out] = (a + b + c) / 2;
    u[2 * out] = (a - b + c) / 2;
    u[3 * out] = c;
  } else {
    u[0] = a / 4;
    u[out] = -(a + b + c) / 6;
    u[2 * out] = -(a - b + c) / 6;
    u[3 * out] = a / 24 + b / 12 + c / 6;
    u[4 * out] = a / 24 - b / 12 + c / 6;
    u[5 * out] = c;
  }
}

void PackPair(const float* from, Scheme scheme, int64_t taps, float* to, int64_t step) {
  if (scheme == Scheme::kDirect) {
    for (int64_t tap = 0; tap < taps; tap++) to[tap * step] = from[tap];
    return;
  }
  const int side = static_cast<int>(SizeOf(scheme).patch);
  double g[9];
  double half[18] = {};
  double whole[36] = {};
  std::copy_n(from, 9, g);
  for (int x = 0; x < 3; x++) SpreadWeights(scheme, g + x, 3, half + x, 3);
  for (int y = 0; y < side; y++) SpreadWeights(scheme, half + 3 * y, 1, whole + y * side, 1);
  for (int i = 0; i < side * side; i++) to[i * step] = static_cast<float>(whole[i]);
}

// The padded columns of a product.
int64_t Columns(const ConvShape& s) {
  const int64_t width = BestKernels().width;
  return DivideUp(s.outer, width) * width;
}

struct Operands {
  const float* in;
  const float* weights;
  const float* bias;
  const float* skip;
  float* out;
};

// Tiles lie row by row in image after image.
struct Grid {
  int64_t down;
  int64_t across;
};

Grid GridOf(const ConvShape& s, Scheme scheme) {
  if (scheme == Scheme::kDoubled) return {s.height, s.width};
  const int64_t tile = SizeOf(scheme).tile;
  return {DivideUp(s.out_height, tile), DivideUp(s.out_width, tile)};
}

int64_t Tiles(const ConvShape& s, Scheme scheme) {
  const Grid grid = GridOf(s, scheme);
  return s.images * grid.down * grid.across;
}

struct Place {
  Place(const Grid& of, int64_t first)
      : grid(of),
        image(first / (of.down * of.across)),
        y(first / of.across % of.down),
        x(first % of.across) {}

  void Next() {
    if (++x < grid.across) return;
    x = 0;
    if (++y < grid.down) return;
    y = 0;
    image++;
  }

  Grid grid;
  int64_t image;
  int64_t y;
  int64_t x;
};

// Rows of weights and of products one behind the other: a power of two would put them into the same
// places of a cache.
int64_t Spaced(int64_t floats) { return DivideUp(floats, 16) * 16 + 16; }

// The pixels of a block of results, one after the other, with all their taps.
void ComputePixels(const ConvShape& s, const Operands& o, int64_t first, int64_t count) {
  const Kernels& kernels = BestKernels();
  const int64_t taps = s.kernel * s.kernel;
  const int64_t columns = Columns(s);
  const int64_t step = Spaced(columns);
  float* const zeros = Scratch(static_cast<size_t>(count * step + s.inner));
  float* const sums = zeros + s.inner;
  std::fill_n(zeros, s.inner, 0.0f);
  thread_local std::vector<const float*> rows;
  rows.resize(static_cast<size_t>(taps * count));
  Place place(GridOf(s, Scheme::kDirect), first);
  for (int64_t i = 0; i < count; i++, place.Next()) {
    for (int64_t tap = 0; tap < taps; tap++) {
      const int64_t y = place.y * s.stride - s.top + tap / s.kernel;
      const int64_t x = place.x * s.stride - s.left + tap % s.kernel;
      const bool inside = y >= 0 && y < s.height && x >= 0 && x < s.width;
      rows[tap * count + i] =
          inside ? o.in + ((place.image * s.height + y) * s.width + x) * s.inner : zeros;
    }
  }
  const int64_t at = first * s.outer;
  float* const out = o.out + at;
  const float* const skip = o.skip != nullptr ? o.skip + at : nullptr;
  if (columns == s.outer) {
    kernels.multiply({rows.data(), count, taps, s.inner, o.weights, columns, out, columns});
    if (o.bias == nullptr && skip == nullptr) return;
    kernels.finish({out, columns, count, s.outer, o.bias, skip, out});
    return;
  }
  kernels.multiply({rows.data(), count, taps, s.inner, o.weights, columns, sums, step});
  kernels.finish({sums, step, count, s.outer, o.bias, skip, out});
}

// Tiles `first` to `first` + `count` - 1 of all images.
void ComputeTiles(const ConvShape& s, Scheme scheme, const Operands& o, int64_t first,
                  int64_t count) {
  const Kernels& kernels = BestKernels();
  const auto [patch, tile] = SizeOf(scheme);
  const int64_t coordinates = Coordinates(scheme);
  const int64_t columns = Columns(s);
  const int64_t in_step = Spaced(s.inner);
  const int64_t out_step = Spaced(columns);
  const int64_t spread = coordinates * count * in_step;
  float* const in = Scratch(static_cast<size_t>(spread + coordinates * count * out_step));
  float* const sums = in + spread;
  const int64_t stride = scheme == Scheme::kDoubled ? 1 : tile;
  const Grid grid = GridOf(s, scheme);

  Place place(grid, first);
  for (int64_t i = 0; i < count; i++, place.Next()) {
    const int64_t y = place.y * stride - 1;
    const int64_t x = place.x * stride - 1;
    const Square square{std::max<int64_t>(0, -y), std::min(patch, s.height - y),
                        std::max<int64_t>(0, -x), std::min(patch, s.width - x),
                        s.width * s.inner,        s.inner};
    const int64_t at = ((place.image * s.height + y) * s.width + x) * s.inner;
    kernels.to_coordinates(scheme, {o.in + at, square, in + i * in_step, count * in_step});
  }

  thread_local std::vector<const float*> rows;
  rows.resize(static_cast<size_t>(count));
  for (int64_t k = 0; k < coordinates; k++) {
    for (int64_t i = 0; i < count; i++) rows[i] = in + (k * count + i) * in_step;
    kernels.multiply({rows.data(), count, 1, s.inner, o.weights + k * s.inner * columns, columns,
                      sums + k * count * out_step, out_step});
  }

  place = Place(grid, first);
  for (int64_t i = 0; i < count; i++, place.Next()) {
    const int64_t y = place.y * tile;
    const int64_t x = place.x * tile;
    const Square square{0, std::min(tile, s.out_height - y), 0, std::min(tile, s.out_width - x),
                        s.out_width * s.outer, s.outer};
    const int64_t at = ((place.image * s.out_height + y) * s.out_width + x) * s.outer;
    kernels.from_coordinates(scheme, {sums + i * out_step, count * out_step, o.bias,
                                      o.skip != nullptr ? o.skip + at : nullptr, square,
                                      o.out + at});
  }
}

// Doubles the sides of the images, cut to the result's.
std::vector<float> Double(const ConvShape& s, const float* in) {
  std::vector<float> out(static_cast<size_t>(s.images * s.out_height * s.out_width * s.inner));
  float* to = out.data();
  for (int64_t image = 0; image < s.images; image++) {
    for (int64_t y = 0; y < s.out_height; y++) {
      for (int64_t x = 0; x < s.out_width; x++, to += s.inner) {
        const int64_t from = (image * s.height + y / 2) * s.width + x / 2;
        std::copy_n(in + from * s.inner, s.inner, to);
      }
    }
  }
  return out;
}

}  // namespace

Scheme BestScheme(const ConvShape& s) {
  const bool square = s.kernel == 3 && s.stride == 1 && s.top == 1 && s.left == 1;
  if (!square) return Scheme::kDirect;
  if (s.doubled) return Scheme::kDoubled;
  const double columns = static_cast<double>(Columns(s));
  const double product = static_cast<double>(s.inner) * columns;
  // A coordinate costs what six columns cost on the way in and out, and weights that are read again
  // for every block what eight more tiles would.
  const auto cost = [&](Scheme scheme) {
    const double tiles = static_cast<double>(Tiles(s, scheme));
    const double blocks = tiles / static_cast<double>(BlockTiles(s, scheme)) + 1;
    if (scheme == Scheme::kDirect) return 9 * (tiles + 8 * blocks) * product;
    return static_cast<double>(Coordinates(scheme)) *
           (tiles * (product + 6 * (static_cast<double>(s.inner) + columns)) +
            8 * blocks * product);
  };
  Scheme best = Scheme::kDirect;
  for (const Scheme scheme : {Scheme::kTwo, Scheme::kFour}) {
    if (scheme == Scheme::kFour && 36 * s.inner * s.outer > kMostWeights) continue;
    if (cost(scheme) < cost(best)) best = scheme;
  }
  return best;
}

std::vector<float> PackWeights(const Ort::KernelContext& context, const float* weights,
                               const ConvShape& s, Scheme scheme) {
  const int64_t width = BestKernels().width;
  const int64_t columns = Columns(s);
  const int64_t taps = s.kernel * s.kernel;
  const bool direct = scheme == Scheme::kDirect;
  const int64_t blocks = direct ? taps : Coordinates(scheme);
  std::vector<float> packed(static_cast<size_t>(blocks * s.inner * columns));
  Parallel(context, DivideUp(columns, 2 * width), [&](int64_t panel) {
    const int64_t from = panel * 2 * width;
    const int64_t lanes = std::min(2 * width, columns - from);
    // a part is the next rows of a panel, a coordinate a product of its own
    const int64_t step = direct ? s.inner * lanes : s.inner * columns;
    float* const start = packed.data() + from * s.inner * (direct ? taps : 1);
    for (int64_t i = 0; i < s.inner; i++) {
      for (int64_t lane = 0; lane < std::min(lanes, s.outer - from); lane++) {
        const int64_t at = s.linear ? i * s.outer + from + lane : (from + lane) * s.inner + i;
        PackPair(weights + at * taps, scheme, taps, start + i * lanes + lane, step);
      }
    }
  });
  return packed;
}

Conv::Conv(const Ort::ConstKernelInfo& info)
    : stride_(info.GetAttribute<int64_t>("stride")),
      doubled_(info.GetAttribute<int64_t>("double") != 0),
      pads_(info.GetAttributes<int64_t>("pads")) {
  int constant = 0;
  info.GetTensorConstantInput(1, &constant);
  Require(constant != 0, "the weights are not constant");
  Require(pads_.size() == 4 && stride_ > 0, "pads are not four, or no stride");
}

const float* Conv::Weights(const Ort::KernelContext& context, const float* plain,
                           const ConvShape& shape, Scheme scheme) const {
  auto& packed = packed_[static_cast<size_t>(scheme)];
  const std::lock_guard lock(mutex_);
  if (packed.empty()) packed = PackWeights(context, plain, shape, scheme);
  return packed.data();
}

void Conv::Run(Ort::KernelContext& context) const {
  const Input x = Floats(context, 0);
  const Input weights = Floats(context, 1);
  const Input bias = Floats(context, 2);
  const Input skip = Floats(context, 3);
  const bool tokens = x.shape.size() == 2;
  const bool linear = weights.shape.size() == 2;
  Require(tokens || x.shape.size() == 4, "x is neither [N, h, w, C] nor [T, C]");
  Require((linear && weights.shape[0] == x.shape.back()) ||
              (weights.shape.size() == 4 && weights.shape[1] == x.shape.back() &&
               weights.shape[2] == weights.shape[3]),
          "the weights are neither [D, C, k, k] nor [C, D]");
  ConvShape s{};
  s.images = tokens ? 1 : x.shape[0];
  s.height = tokens ? x.shape[0] : x.shape[1];
  s.width = tokens ? 1 : x.shape[2];
  s.inner = x.shape.back();
  s.outer = linear ? weights.shape[1] : weights.shape[0];
  s.kernel = linear ? 1 : weights.shape[2];
  s.stride = stride_;
  s.top = pads_[0];
  s.left = pads_[1];
  s.doubled = doubled_;
  s.linear = linear;
  Require(bias.data == nullptr || Product(bias.shape) == s.outer, "bias is not [D]");
  int64_t height = doubled_ ? 2 * s.height : s.height;
  int64_t width = doubled_ ? 2 * s.width : s.width;
  if (const Shape size = Integers(context, 4); doubled_ && !size.empty()) {
    Require(size.size() == 2 && size[0] <= height && size[1] <= width,
            "the doubled image is smaller than its result");
    height = size[0];
    width = size[1];
  }
  s.out_height = (height + pads_[0] + pads_[2] - s.kernel) / stride_ + 1;
  s.out_width = (width + pads_[1] + pads_[3] - s.kernel) / stride_ + 1;
  Require(!doubled_ || (s.out_height == height && s.out_width == width),
          "a doubled image keeps its size");
  Require(s.out_height > 0 && s.out_width > 0, "the image is smaller than the kernel");
  Shape shape = {s.images, s.out_height, s.out_width, s.outer};
  if (tokens) {
    Require(s.kernel == 1 && stride_ == 1, "tokens need a kernel of 1x1");
    shape = skip.data != nullptr ? skip.shape : Shape{s.height, s.outer};
  }
  Require(skip.data == nullptr || (skip.shape.back() == s.outer &&
                                   Product(skip.shape) == Product(shape) &&
                                   (tokens || skip.shape == shape)),
          "the skip is not like the result");
  float* const out = Output(context, shape);
  const float* in = x.data;
  std::vector<float> doubled;
  if (s.doubled && (s.out_height != 2 * s.height || s.out_width != 2 * s.width)) {
    doubled = Double(s, in);
    in = doubled.data();
    s.height = s.out_height;
    s.width = s.out_width;
    s.doubled = false;
  }
  const Scheme scheme = BestScheme(s);
  const Operands operands{in, Weights(context, weights.data, s, scheme), bias.data, skip.data, out};
  const int64_t tiles = Tiles(s, scheme);
  const int64_t step = BlockTiles(s, scheme);
  Parallel(context, DivideUp(tiles, step), [&](int64_t unit) {
    const int64_t first = unit * step;
    const int64_t count = std::min(step, tiles - first);
    if (scheme == Scheme::kDirect) return ComputePixels(s, operands, first, count);
    ComputeTiles(s, scheme, operands, first, count);
  });
}

}  // namespace echomimic::ops
