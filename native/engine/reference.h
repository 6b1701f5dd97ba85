#pragma once

#include <functional>
#include <vector>

#include "clip.h"

namespace echomimic {

// What a clip's picture and mask contribute to every window.
struct ReferenceFeatures {
  Ort::Value face{nullptr};
  std::vector<Ort::Value> bank;  // keys and values, in the order of ModelSpec::bank
};

// Runs the face locator, the encoder and the reference network, by means of `run`. Results are in
// `memory`.
ReferenceFeatures EncodeReference(
    const Clip& clip, const Ort::MemoryInfo& memory,
    const std::function<void(Network&, const Ort::IoBinding&)>& run);

}  // namespace echomimic
