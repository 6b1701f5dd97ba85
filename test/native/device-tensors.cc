// Holds native/engine/device_tensors.cc against what CUDA graphs need: a number stands for calls of the
// same sizes at the same addresses, and clips of changing sizes ask for few of them.
#include <cstdio>
#include <map>
#include <set>
#include <utility>

#include "../../native/engine/device_tensors.h"

using namespace echomimic;

namespace {

int failures = 0;

void Expect(bool holds, const char* what) {
  if (holds) return;
  std::printf("%s\n", what);
  failures++;
}

const CallSizes kSmall{64, 64, 8, 2, 3};
const CallSizes kLarge{128, 64, 12, 3, 4};
const CallSizes kLarger{256, 256, 12, 3, 4};

// What a clip does: takes its tensors, then asks for its number.
std::pair<std::pair<float*, float*>, int> Clip(DeviceTensors& tensors, const CallSizes& sizes) {
  float* const sample = tensors.Take("sample", {sizes.windows, sizes.frames, 4});
  float* const image = tensors.Take("image", {sizes.images, 3, sizes.height, sizes.width});
  return {{sample, image}, tensors.GraphOf(sizes)};
}

}  // namespace

int main() {
  const auto device = OpenHostDevice();
  DeviceTensors tensors(*device);
  std::map<int, std::pair<float*, float*>> addresses;
  const auto render = [&](const CallSizes& sizes) {
    const auto [at, number] = Clip(tensors, sizes);
    const auto [known, added] = addresses.emplace(number, at);
    Expect(added || known->second == at, "a number stands for other addresses than before");
    return number;
  };

  render(kSmall);
  std::set<int> numbers;
  for (int i = 0; i < 100; i++) numbers.insert({render(kLarge), render(kSmall)});
  Expect(numbers.size() == 2, "clips of two sizes in turn have more than two numbers");

  const int larger = render(kLarger);
  Expect(numbers.count(larger) == 0, "other sizes have a number of their own");
  Expect(numbers.count(render(kSmall)) == 0, "a tensor moved and the number stayed");

  const int before = render(kSmall);
  tensors.ForgetGraphs();
  Expect(render(kSmall) > before, "a number that was forgotten is given again");
  std::printf("%d failures\n", failures);
  return failures;
}
