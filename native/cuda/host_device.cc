#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>

#ifdef __linux__
#include <unistd.h>
#endif

#include "../engine/error.h"
#include "device.h"

namespace echomimic {

namespace {

struct HostEvent : DeviceEvent {
  Queue queue = Queue::kCompute;
  uint64_t place = 0;  // work of the queue that it waits for
};

class HostDevice : public Device {
 public:
  explicit HostDevice(HostFaults faults) : faults_(std::move(faults)) {}
  ~HostDevice() override { Finish(); }

  void* stream() const override { return nullptr; }
  const char* allocator() const override { return "Cpu"; }
  int index() const override { return 0; }

  size_t FreeMemory() override {
    Call();
#ifdef _SC_AVPHYS_PAGES
    return static_cast<size_t>(sysconf(_SC_AVPHYS_PAGES)) * sysconf(_SC_PAGESIZE);
#else
    return size_t{16} << 30;
#endif
  }

  void* Allocate(MemoryKind, size_t bytes) override {
    Call();
    TakeMemory();
    // As a GPU aligns it.
    void* const memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (memory == nullptr) throw OutOfMemory();
    return memory;
  }
  void Free(MemoryKind, void* memory) noexcept override {
    Finish();
    std::free(memory);
  }

  void Launch(const Operation& operation) override {
    Add(Queue::kCompute, [operation] {
      std::visit(
          [](const auto& compute) {
            for (uint32_t row = 0; row < compute.rows; row++) {
              for (uint32_t column = 0; column < compute.columns; column++) compute(row, column);
            }
          },
          operation);
    });
  }
  void CopyBytes(Queue queue, void* to, const void* from, size_t bytes) override {
    Add(queue, [=] {
      if (bytes > 0) std::memcpy(to, from, bytes);
    });
  }
  void ClearBytes(void* memory, size_t bytes) override {
    Add(Queue::kCompute, [=] { std::memset(memory, 0, bytes); });
  }
  void RunNetwork(const std::function<void()>& run) override {
    Call();
    TakeMemory();
    RunAll(Queue::kCompute);
    run();
  }

  std::unique_ptr<DeviceEvent> MakeEvent() override {
    Call();
    return std::make_unique<HostEvent>();
  }
  void Record(DeviceEvent& event, Queue queue) override {
    Call();
    auto& mark = static_cast<HostEvent&>(event);
    mark.queue = queue;
    mark.place = Of(queue).queued;
  }
  void After(const DeviceEvent& event, Queue queue) override {
    const auto& mark = static_cast<const HostEvent&>(event);
    Add(queue, [this, awaited = mark.queue, place = mark.place] { RunUntil(awaited, place); });
  }
  void Wait(const DeviceEvent& event) override {
    Call();
    const auto& mark = static_cast<const HostEvent&>(event);
    RunUntil(mark.queue, mark.place);
  }
  void Synchronize() override {
    Call();
    Finish();
  }

 private:
  struct Work {
    std::deque<std::function<void()>> waiting;
    uint64_t queued = 0;
    uint64_t done = 0;
  };

  Work& Of(Queue queue) { return queue == Queue::kCompute ? compute_ : copy_; }

  void Add(Queue queue, std::function<void()> work) {
    Call();
    Of(queue).waiting.push_back(std::move(work));
    Of(queue).queued++;
  }
  void RunUntil(Queue queue, uint64_t place) {
    Work& work = Of(queue);
    while (work.done < place) {
      const auto next = std::move(work.waiting.front());
      work.waiting.pop_front();
      next();
      work.done++;
    }
  }
  void RunAll(Queue queue) { RunUntil(queue, Of(queue).queued); }
  void Finish() {
    RunAll(Queue::kCompute);
    RunAll(Queue::kCopy);
  }

  static EngineError OutOfMemory() {
    return {ErrorCode::kOutOfMemory, "reserving memory of the host: there is not enough"};
  }
  void TakeMemory() {
    const auto& failing = faults_.out_of_memory;
    if (std::find(failing.begin(), failing.end(), ++takes_) != failing.end()) throw OutOfMemory();
  }
  void Call() {
    calls_++;
    if (faults_.lost_at > 0 && calls_ >= faults_.lost_at) {
      throw EngineError(ErrorCode::kDeviceLost, "the host device is lost, as its faults say");
    }
  }

  const HostFaults faults_;
  int takes_ = 0;
  int calls_ = 0;
  Work compute_;
  Work copy_;
};

}  // namespace

std::unique_ptr<Device> OpenHostDevice(HostFaults faults) {
  return std::make_unique<HostDevice>(std::move(faults));
}

#ifndef ECHOMIMIC_CUDA
std::unique_ptr<Device> OpenCudaDevice(int gpu) {
  throw EngineError(ErrorCode::kDeviceUnavailable,
                    "cuda:" + std::to_string(gpu) +
                        ": this engine is built without CUDA; run: npm run build:addon -- --cuda");
}
#endif

}  // namespace echomimic
