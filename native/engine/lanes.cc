#include "lanes.h"

namespace echomimic {

Lanes::Lanes(int count) {
  for (int lane = 1; lane < count; lane++) {
    threads_.emplace_back([this, lane] { Main(lane); });
  }
}

Lanes::~Lanes() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Lanes::Call(int lane) {
  try {
    (*body_)(lane);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
}

void Lanes::Main(int lane) {
  int seen = 0;
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return ended_ || round_ != seen; });
    if (ended_) return;
    seen = round_;
    lock.unlock();
    Call(lane);
    lock.lock();
    if (--busy_ == 0) changed_.notify_all();
  }
}

void Lanes::Run(const std::function<void(int)>& body) {
  {
    const std::lock_guard lock(mutex_);
    body_ = &body;
    failure_ = nullptr;
    busy_ = static_cast<int>(threads_.size());
    round_++;
  }
  changed_.notify_all();
  Call(0);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return busy_ == 0; });
  body_ = nullptr;
  if (failure_) std::rethrow_exception(failure_);
}

}  // namespace echomimic
