#include "shapes.h"

#include "error.h"

namespace echomimic {

namespace {

bool StartsWith(const std::string& text, const std::string& start) {
  return text.compare(0, start.size(), start) == 0;
}

// The level of a bank tensor's place: "bank.down_blocks.0.attentions.1.keys" is 0.
int LevelOf(const ModelSpec& model, const std::string& name) {
  const int levels = static_cast<int>(model.unet_channels.size());
  const auto number = [&](const std::string& start) {
    const size_t end = name.find('.', start.size());
    int value = 0;
    for (size_t i = start.size(); i < end && i < name.size(); i++) {
      if (name[i] < '0' || name[i] > '9') return -1;
      value = 10 * value + (name[i] - '0');
      if (value >= levels) return -1;
    }
    return end == std::string::npos || end == start.size() ? -1 : value;
  };
  const std::string down = "bank.down_blocks.";
  const std::string up = "bank.up_blocks.";
  int level = -1;
  if (StartsWith(name, down)) level = number(down);
  if (StartsWith(name, up)) {
    level = number(up);
    if (level >= 0) level = levels - 1 - level;
  }
  if (StartsWith(name, "bank.mid_block.")) level = levels - 1;
  if (level < 0) {
    throw EngineError(ErrorCode::kModelInvalid,
                      "the bank tensor \"" + name + "\" is at no place of this model's UNet");
  }
  return level;
}

InputShapes Fixed(const std::string& name, Shape shape) { return {name, shape, shape, shape}; }

}  // namespace

int64_t SideAt(int64_t side, int level) {
  for (int i = 0; i < level; i++) side = (side + 1) / 2;
  return side;
}

std::vector<InputShapes> ShapesOf(const ModelSpec& model, const std::string& network,
                                  const CallSizes& sizes) {
  const int64_t width = sizes.width;
  const int64_t height = sizes.height;
  const int64_t rows = height / model.downscale;
  const int64_t columns = width / model.downscale;
  const int64_t channels = model.latent_channels;
  if (network == "audio") {
    const int64_t block = model.block_frames;
    return {{"mel", {model.mel_bins, 2}, {model.mel_bins, block}, {model.mel_bins, block}}};
  }
  if (network == "faceLocator") return {Fixed("mask", {height, width})};
  if (network == "vaeEncoder") return {Fixed("image", {1, 3, height, width})};
  if (network == "vaeDecoder") {
    const Shape most = {sizes.images, channels, rows, columns};
    return {{"latents", {1, channels, rows, columns}, most, most}};
  }
  if (network == "reference") return {Fixed("latents", {1, channels, rows, columns})};
  if (network != "denoiser" && network != "denoiserUncond") {
    throw EngineError(ErrorCode::kOptionInvalid,
                      "network: there is no network \"" + network + "\"");
  }
  const Shape sample = {sizes.windows, sizes.frames, channels, rows, columns};
  std::vector<InputShapes> inputs = {{"sample", {1, 1, channels, rows, columns}, sample, sample},
                                     Fixed("timestep", {1})};
  if (network == "denoiserUncond") return inputs;
  const int64_t tokens =
      static_cast<int64_t>(model.window_before + model.window_after + 1) * model.layers;
  const Shape audio = {sizes.windows, sizes.frames, tokens, model.width};
  inputs.push_back({"audio", {1, 1, tokens, model.width}, audio, audio});
  inputs.push_back(Fixed("face", {model.unet_channels.at(0), rows, columns}));
  for (const std::string& name : model.bank) {
    const int level = LevelOf(model, name);
    inputs.push_back(Fixed(name, {1, SideAt(rows, level) * SideAt(columns, level),
                                  model.unet_channels[static_cast<size_t>(level)]}));
  }
  return inputs;
}

}  // namespace echomimic
