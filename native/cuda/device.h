#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "operations.h"

namespace echomimic {

// What happens between the networks; see operations.h.
using Operation = std::variant<cuda::GatherFrames, cuda::GatherTokens, cuda::ApplyGuidance,
                               cuda::AddWindow, cuda::StepFrames, cuda::MakeNoise, cuda::ToRgb>;

// A device's own memory, or memory of the host that the device copies to and from while it works.
enum class MemoryKind { kDevice, kPinned };

// Two queues of work. Work within one is done in order; the two know of each other by events only.
enum class Queue { kCompute, kCopy };

// A point in a queue, once Device::Record has put it there.
class DeviceEvent {
 public:
  virtual ~DeviceEvent() = default;
};

// A GPU, or the host in its place. Everything but Wait, Synchronize, Allocate and Free returns
// before its work is done, so what it is given has to stay until then. A device belongs to the
// thread that opened it.
//
// Every method that may fail throws ENGINE_OUT_OF_MEMORY, ENGINE_DEVICE_LOST (then every later call
// fails too), ENGINE_DEVICE_UNSUPPORTED or ENGINE_FAILED.
class Device {
 public:
  virtual ~Device() = default;

  // The compute queue as ONNX Runtime takes it: a cudaStream_t, or null on the host.
  virtual void* stream() const = 0;
  // The names that ONNX Runtime has for the device's memory.
  virtual const char* allocator() const = 0;
  virtual int index() const = 0;
  // Bytes that nobody uses now, other processes included.
  virtual size_t FreeMemory() = 0;

  // Not initialised. Free may be called while work is under way that still uses the memory.
  virtual void* Allocate(MemoryKind kind, size_t bytes) = 0;
  virtual void Free(MemoryKind kind, void* memory) noexcept = 0;

  virtual void Launch(const Operation& operation) = 0;
  // Between any two memories.
  virtual void CopyBytes(Queue queue, void* to, const void* from, size_t bytes) = 0;
  // Zeros, in the compute queue.
  virtual void ClearBytes(void* memory, size_t bytes) = 0;
  // A network that puts its work into the compute queue itself; rethrows what `run` throws.
  virtual void RunNetwork(const std::function<void()>& run) = 0;

  virtual std::unique_ptr<DeviceEvent> MakeEvent() = 0;
  virtual void Record(DeviceEvent& event, Queue queue) = 0;
  // What follows in the queue waits until the event's last record is reached.
  virtual void After(const DeviceEvent& event, Queue queue) = 0;
  // The caller waits. An event that was never recorded is reached at once.
  virtual void Wait(const DeviceEvent& event) = 0;
  // Waits for both queues.
  virtual void Synchronize() = 0;

  template <typename T>
  void Copy(Queue queue, T* to, const T* from, size_t count) {
    CopyBytes(queue, to, from, count * sizeof(T));
  }
};

// Owns `size` elements of a device's memory, not initialised.
template <typename T, MemoryKind kKind>
class DeviceArray {
 public:
  DeviceArray() = default;
  DeviceArray(Device& device, size_t size)
      : device_(&device),
        data_(size == 0 ? nullptr : static_cast<T*>(device.Allocate(kKind, size * sizeof(T)))),
        size_(size) {}
  DeviceArray(DeviceArray&& other) noexcept
      : device_(other.device_),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  DeviceArray& operator=(DeviceArray&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~DeviceArray() {
    if (data_ != nullptr) device_->Free(kKind, data_);
  }

  T* data() const { return data_; }
  size_t size() const { return size_; }
  void Clear() {
    if (data_ != nullptr) device_->ClearBytes(data_, size_ * sizeof(T));
  }

 private:
  Device* device_ = nullptr;
  T* data_ = nullptr;
  size_t size_ = 0;
};

template <typename T>
using DeviceBuffer = DeviceArray<T, MemoryKind::kDevice>;
template <typename T>
using PinnedBuffer = DeviceArray<T, MemoryKind::kPinned>;

// The GPU that CUDA numbers so; makes it the calling thread's current one. Without CUDA in the build
// it throws ENGINE_DEVICE_UNAVAILABLE.
std::unique_ptr<Device> OpenCudaDevice(int gpu);

// For checks: what a device does when it fails. Numbers count from 1.
struct HostFaults {
  // Allocations and networks, counted together, that find no memory.
  std::vector<int> out_of_memory;
  // The call, of all that may fail, from which on the device is lost; 0 for never.
  int lost_at = 0;
};

// The host as a device: what a GPU does is done by the same code in its memory. It does each piece of
// work as late as its order allows, so that what only happened to be ready on a GPU is not here.
std::unique_ptr<Device> OpenHostDevice(HostFaults faults = {});

}  // namespace echomimic
