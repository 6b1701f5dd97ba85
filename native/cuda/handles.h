#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <utility>

#include "check.h"

// Owners of what CUDA hands out; all of the current device. A destructor reports nothing: what a
// lost device says then was already said by the call that found it lost.
namespace echomimic::cuda {

// Makes a device the calling thread's current one.
inline void UseDevice(int index) { Check(cudaSetDevice(index), "choosing the GPU"); }

// Kinds of memory for Buffer.
struct DeviceMemory {
  static void* Allocate(size_t bytes) {
    void* memory = nullptr;
    Check(cudaMalloc(&memory, bytes), "reserving memory of the GPU");
    return memory;
  }
  static void Free(void* memory) { cudaFree(memory); }
};

// Memory of the host that the GPU copies to and from while kernels run.
struct PinnedMemory {
  static void* Allocate(size_t bytes) {
    void* memory = nullptr;
    Check(cudaMallocHost(&memory, bytes), "reserving pinned memory");
    return memory;
  }
  static void Free(void* memory) { cudaFreeHost(memory); }
};

template <typename T, typename Memory>
class Buffer {
 public:
  Buffer() = default;
  // Not initialised; throws ENGINE_OUT_OF_MEMORY.
  explicit Buffer(size_t size)
      : data_(size == 0 ? nullptr : static_cast<T*>(Memory::Allocate(size * sizeof(T)))),
        size_(size) {}
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) Memory::Free(data_);
  }

  T* data() const { return data_; }
  size_t size() const { return size_; }
  size_t bytes() const { return size_ * sizeof(T); }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

template <typename T>
using DeviceBuffer = Buffer<T, DeviceMemory>;
template <typename T>
using PinnedBuffer = Buffer<T, PinnedMemory>;

class Event {
 public:
  Event() { Check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "making an event"); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { cudaEventDestroy(event_); }

  cudaEvent_t get() const { return event_; }
  void Wait() const { Check(cudaEventSynchronize(event_), "waiting for the GPU"); }

 private:
  cudaEvent_t event_ = nullptr;
};

class Stream {
 public:
  // Not bound to the legacy default stream, which would hold back what ought to overlap.
  Stream() { Check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream"); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { cudaStreamDestroy(stream_); }

  cudaStream_t get() const { return stream_; }
  void Record(const Event& event) const {
    Check(cudaEventRecord(event.get(), stream_), "recording an event");
  }
  // What follows on this stream waits for the event; the caller does not.
  void After(const Event& event) const {
    Check(cudaStreamWaitEvent(stream_, event.get(), 0), "ordering two streams");
  }
  void Wait() const { Check(cudaStreamSynchronize(stream_), "waiting for the GPU"); }

  // `count` elements between any two memories, ordered after what the stream already has.
  template <typename T>
  void Copy(T* to, const T* from, size_t count) const {
    Check(cudaMemcpyAsync(to, from, count * sizeof(T), cudaMemcpyDefault, stream_), "copying");
  }
  template <typename T>
  void Clear(const DeviceBuffer<T>& buffer) const {
    if (buffer.size() == 0) return;
    Check(cudaMemsetAsync(buffer.data(), 0, buffer.bytes(), stream_), "clearing memory of the GPU");
  }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace echomimic::cuda
