#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace echomimic {

// What an engine of TensorRT depends on besides its network: one made with any other of these is
// never used.
struct EngineMachine {
  std::string gpu;         // its name
  std::string capability;  // such as 9.0
  std::string driver;
  std::string tensorrt;
  std::string runtime;  // ONNX Runtime's version
};

// One network's engine: what it was built from and for.
struct EngineKey {
  std::string network;
  std::string digest;  // of the graph and its weights
  // What the provider was told; folders and the stream are no part of it.
  std::vector<std::pair<std::string, std::string>> options;
};

enum class CacheState { kReady, kMissing, kStale };

// A folder of engines that TensorRT has built:
//
//   ROOT/MACHINE/                 one per GPU and set of versions, its name ends in a digest of them
//     lock                        held while engines are built
//     timing/                     what the builder measured, for all networks
//     NETWORK-DIGEST/             an engine
//       key                       written last: a folder without, or with another one, is not used
//
// Engines are built in a folder NETWORK-DIGEST.building-PID and moved into place when they are
// complete; what a process that ended left behind is removed by the next one.
class EngineCache {
 public:
  // Makes the folders. Throws ENGINE_FAILED where they cannot be written.
  EngineCache(const std::string& root, const EngineMachine& machine);

  // Whether a network's engine is there; kStale when another one of that network is, built from
  // other weights or for other calls.
  CacheState State(const EngineKey& key) const;

  // Why a network's engine will be built: a sentence for people; empty when it is ready.
  std::string Reason(const EngineKey& key) const;

  // Opens a network through `open(engine folder)`: with the engine that is there or, holding the
  // lock, with one that is built meanwhile. An engine that cannot be read is removed and built again.
  // Tells whether it was built.
  bool Open(const EngineKey& key, const std::function<void(const std::string&)>& open) const;

  std::string timing_folder() const { return folder_ + "/timing"; }
  const std::string& folder() const { return folder_; }

 private:
  std::string FolderOf(const EngineKey& key) const;

  std::string folder_;
};

}  // namespace echomimic
