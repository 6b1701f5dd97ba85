#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace echomimic {

// A few threads that work on one thing at a time, the caller's being the first of them.
class Lanes {
 public:
  explicit Lanes(int count);
  ~Lanes();
  Lanes(const Lanes&) = delete;
  Lanes& operator=(const Lanes&) = delete;

  int count() const { return static_cast<int>(threads_.size()) + 1; }
  // Calls body(lane) on every lane and waits for all; rethrows the first exception.
  void Run(const std::function<void(int)>& body);

 private:
  void Main(int lane);
  void Call(int lane);

  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void(int)>* body_ = nullptr;
  int round_ = 0;
  int busy_ = 0;
  bool ended_ = false;
  std::exception_ptr failure_;
  std::vector<std::thread> threads_;
};

}  // namespace echomimic
