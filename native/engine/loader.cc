#include "loader.h"

#include <algorithm>
#include <utility>

#include "error.h"
#include "runtime.h"

namespace echomimic {

EngineKey KeyOf(const ModelSpec& model, const ProviderConfig& config, const NetworkFile& file) {
  EngineKey key{file.name, file.digest, {}};
  for (auto& option : TensorRtOptionsOf(config, model, file.name)) {
    const std::string& name = option.first;
    // Where things lie, and on which of several equal GPUs, makes no other engine.
    if (name == "device_id" || name.find("_path") != std::string::npos) continue;
    key.options.push_back(std::move(option));
  }
  return key;
}

Loader::Loader(const ModelSpec& model, ProviderConfig config, bool standard,
               std::optional<EngineCache> cache, Watch watch, Tell tell)
    : model_(model),
      config_(std::move(config)),
      standard_(standard),
      cache_(std::move(cache)),
      watch_(std::move(watch)),
      tell_(std::move(tell)) {
  if (cache_) config_.timing_folder = cache_->timing_folder();
}

std::unique_ptr<Network> Loader::Open(const std::string& name) {
  const auto& files = model_.networks;
  const auto file = std::find_if(files.begin(), files.end(),
                                 [&](const NetworkFile& item) { return item.name == name; });
  if (file == files.end()) {
    throw EngineError(ErrorCode::kModelInvalid, "the model has no network \"" + name + "\"");
  }
  if (ProviderOf(config_, name) != Provider::kTensorRt) {
    tell_({name, ""});
    return Make(*file, config_);
  }
  const EngineKey key = KeyOf(model_, config_, *file);
  tell_({name, cache_->Reason(key)});
  std::unique_ptr<Network> network;
  const bool built = cache_->Open(key, [&](const std::string& folder) {
    ProviderConfig config = config_;
    config.engine_folder = folder;
    network = Make(*file, config);
  });
  (built ? built_ : reused_)++;
  return network;
}

std::unique_ptr<Network> Loader::Make(const NetworkFile& file, const ProviderConfig& config) {
  const Provider provider = standard_ ? Provider::kCuda : ProviderOf(config, file.name);
  const auto make = [&](const ProviderConfig& how) {
    Ort::SessionOptions options = SessionOptionsFor(how, model_, file);
    watch_(&options);
    try {
      auto network = std::make_unique<Network>(Environment(how.threads), file.name,
                                               GraphOf(file, provider), options);
      watch_(nullptr);
      return network;
    } catch (...) {
      watch_(nullptr);
      throw;
    }
  };
  try {
    return make(config);
  } catch (const EngineError& error) {
    // ONNX Runtime records a graph only where every node is on the GPU.
    if (!config.graphs || std::string(error.what()).find("graph capture") == std::string::npos) {
      throw;
    }
    ProviderConfig plain = config;
    plain.graphs = false;
    return make(plain);
  }
}

}  // namespace echomimic
