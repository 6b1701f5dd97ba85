#include <cuda_runtime_api.h>

#include "check.h"
#include "device.h"
#include "kernels.h"

namespace echomimic {

namespace {

using cuda::Check;

// Destructors report nothing: what a lost device says then was already said by the call that found
// it lost.
class Stream {
 public:
  // Not bound to the legacy default stream, which would hold back what ought to overlap.
  Stream() { Check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream"); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { cudaStreamDestroy(stream_); }
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

class CudaEvent : public DeviceEvent {
 public:
  CudaEvent() {
    Check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming | cudaEventBlockingSync),
          "making an event");
  }
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;
  ~CudaEvent() override { cudaEventDestroy(event_); }
  static cudaEvent_t Of(const DeviceEvent& event) {
    return static_cast<const CudaEvent&>(event).event_;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

int Choose(int gpu) {
  Check(cudaSetDevice(gpu), "choosing the GPU");
  return gpu;
}

class CudaDevice : public Device {
 public:
  explicit CudaDevice(int gpu) : gpu_(Choose(gpu)) {}

  void* stream() const override { return compute_.get(); }
  const char* allocator() const override { return "Cuda"; }
  int index() const override { return gpu_; }

  size_t FreeMemory() override {
    size_t free = 0;
    size_t total = 0;
    Check(cudaMemGetInfo(&free, &total), "asking the GPU for its free memory");
    return free;
  }

  void* Allocate(MemoryKind kind, size_t bytes) override {
    void* memory = nullptr;
    if (kind == MemoryKind::kDevice) {
      Check(cudaMalloc(&memory, bytes), "reserving memory of the GPU");
    } else {
      Check(cudaMallocHost(&memory, bytes), "reserving pinned memory");
    }
    return memory;
  }
  // Work that still uses the memory is waited for: cudaFree does so by itself on its own terms, which
  // CUDA does not promise, and cudaFreeHost not at all.
  void Free(MemoryKind kind, void* memory) noexcept override {
    cudaStreamSynchronize(compute_.get());
    cudaStreamSynchronize(copy_.get());
    kind == MemoryKind::kDevice ? cudaFree(memory) : cudaFreeHost(memory);
  }

  void Launch(const Operation& operation) override {
    std::visit([this](const auto& kernel) { cuda::Launch(kernel, compute_.get()); }, operation);
  }
  void CopyBytes(Queue queue, void* to, const void* from, size_t bytes) override {
    Check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, Of(queue)), "copying");
  }
  void ClearBytes(void* memory, size_t bytes) override {
    Check(cudaMemsetAsync(memory, 0, bytes, compute_.get()), "clearing memory of the GPU");
  }
  void RunNetwork(const std::function<void()>& run) override { run(); }

  std::unique_ptr<DeviceEvent> MakeEvent() override { return std::make_unique<CudaEvent>(); }
  void Record(DeviceEvent& event, Queue queue) override {
    Check(cudaEventRecord(CudaEvent::Of(event), Of(queue)), "recording an event");
  }
  void After(const DeviceEvent& event, Queue queue) override {
    Check(cudaStreamWaitEvent(Of(queue), CudaEvent::Of(event), 0), "ordering two streams");
  }
  void Wait(const DeviceEvent& event) override {
    Check(cudaEventSynchronize(CudaEvent::Of(event)), "waiting for the GPU");
  }
  void Synchronize() override {
    Check(cudaStreamSynchronize(compute_.get()), "waiting for the GPU");
    Check(cudaStreamSynchronize(copy_.get()), "waiting for the GPU");
  }

 private:
  cudaStream_t Of(Queue queue) const {
    return queue == Queue::kCompute ? compute_.get() : copy_.get();
  }

  const int gpu_;  // first: streams belong to the device that is current when they are made
  Stream compute_;
  Stream copy_;
};

}  // namespace

std::unique_ptr<Device> OpenCudaDevice(int gpu) { return std::make_unique<CudaDevice>(gpu); }

}  // namespace echomimic
