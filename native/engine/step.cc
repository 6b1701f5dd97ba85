#include "step.h"

#include <algorithm>
#include <utility>

namespace echomimic {

StepPlan::StepPlan(StreamingOrder order, int frames, int decode_batch)
    : order_(std::move(order)), frames_(frames), decode_batch_(decode_batch) {}

StepPlan::Task StepPlan::Next() {
  const int windows = static_cast<int>(order_.windows.size());
  std::unique_lock lock(mutex_);
  Task task;
  changed_.wait(lock, [&] {
    if (abandoned_) return true;
    if (decode_batch_ > 0) {
      const int count = std::min(decode_batch_, frames_ - next_frame_);
      if (count > 0 && ready_frames_ - next_frame_ >= count) {
        task = {Task::kDecode, next_frame_, count};
        next_frame_ += count;
        return true;
      }
    }
    if (next_window_ < windows) {
      task = {Task::kWindow, next_window_++, 0};
      return true;
    }
    return decode_batch_ == 0 || next_frame_ == frames_;
  });
  return task;
}

bool StepPlan::AwaitTurn(const Task& task) {
  std::unique_lock lock(mutex_);
  const int& turn = task.kind == Task::kWindow ? added_windows_ : shown_frames_;
  changed_.wait(lock, [&] { return abandoned_ || turn == task.index; });
  return !abandoned_;
}

void StepPlan::FinishTurn(const Task& task) {
  {
    const std::lock_guard lock(mutex_);
    if (task.kind == Task::kWindow) {
      ready_frames_ = ReadyAfter(task);
      added_windows_++;
    } else {
      shown_frames_ += task.count;
    }
  }
  changed_.notify_all();
}

int StepPlan::ReadyAfter(const Task& task) const {
  return decode_batch_ > 0 ? order_.ready[task.index] : 0;
}

void StepPlan::Abandon() {
  {
    const std::lock_guard lock(mutex_);
    abandoned_ = true;
  }
  changed_.notify_all();
}

}  // namespace echomimic
