#include "provider.h"

#include <iterator>
#include <string>
#include <unordered_map>

#include "error.h"
#include "failures.h"
#include "runtime.h"

namespace echomimic {

namespace {

constexpr const char* kNames[] = {"cpu", "cuda", "tensorrt"};

// Scratch memory of a tactic of TensorRT. Not what is free just now: engines depend on it.
constexpr uint64_t kWorkspace = uint64_t{2} << 30;

using KeyValues = std::unordered_map<std::string, std::string>;

std::string TextOf(const Shape& shape) {
  std::string text;
  for (const int64_t side : shape) {
    if (!text.empty()) text += 'x';
    text += std::to_string(side);
  }
  return text;
}

// All inputs, as TensorRT's provider takes them: "sample:1x12x4x64x64,timestep:1".
std::string Profile(const std::vector<InputShapes>& inputs, Shape InputShapes::*which) {
  std::string text;
  for (const InputShapes& input : inputs) {
    if (!text.empty()) text += ',';
    text += input.name + ':' + TextOf(input.*which);
  }
  return text;
}

}  // namespace

const char* NameOf(Provider provider) { return kNames[static_cast<size_t>(provider)]; }

Provider ProviderNamed(const std::string& name) {
  for (size_t i = 0; i < std::size(kNames); i++) {
    if (name == kNames[i]) return static_cast<Provider>(i);
  }
  throw EngineError(ErrorCode::kOptionInvalid, "provider: there is no provider \"" + name + "\"");
}

bool IsRepeated(const std::string& network) {
  return network == "denoiser" || network == "denoiserUncond" || network == "vaeDecoder";
}

Provider ProviderOf(const ProviderConfig& config, const std::string& network) {
  return network == "mel" ? Provider::kCpu : config.provider;
}

const std::string& GraphOf(const NetworkFile& network, Provider provider) {
  return provider == Provider::kCpu ? network.cpu_path : network.path;
}

ProviderOptions CudaOptionsOf(const ProviderConfig& config, const std::string& network) {
  ProviderOptions options = {
      {"device_id", std::to_string(config.gpu)},
      // Not twice what is asked for: the planner counts what is.
      {"arena_extend_strategy", "kSameAsRequested"},
      // EXHAUSTIVE runs every algorithm at each new shape, with workspaces that nobody planned.
      {"cudnn_conv_algo_search", "HEURISTIC"},
      // float32 means float32: TF32 has 10 bits of mantissa.
      {"use_tf32", "0"},
      // Sums of norms in float32, also where weights are float16.
      {"enable_skip_layer_norm_strict_mode", "1"},
      {"do_copy_in_default_stream", "1"},
  };
  if (config.memory_limit > 0) {
    options.emplace_back("gpu_mem_limit", std::to_string(config.memory_limit));
  }
  const bool graphs = config.graphs && config.provider == Provider::kCuda && IsRepeated(network);
  options.emplace_back("enable_cuda_graph", graphs ? "1" : "0");
  return options;
}

ProviderOptions TensorRtOptionsOf(const ProviderConfig& config, const ModelSpec& model,
                                  const std::string& network) {
  const std::vector<InputShapes> inputs = ShapesOf(model, network, config.sizes);
  ProviderOptions options = {
      {"device_id", std::to_string(config.gpu)},
      {"trt_fp16_enable", model.float16 ? "1" : "0"},
      {"trt_layer_norm_fp32_fallback", "1"},
      {"trt_profile_min_shapes", Profile(inputs, &InputShapes::least)},
      {"trt_profile_opt_shapes", Profile(inputs, &InputShapes::usual)},
      {"trt_profile_max_shapes", Profile(inputs, &InputShapes::largest)},
      {"trt_engine_cache_enable", "1"},
      {"trt_engine_cache_path", config.engine_folder},
      {"trt_timing_cache_enable", "1"},
      {"trt_timing_cache_path", config.timing_folder},
      // TensorRT's own default: 4 and 5 build several times as long.
      {"trt_builder_optimization_level", "3"},
      // One stream, the one that our kernels run on, and no memory for others.
      {"trt_auxiliary_streams", "0"},
      // It records one graph per session, whatever number a run names, and replays that for clips of
      // other sizes too.
      {"trt_cuda_graph_enable", "0"},
      {"trt_max_workspace_size", std::to_string(kWorkspace)},
  };
  return options;
}

namespace {

KeyValues MapOf(const ProviderOptions& options) {
  return {options.begin(), options.end()};
}

// The C API refuses to load a provider's library in this call already, with the reason; the call that
// appends the provider only says that it failed.
void AppendCuda(Ort::SessionOptions& session, const ProviderConfig& config,
                const std::string& network) {
  Ort::CUDAProviderOptions options;
  options.Update(MapOf(CudaOptionsOf(config, network)));
  if (config.stream != nullptr) options.UpdateWithValue("user_compute_stream", config.stream);
  session.AppendExecutionProvider_CUDA_V2(*options);
}

void AppendTensorRt(Ort::SessionOptions& session, const ProviderConfig& config,
                    const ModelSpec& model, const std::string& network) {
  Ort::TensorRTProviderOptions options;
  options.Update(MapOf(TensorRtOptionsOf(config, model, network)));
  if (config.stream != nullptr) options.UpdateWithValue("user_compute_stream", config.stream);
  session.AppendExecutionProvider_TensorRT_V2(*options);
}

template <typename Append>
void Try(Provider provider, int gpu, const Append& append) {
  try {
    append();
  } catch (const Ort::Exception& error) {
    throw ExplainFailure("provider \"" + std::string(NameOf(provider)) + "\" on cuda:" +
                             std::to_string(gpu),
                         error.what(), ErrorCode::kDeviceUnavailable);
  }
}

}  // namespace

void RequireProvider(Provider provider, int gpu) {
  const std::string device = std::to_string(gpu);
  if (provider == Provider::kCpu) return;
  if (provider == Provider::kTensorRt) {
    Try(provider, gpu, [&] { Ort::TensorRTProviderOptions().Update({{"device_id", device}}); });
  }
  // TensorRT leaves to CUDA what it does not know, so both need it.
  Try(provider, gpu, [&] { Ort::CUDAProviderOptions().Update({{"device_id", device}}); });
}

Ort::SessionOptions SessionOptionsFor(const ProviderConfig& config, const ModelSpec& model,
                                      const NetworkFile& network) {
  const Provider provider = ProviderOf(config, network.name);
  Ort::SessionOptions session = CpuSessionOptions(config.threads, IsRepeated(network.name));
  if (provider == Provider::kTensorRt) {
    Try(provider, config.gpu, [&] { AppendTensorRt(session, config, model, network.name); });
  }
  if (provider != Provider::kCpu) {
    Try(provider, config.gpu, [&] { AppendCuda(session, config, network.name); });
  }
  return session;
}

void GiveMemoryBack(Ort::RunOptions& options, const ProviderConfig& config) {
  if (config.provider == Provider::kCpu) return;
  options.AddConfigEntry("memory.enable_memory_arena_shrinkage",
                         ("gpu:" + std::to_string(config.gpu)).c_str());
}

}  // namespace echomimic
