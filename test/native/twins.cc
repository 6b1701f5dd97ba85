// Holds every operation of native/cuda against the CPU engine's loops, over random shapes and to
// the last bit. Built with CUDA (ECHOMIMIC_CUDA) they run on the first GPU, otherwise on the host in
// its place. Prints a line per operation; fails when one differs. Arguments: rounds, seed.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <numbers>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "../../native/cuda/device.h"
#include "../../native/engine/error.h"
#include "../../native/engine/latents.h"
#include "../../native/engine/noise.h"
#include "../../native/engine/windows.h"

#ifdef ECHOMIMIC_CUDA
#include "../../native/cuda/check.h"
#endif

using namespace echomimic;

namespace {

std::mt19937_64 generator;

int Between(int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(generator);
}

std::vector<float> Numbers(size_t count) {
  std::normal_distribution<float> normal;
  std::vector<float> numbers(count);
  for (float& x : numbers) x = normal(generator);
  return numbers;
}

// The GPU in a build with CUDA, else the host in its place.
Device& TheDevice() {
#ifdef ECHOMIMIC_CUDA
  static const std::unique_ptr<Device> device = OpenCudaDevice(0);
#else
  static const std::unique_ptr<Device> device = OpenHostDevice();
#endif
  return *device;
}

// What the operation at hand sees of a vector: a copy in the device's memory.
template <typename T>
class Seen {
 public:
  explicit Seen(std::vector<T>& host)
      : host_(host), pinned_(TheDevice(), host.size()), device_(TheDevice(), host.size()) {
    std::copy(host.begin(), host.end(), pinned_.data());
    TheDevice().Copy<T>(Queue::kCompute, device_.data(), pinned_.data(), host.size());
  }
  T* data() { return device_.data(); }
  void Clear() { device_.Clear(); }
  // Results leave in the other queue, as finished frames do.
  void Fetch() {
    const auto computed = TheDevice().MakeEvent();
    TheDevice().Record(*computed, Queue::kCompute);
    TheDevice().After(*computed, Queue::kCopy);
    TheDevice().Copy<T>(Queue::kCopy, pinned_.data(), device_.data(), host_.size());
    const auto copied = TheDevice().MakeEvent();
    TheDevice().Record(*copied, Queue::kCopy);
    TheDevice().Wait(*copied);
    std::copy_n(pinned_.data(), host_.size(), host_.begin());
  }

 private:
  std::vector<T>& host_;
  PinnedBuffer<T> pinned_;
  DeviceBuffer<T> device_;
};

void Run(const Operation& operation) { TheDevice().Launch(operation); }

#ifdef ECHOMIMIC_CUDA
void Codes() {
  constexpr std::pair<cudaError_t, ErrorCode> kCodes[] = {
      {cudaErrorMemoryAllocation, ErrorCode::kOutOfMemory},
      {cudaErrorNoDevice, ErrorCode::kDeviceUnavailable},
      {cudaErrorInsufficientDriver, ErrorCode::kDeviceUnavailable},
      {cudaErrorNoKernelImageForDevice, ErrorCode::kDeviceUnsupported},
      {cudaErrorUnsupportedPtxVersion, ErrorCode::kDeviceUnsupported},
      {cudaErrorIllegalAddress, ErrorCode::kDeviceLost},
      {cudaErrorECCUncorrectable, ErrorCode::kDeviceLost},
      {cudaErrorLaunchFailure, ErrorCode::kDeviceLost},
      {cudaErrorInvalidValue, ErrorCode::kFailed}};
  for (const auto& [error, code] : kCodes) {
    try {
      cuda::Check(error, "trying");
    } catch (const EngineError& found) {
      if (found.code() == code) continue;
    }
    std::printf("codes: %s is not %s\n", cudaGetErrorName(error), NameOf(code));
    std::exit(1);
  }
  std::printf("codes: %zu, 0 differ\n", std::size(kCodes));
}
#endif

bool failed = false;

class Check {
 public:
  explicit Check(const char* name) : name_(name) {}
  ~Check() {
    std::printf("%s: %zu numbers, %zu differ\n", name_, numbers_, differing_);
    if (numbers_ == 0 || differing_ > 0) failed = true;
  }
  template <typename T>
  void Equal(const std::vector<T>& found, const std::vector<T>& wanted) {
    if (found.size() != wanted.size()) std::abort();
    numbers_ += found.size();
    for (size_t i = 0; i < found.size(); i++) {
      if (std::memcmp(&found[i], &wanted[i], sizeof(T)) != 0) differing_++;
    }
  }

 private:
  const char* name_;
  size_t numbers_ = 0;
  size_t differing_ = 0;
};

// Planes of latents that are a multiple of nothing, too.
uint32_t RandomPlane() {
  return static_cast<uint32_t>(Between(1, 5) * Between(1, 33) * Between(1, 33));
}

void GatherFrames(int rounds) {
  Check check("GatherFrames");
  for (int round = 0; round < rounds; round++) {
    const uint32_t plane = RandomPlane();
    const int frames = Between(1, 40);
    auto latents = Numbers(size_t{plane} * frames);
    std::vector<int32_t> window(Between(1, 24));
    for (int32_t& frame : window) frame = Between(0, frames - 1);
    std::vector<float> found(window.size() * plane), wanted(found.size());
    echomimic::GatherFrames(latents.data(), window, plane, wanted.data());
    Seen<float> from(latents), to(found);
    Seen<int32_t> list(window);
    Run(cuda::GatherFrames{from.data(), list.data(), static_cast<uint32_t>(window.size()), plane,
                           to.data()});
    to.Fetch();
    check.Equal(found, wanted);
  }
}

void GatherTokens(int rounds) {
  Check check("GatherTokens");
  for (int round = 0; round < rounds; round++) {
    const auto width = static_cast<uint32_t>(Between(1, 400));
    const int positions = Between(1, 60);
    const int count = Between(1, 12);
    auto states = Numbers(size_t{width} * positions);
    std::vector<int32_t> first(Between(1, 16));
    for (int32_t& position : first) position = Between(-count, positions + 2);
    const uint32_t columns = width * count;
    std::vector<float> found(first.size() * columns), wanted(found.size());
    for (size_t i = 0; i < first.size(); i++) {
      echomimic::GatherRows(states.data(), positions, width, first[i], count,
                            wanted.data() + i * columns);
    }
    Seen<float> from(states), to(found);
    Seen<int32_t> list(first);
    Run(cuda::GatherTokens{from.data(), list.data(), positions, width,
                           static_cast<uint32_t>(first.size()), columns, to.data()});
    to.Fetch();
    check.Equal(found, wanted);
  }
}

void ApplyGuidance(int rounds) {
  Check check("ApplyGuidance");
  for (int round = 0; round < rounds; round++) {
    const uint32_t plane = RandomPlane();
    const int frames = Between(1, 24);
    const float cfg = static_cast<float>(Between(0, 1000)) / 97.0f;
    auto base = Numbers(size_t{plane} * frames);
    auto found = Numbers(base.size());
    auto wanted = found;
    echomimic::ApplyGuidance(base.data(), cfg, wanted.size(), wanted.data());
    Seen<float> unconditional(base), prediction(found);
    Run(cuda::ApplyGuidance{unconditional.data(), cfg, static_cast<uint32_t>(frames), plane,
                            prediction.data()});
    prediction.Fetch();
    check.Equal(found, wanted);
  }
}

// A whole step: all windows of a clip added up, then stepped, the whole clip or a piece of it.
void AddAndStep(int rounds) {
  Check adds("AddWindow"), steps("StepFrames");
  for (int round = 0; round < rounds; round++) {
    const uint32_t plane = RandomPlane();
    const int frames = Between(1, 40);
    const int context = Between(1, 16);
    const auto windows = MakeWindows(frames, context, Between(0, context - 1), Between(0, 50));
    auto sums = Numbers(size_t{plane} * frames);  // what the step before has left
    std::vector<float> wanted_sums(sums.size());
    std::vector<int32_t> counts(frames, 7), wanted_counts(frames);
    Seen<float> device_sums(sums);
    Seen<int32_t> device_counts(counts);
    device_sums.Clear();
    device_counts.Clear();
    for (const Window& window : windows) {
      auto prediction = Numbers(window.size() * plane);
      auto list = window;
      AddWindow(prediction.data(), window, plane, wanted_sums.data());
      for (const int frame : window) wanted_counts[frame]++;
      Seen<float> device_prediction(prediction);
      Seen<int32_t> device_list(list);
      Run(cuda::AddWindow{device_prediction.data(), device_list.data(),
                          static_cast<uint32_t>(window.size()), plane, device_sums.data(),
                          device_counts.data()});
    }

    const Step step{0, Numbers(1)[0], Numbers(1)[0]};
    const int first = Between(0, frames - 1);
    const int last = Between(first, frames);
    auto latents = Numbers(sums.size());
    auto wanted = latents;
    StepFrames(step, wanted_sums.data(), wanted_counts, first, last, plane, wanted.data());
    Seen<float> device_latents(latents);
    Run(cuda::StepFrames{step.keep, step.turn, device_sums.data(), device_counts.data(),
                         static_cast<uint32_t>(first), static_cast<uint32_t>(last - first), plane,
                         device_latents.data()});
    device_sums.Fetch();
    device_counts.Fetch();
    device_latents.Fetch();
    adds.Equal(sums, wanted_sums);
    adds.Equal(counts, wanted_counts);
    steps.Equal(latents, wanted);
  }
}

void MakeNoise(int rounds) {
  Check check("MakeNoise");
  for (int round = 0; round < rounds; round++) {
    const uint32_t plane = RandomPlane();
    const auto first = static_cast<uint32_t>(Between(0, 1 << 20));
    const int frames = Between(1, 12);
    const uint64_t seed = generator();
    std::vector<float> found(size_t{plane} * frames), wanted(found.size());
    for (int i = 0; i < frames; i++) {
      FrameNoise(seed, first + i, wanted.data() + size_t{plane} * i, plane);
    }
    LimitNoise(wanted.data(), wanted.size());
    Seen<float> latents(found);
    Run(cuda::MakeNoise{seed, first, static_cast<uint32_t>(frames), (plane + 3) / 4, plane,
                        latents.data()});
    latents.Fetch();
    check.Equal(found, wanted);
  }
}

void ToRgb(int rounds) {
  Check check("ToRgb");
  for (int round = 0; round < rounds; round++) {
    const auto pixels = static_cast<uint32_t>(Between(1, 70) * Between(1, 70));
    const int frames = Between(1, 6);
    auto images = Numbers(size_t{3} * pixels * frames);
    // values that lie between two bytes, and those that no decoder should make
    for (size_t i = 0; i < images.size(); i += 7) {
      images[i] = (static_cast<float>(Between(0, 255)) + 0.5f) / 127.5f - 1.0f;
    }
    constexpr float kOdd[] = {std::numeric_limits<float>::quiet_NaN(),
                              std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity(), 1e30f, -1e30f, -0.0f};
    for (const float odd : kOdd) images[Between(0, static_cast<int>(images.size()) - 1)] = odd;
    std::vector<uint8_t> found(images.size()), wanted(images.size());
    for (int i = 0; i < frames; i++) {
      const size_t offset = size_t{3} * pixels * i;
      echomimic::ToRgb(images.data() + offset, pixels, wanted.data() + offset);
    }
    Seen<float> planes(images);
    Seen<uint8_t> rgb(found);
    Run(cuda::ToRgb{planes.data(), static_cast<uint32_t>(frames), pixels, rgb.data()});
    rgb.Fetch();
    check.Equal(found, wanted);
  }
}

// The loops themselves against their definitions, with the C library's functions.
void Definitions() {
  size_t differing = 0;
  size_t beyond = 0;
  constexpr size_t kCount = 4000000;
  std::vector<float> noise(kCount);
  const uint64_t seed = generator();
  FrameNoise(seed, 3, noise.data(), kCount);
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(seed),
                                       static_cast<uint32_t>(seed >> 32)};
  for (size_t i = 0; i < kCount; i += 2) {
    const auto words = Philox({static_cast<uint32_t>(i / 4), 3, 0, 0}, key);
    const double radius = std::sqrt(-2.0 * std::log((words[i % 4] + 0.5) / 4294967296.0));
    const double angle = 2.0 * std::numbers::pi * (words[i % 4 + 1] / 4294967296.0);
    const float wanted[2] = {static_cast<float>(radius * std::cos(angle)),
                             static_cast<float>(radius * std::sin(angle))};
    for (size_t k = 0; k < 2; k++) {
      const float found = noise[i + k];
      if (found == wanted[k]) continue;
      differing++;
      if (std::nextafterf(found, wanted[k]) != wanted[k]) beyond++;
    }
  }
  std::printf("noise and libm: %zu of %zu differ, %zu by more than the last bit\n", differing,
              kCount, beyond);
  if (differing > kCount / 1000000 || beyond > 0) failed = true;

  Check bytes("bytes and lrint");
  const auto planes = Numbers(3000);
  std::vector<uint8_t> found(planes.size()), wanted(planes.size());
  echomimic::ToRgb(planes.data(), 1000, found.data());
  for (size_t i = 0; i < planes.size(); i++) {
    const float scaled = (planes[i % 3 * 1000 + i / 3] * 0.5f + 0.5f) * 255.0f;
    wanted[i] = static_cast<uint8_t>(std::lrint(std::clamp(scaled, 0.0f, 255.0f)));
  }
  bytes.Equal(found, wanted);
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 100;
  generator.seed(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
  try {
#ifdef ECHOMIMIC_CUDA
    Codes();
    std::fflush(stdout);
#endif
    GatherFrames(rounds);
    GatherTokens(rounds);
    ApplyGuidance(rounds);
    AddAndStep(rounds);
    MakeNoise(rounds);
    ToRgb(rounds);
    Definitions();
  } catch (const EngineError& error) {
    std::fprintf(stderr, "%s: %s\n", NameOf(error.code()), error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
  return failed ? 1 : 0;
}
