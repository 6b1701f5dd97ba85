#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../cuda/device.h"
#include "device_tensors.h"
#include "loop.h"
#include "reference.h"
#include "shapes.h"

namespace echomimic {

// A clip on a device. Everything between the networks stays there; finished frames leave in a queue
// of their own while the next ones are computed. The caller's thread queues work at most two calls
// ahead of the device.
class DeviceLoop : public Loop {
 public:
  // Smaller sizes after the device was out of memory, or none.
  using StepDown = std::function<std::optional<CallSizes>(const CallSizes&)>;

  // Takes all the memory that the clip needs besides the networks' own. `encoded` is called when the
  // networks that run once per clip have done so.
  DeviceLoop(Clip& clip, Device& device, DeviceTensors& tensors, const CallSizes& sizes,
             StepDown step_down, std::function<void()> encoded);
  // Waits for the device.
  ~DeviceLoop() override;

  void HearAudio(std::vector<float> pcm, const std::function<void()>& on_run) override;
  void EncodeReference() override;
  void StartFromNoise() override;
  void RunStep(const StepWork& work) override;
  std::vector<float> Latents() override;

 private:
  // Queued work, and what the host does when it is done; that gets the milliseconds it took.
  struct Pending {
    const DeviceEvent& done;
    std::function<void(double)> finish;
  };
  // Frames on their way out.
  struct Slot {
    DeviceBuffer<uint8_t> rgb;
    PinnedBuffer<uint8_t> finished;
  };

  int WithMemory(const std::function<int()>& work);
  void Reserve();
  void Bind();
  Ort::Value Take(const std::string& name, const Shape& shape);
  void Run(Network& network, const Ort::IoBinding& binding, const Ort::RunOptions& options);
  void Upload(const std::vector<Window>& windows, const Step& step);
  int Predict(int first, int left);
  void Advance(const Step& step, int first, int last);
  int Decode(int first, int left);
  void Push(Queue queue, std::function<void(double)> finish);
  void Settle(size_t most);
  // Windows and images per call: the most that the plan allows, evened out over the calls.
  int window_batch() const;
  int image_batch() const;

  Clip& clip_;
  Device& device_;
  DeviceTensors& tensors_;
  const Ort::MemoryInfo memory_;
  CallSizes sizes_;
  const StepDown step_down_;
  const std::function<void()> encoded_;

  DeviceBuffer<float> states_;     // of the audio
  DeviceBuffer<float> latents_;    // [frames, channels, rows, columns]
  DeviceBuffer<float> sums_;       // of predictions over windows, same layout
  DeviceBuffer<int32_t> counts_;   // windows per frame
  // The frames of a step's windows, one window after the other, then the first audio position of
  // each; windows that only fill a call up come last in both.
  PinnedBuffer<int32_t> lists_;
  DeviceBuffer<int32_t> device_lists_;
  PinnedBuffer<float> timestep_;
  std::unique_ptr<DeviceEvent> uploaded_;  // lists_ and timestep_ may be written again

  bool bound_ = false;
  float* sample_ = nullptr;
  float* heard_ = nullptr;
  float* device_timestep_ = nullptr;
  float* prediction_ = nullptr;
  float* unconditional_ = nullptr;
  float* decoded_latents_ = nullptr;
  float* image_ = nullptr;
  Ort::IoBinding denoiser_{nullptr};
  Ort::IoBinding unconditional_denoiser_{nullptr};
  Ort::IoBinding decoder_{nullptr};
  int denoiser_graph_ = 0;
  int decoder_graph_ = 0;
  Slot slots_[2];
  int next_slot_ = 0;
  std::unique_ptr<DeviceEvent> converted_;

  std::deque<Pending> pending_;
  std::unique_ptr<DeviceEvent> events_[2];
  int next_event_ = 0;
  Stopwatch since_;  // the last pending work was done
};

}  // namespace echomimic
