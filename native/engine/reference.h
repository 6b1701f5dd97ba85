#pragma once

#include <functional>
#include <string>
#include <vector>

#include "clip.h"

namespace echomimic {

// What a clip's picture and mask contribute to every window.
struct ReferenceFeatures {
  Ort::Value face{nullptr};
  std::vector<Ort::Value> bank;  // keys and values, in the order of ModelSpec::bank
};

// Where an output of these networks goes: binds it by its name.
using BindOutput = std::function<void(Ort::IoBinding&, const std::string& output)>;
using RunNetwork = std::function<void(Network&, const Ort::IoBinding&)>;

// Runs the face locator, the encoder and the reference network.
ReferenceFeatures EncodeReference(const Clip& clip, const BindOutput& bind, const RunNetwork& run);

}  // namespace echomimic
