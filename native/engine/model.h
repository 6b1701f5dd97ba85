#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "schedule.h"

namespace echomimic {

// The most bytes of tensors that live at the same time while a network runs: the largest of these
// sums over its nodes, `base + linear * n + quadratic * n^2` for n latent pixels.
struct LiveBytes {
  double base = 0;
  double linear = 0;
  double quadratic = 0;
};

struct NetworkFile {
  std::string name;
  std::string path;      // standard operators only
  std::string cpu_path;  // the engine's own operators; the same as `path` if there is no other graph
  std::string digest;    // of the standard graph and its data, hexadecimal
  uint64_t weight_bytes = 0;
  int live_frames = 1;  // frames or images of the call that `live` is counted for
  std::vector<LiveBytes> live;  // empty if the model's manifest does not tell
};

// What the engine needs to know of an imported model; native/index.ts fills it from the manifest.
struct ModelSpec {
  std::vector<NetworkFile> networks;
  bool float16 = false;  // of the weights
  std::vector<int> unet_channels;  // per level
  std::vector<std::string> bank;  // tensors that the reference network hands to the denoiser
  int sample_rate = 0;
  int hop = 0;
  int mel_bins = 0;
  int block_frames = 0;  // mel frames per run of the audio network
  int layers = 0;        // states kept per position
  int width = 0;         // numbers per state
  int positions_per_second = 0;
  int window_before = 0;  // positions before a video frame's centre
  int window_after = 0;   // and after it
  int latent_channels = 0;
  int downscale = 0;
  int max_context = 0;
  ScheduleSpec schedule;
};

}  // namespace echomimic
