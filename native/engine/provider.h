#pragma once

#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "model.h"
#include "shapes.h"

namespace echomimic {

// Who runs the networks.
enum class Provider { kCpu, kCuda, kTensorRt };

const char* NameOf(Provider provider);  // "cpu", "cuda" or "tensorrt"
// Throws ENGINE_OPTION_INVALID.
Provider ProviderNamed(const std::string& name);

struct ProviderConfig {
  Provider provider = Provider::kCpu;
  int threads = 1;
  // The rest is for GPUs.
  int gpu = 0;                // CUDA's number
  void* stream = nullptr;     // the cudaStream_t that the networks run on; null: one of their own
  // Lets runs of the repeated networks be recorded as CUDA graphs; every run then has to say which
  // graph it is by the run option gpu_graph_id, or -1 for none.
  bool graphs = false;
  uint64_t memory_limit = 0;  // bytes of a session's arena; 0: none
  // For TensorRT: where this network's engine and what the builder measured are kept, see
  // engine_cache.h, and the calls that engines are built for. CUDA takes calls of any size.
  std::string engine_folder;
  std::string timing_folder;
  CallSizes sizes;
};

// Networks that run many times per clip; the others run once and give their memory back.
bool IsRepeated(const std::string& network);

// Where a network runs: the log-mel always on the CPU, because its samples are there and half
// precision is not enough for it.
Provider ProviderOf(const ProviderConfig& config, const std::string& network);

// The graph for a provider: the one with the engine's own operators for the CPU, else the plain one.
const std::string& GraphOf(const NetworkFile& network, Provider provider);

// What the providers are told, in ONNX Runtime's words.
using ProviderOptions = std::vector<std::pair<std::string, std::string>>;
ProviderOptions CudaOptionsOf(const ProviderConfig& config, const std::string& network);
ProviderOptions TensorRtOptionsOf(const ProviderConfig& config, const ModelSpec& model,
                                  const std::string& network);

// Loads a provider's libraries. Throws ENGINE_RUNTIME_MISSING where one is missing or does not fit,
// and ENGINE_DEVICE_UNAVAILABLE where the driver shows no such GPU. Call Environment before.
void RequireProvider(Provider provider, int gpu);

// Options of a network's session, with the providers in the order TensorRT, CUDA, CPU from the
// configured one on. Never leaves a provider out: throws ENGINE_RUNTIME_MISSING where its libraries
// are missing, ENGINE_DEVICE_* where the GPU cannot be used.
Ort::SessionOptions SessionOptionsFor(const ProviderConfig& config, const ModelSpec& model,
                                      const NetworkFile& network);

// Makes a run give its arena back to the GPU afterwards. ONNX Runtime refuses that for a network that
// runs on the CPU.
void GiveMemoryBack(Ort::RunOptions& options, const ProviderConfig& config);

}  // namespace echomimic
