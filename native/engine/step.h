#pragma once

#include <condition_variable>
#include <mutex>

#include "windows.h"

namespace echomimic {

// Deals out the work of one denoising step to several lanes: its windows in order and, in the last
// step, the frames that may be decoded. What lanes add up or hand over stays in order, so that the
// result does not depend on which lane is faster.
class StepPlan {
 public:
  struct Task {
    enum Kind { kNone, kWindow, kDecode } kind = kNone;
    int index = 0;  // of the window, or of the first frame
    int count = 0;  // of frames
  };

  // `decode_batch` frames are decoded at once; 0 if this step decodes nothing.
  StepPlan(StreamingOrder order, int frames, int decode_batch);

  const std::vector<Window>& windows() const { return order_.windows; }

  // The next task for a lane; waits while one may still appear. kNone when all is dealt out, or
  // after Abandon.
  Task Next();
  // Wait until it is this task's turn; false after Abandon.
  bool AwaitTurn(const Task& task);
  // Ends the turn. For windows, `ready` leading frames are now complete.
  void FinishTurn(const Task& task);
  // How many leading frames are complete once this window has been added.
  int ReadyAfter(const Task& task) const;
  // Makes every lane stop; for when one of them failed.
  void Abandon();

 private:
  StreamingOrder order_;
  const int frames_;
  const int decode_batch_;

  std::mutex mutex_;
  std::condition_variable changed_;
  int next_window_ = 0;
  int added_windows_ = 0;
  int ready_frames_ = 0;
  int next_frame_ = 0;
  int shown_frames_ = 0;
  bool abandoned_ = false;
};

}  // namespace echomimic
