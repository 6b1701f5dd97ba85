#pragma once

#include <cstddef>
#include <vector>

namespace echomimic {

using Window = std::vector<int>;  // frame numbers

// The windows of step `step`: one over all frames when they fit, otherwise windows of `context`
// frames every `context - overlap` frames over the whole clip, wrapping around its end and shifted
// by two frames per step.
std::vector<Window> MakeWindows(int frames, int context, int overlap, int step);

// Puts windows in the order in which frames 0, 1, 2, ... are finished soonest. `ready[i]` tells how
// many leading frames are finished once windows 0 to i have run.
struct StreamingOrder {
  std::vector<Window> windows;
  std::vector<int> ready;
};
StreamingOrder OrderForStreaming(const std::vector<Window>& windows, int frames);

}  // namespace echomimic
