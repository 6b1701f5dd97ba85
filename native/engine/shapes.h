#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model.h"
#include "tensor.h"

namespace echomimic {

// The sizes of a clip's calls: exact for the picture, upper limits for the rest.
struct CallSizes {
  int width = 0;    // of the picture, in pixels
  int height = 0;
  int frames = 0;   // of a window
  int windows = 1;  // per call of the denoiser
  int images = 1;   // per call of the decoder

  bool operator==(const CallSizes&) const = default;
};

// The shapes that an input takes, least, usual and largest.
struct InputShapes {
  std::string name;
  Shape least;
  Shape usual;
  Shape largest;

  bool fixed() const { return least == largest; }
};

// Latent rows and columns at a level of the UNet; each level halves, rounding up.
int64_t SideAt(int64_t side, int level);

// Every input of a network with its shapes, in the graph's order; not of the log-mel, which never runs
// on a GPU. Throws ENGINE_OPTION_INVALID for a network that there is not, and ENGINE_MODEL_INVALID for
// a bank tensor of an unknown place.
std::vector<InputShapes> ShapesOf(const ModelSpec& model, const std::string& network,
                                  const CallSizes& sizes);

}  // namespace echomimic
