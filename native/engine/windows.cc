#include "windows.h"

namespace echomimic {

std::vector<Window> MakeWindows(int frames, int context, int overlap, int step) {
  std::vector<Window> windows;
  const int shift = static_cast<int>((2LL * step) % frames);
  const int length = frames <= context ? frames : context;
  const int stride = frames <= context ? frames : context - overlap;
  for (int start = 0; start < frames; start += stride) {
    Window window(length);
    for (int i = 0; i < length; i++) {
      window[i] = static_cast<int>((static_cast<long long>(start) + i + shift) % frames);
    }
    windows.push_back(std::move(window));
  }
  return windows;
}

StreamingOrder OrderForStreaming(const std::vector<Window>& windows, int frames) {
  std::vector<std::vector<int>> covering(frames);
  for (std::size_t w = 0; w < windows.size(); w++) {
    for (const int frame : windows[w]) covering[frame].push_back(static_cast<int>(w));
  }
  StreamingOrder order;
  std::vector<bool> done(windows.size(), false);
  for (int frame = 0; frame < frames; frame++) {
    for (const int w : covering[frame]) {
      if (done[w]) continue;
      done[w] = true;
      order.windows.push_back(windows[w]);
      order.ready.push_back(frame);
    }
    order.ready.back() = frame + 1;
  }
  return order;
}

}  // namespace echomimic
