#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine_cache.h"
#include "model.h"
#include "network.h"
#include "provider.h"

namespace echomimic {

// A network that is about to be opened.
struct Opening {
  std::string network;
  std::string reason;  // why TensorRT has to build its engine; empty if nothing is built
};

// Opens networks on one provider, with TensorRT's engines from a cache.
class Loader {
 public:
  // Gets the options of a session before it is made, to stop that, and null afterwards. May throw.
  using Watch = std::function<void(Ort::SessionOptions*)>;
  using Tell = std::function<void(const Opening&)>;

  // `standard`: the CPU takes the graphs for GPUs, for checks. `cache` is for TensorRT alone.
  Loader(const ModelSpec& model, ProviderConfig config, bool standard,
         std::optional<EngineCache> cache, Watch watch, Tell tell);

  // Throws ENGINE_MODEL_INVALID, or what the failure of a provider means.
  std::unique_ptr<Network> Open(const std::string& name);

  // What TensorRT's engines are made for, from the next Open on.
  void Resize(const CallSizes& sizes) { config_.sizes = sizes; }
  const CallSizes& sizes() const { return config_.sizes; }
  const ProviderConfig& config() const { return config_; }

  std::string cache_folder() const { return cache_ ? cache_->folder() : ""; }
  int built() const { return built_; }    // engines of TensorRT
  int reused() const { return reused_; }  // likewise

 private:
  std::unique_ptr<Network> Make(const NetworkFile& file, const ProviderConfig& config);

  const ModelSpec& model_;
  ProviderConfig config_;
  const bool standard_;
  const std::optional<EngineCache> cache_;
  const Watch watch_;
  const Tell tell_;
  int built_ = 0;
  int reused_ = 0;
};

// The key of a network's engine.
EngineKey KeyOf(const ModelSpec& model, const ProviderConfig& config, const NetworkFile& file);

}  // namespace echomimic
