#pragma once

#include <string>
#include <vector>

#include "schedule.h"

namespace echomimic {

struct NetworkFile {
  std::string name;
  std::string path;
};

// What the engine needs to know of an imported model; native/index.ts fills it from the manifest.
struct ModelSpec {
  std::vector<NetworkFile> networks;
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
