#include "device_loop.h"

#include <algorithm>
#include <map>
#include <utility>

namespace echomimic {

namespace {

constexpr size_t kInFlight = 2;  // calls queued at a time

// `count` in calls of at most `most`, evened out.
int Evened(int count, int most) {
  const int calls = (count + most - 1) / most;
  return (count + calls - 1) / calls;
}

}  // namespace

DeviceLoop::DeviceLoop(Clip& clip, Device& device, DeviceTensors& tensors, const CallSizes& sizes,
                       StepDown step_down, std::function<void()> encoded)
    : clip_(clip),
      device_(device),
      tensors_(tensors),
      memory_(device.allocator(), OrtDeviceAllocator, device.index(), OrtMemTypeDefault),
      sizes_(sizes),
      step_down_(std::move(step_down)),
      encoded_(std::move(encoded)) {
  for (auto& event : events_) event = device_.MakeEvent();
  uploaded_ = device_.MakeEvent();
  converted_ = device_.MakeEvent();
  WithMemory([this] {
    Reserve();
    return 0;
  });
}

DeviceLoop::~DeviceLoop() {
  try {
    device_.Synchronize();
  } catch (const EngineError&) {
    // What ended the clip has said it already, or the next clip will.
  }
}

int DeviceLoop::window_batch() const { return Evened(clip_.windows, sizes_.windows); }
int DeviceLoop::image_batch() const { return Evened(clip_.frames, sizes_.images); }

// Does the work, and again with smaller calls for as long as the device has no memory for it and there
// are smaller ones. Returns what the work returns.
int DeviceLoop::WithMemory(const std::function<int()>& work) {
  while (true) {
    try {
      if (!bound_) Bind();
      return work();
    } catch (const EngineError& error) {
      if (error.code() != ErrorCode::kOutOfMemory) throw;
      const std::optional<CallSizes> smaller = step_down_(sizes_);
      if (!smaller) throw;
      sizes_ = *smaller;
    }
    bound_ = false;
    Settle(0);
  }
}

// What depends on the clip's length.
void DeviceLoop::Reserve() {
  const size_t numbers = clip_.frames * clip_.plane;
  // The last window may begin a call of as many again: calls may become larger as well as smaller.
  const size_t places = (2 * static_cast<size_t>(clip_.windows) - 1) * clip_.window_frames;
  states_ = DeviceBuffer<float>(device_, ElementsOf(clip_.audio.shape()));
  latents_ = DeviceBuffer<float>(device_, numbers);
  sums_ = DeviceBuffer<float>(device_, numbers);
  counts_ = DeviceBuffer<int32_t>(device_, clip_.frames);
  lists_ = PinnedBuffer<int32_t>(device_, 2 * places);
  device_lists_ = DeviceBuffer<int32_t>(device_, 2 * places);
  timestep_ = PinnedBuffer<float>(device_, 1);
}

Ort::Value DeviceLoop::Take(const std::string& name, const Shape& shape) {
  return Wrap(memory_, tensors_.Take(name, shape), shape);
}

// What depends on the sizes of calls: tensors of fixed addresses, so that no call allocates and CUDA
// graphs can be recorded.
void DeviceLoop::Bind() {
  const CallSizes calls = {sizes_.width, sizes_.height, clip_.window_frames, window_batch(),
                           image_batch()};
  const Networks& networks = clip_.networks;
  const Shape windows = clip_.WindowShape(calls.windows);
  const Shape frames = clip_.FrameShape(calls.images);
  const Shape images = {calls.images, 3, clip_.request.image.height, clip_.request.image.width};

  denoiser_ = networks.denoiser->Bind();
  for (const InputShapes& input : ShapesOf(clip_.model, "denoiser", calls)) {
    denoiser_.BindInput(input.name.c_str(), Take(input.name, input.largest));
    if (input.name == "audio") heard_ = tensors_.Take(input.name, input.largest);
  }
  denoiser_.BindOutput("v", Take("v", windows));
  sample_ = tensors_.Take("sample", windows);
  device_timestep_ = tensors_.Take("timestep", {1});
  prediction_ = tensors_.Take("v", windows);
  if (clip_.guided()) {
    unconditional_denoiser_ = networks.unconditional->Bind();
    unconditional_denoiser_.BindInput("sample", Take("sample", windows));
    unconditional_denoiser_.BindInput("timestep", Take("timestep", {1}));
    unconditional_denoiser_.BindOutput("v", Take("unconditional v", windows));
    unconditional_ = tensors_.Take("unconditional v", windows);
  }
  decoder_ = networks.vae_decoder->Bind();
  decoder_.BindInput("latents", Take("decoded latents", frames));
  decoder_.BindOutput("image", Take("image", images));
  decoded_latents_ = tensors_.Take("decoded latents", frames);
  image_ = tensors_.Take("image", images);
  for (Slot& slot : slots_) {
    slot = {};
    slot.rgb = DeviceBuffer<uint8_t>(device_, ElementsOf(images));
    slot.finished = PinnedBuffer<uint8_t>(device_, ElementsOf(images));
  }
  // Memory that is given back may be a graph's.
  if (clip_.cancellation.frugal()) tensors_.ForgetGraphs();
  denoiser_graph_ = tensors_.GraphOf({calls.width, calls.height, calls.frames, calls.windows, 0});
  decoder_graph_ = tensors_.GraphOf({calls.width, calls.height, 0, 0, calls.images});
  bound_ = true;
}

void DeviceLoop::Run(Network& network, const Ort::IoBinding& binding,
                     const Ort::RunOptions& options) {
  try {
    device_.RunNetwork([&] { network.Run(options, binding); });
  } catch (...) {
    tensors_.ForgetGraphs();  // ONNX Runtime keeps what it recorded of a run that failed
    throw;
  }
}

void DeviceLoop::HearAudio(std::vector<float> pcm, const std::function<void()>& on_run) {
  clip_.audio.Compute(*clip_.networks.mel, *clip_.networks.audio, std::move(pcm), memory_,
                      states_.data(), clip_.cancellation, on_run);
}

void DeviceLoop::EncodeReference() {
  std::map<std::string, Shape> shapes;
  for (InputShapes& input : ShapesOf(clip_.model, "denoiser", sizes_)) {
    shapes[input.name] = std::move(input.largest);
  }
  echomimic::EncodeReference(
      clip_,
      [&](Ort::IoBinding& binding, const std::string& output) {
        const auto kept = shapes.find(output);
        if (kept == shapes.end()) {
          binding.BindOutput(output.c_str(), memory_);
        } else {
          binding.BindOutput(output.c_str(), Take(output, kept->second));
        }
      },
      [this](Network& network, const Ort::IoBinding& binding) {
        Run(network, binding, clip_.cancellation.run_options());
      });
  encoded_();
}

void DeviceLoop::StartFromNoise() {
  const auto plane = static_cast<uint32_t>(clip_.plane);
  if (clip_.request.noise.empty()) {
    device_.Launch(cuda::MakeNoise{clip_.request.seed, 0, static_cast<uint32_t>(clip_.frames),
                                   (plane + 3) / 4, plane, latents_.data()});
    return;
  }
  const std::vector<float> noise = clip_.GivenNoise();
  device_.Copy(Queue::kCompute, latents_.data(), noise.data(), noise.size());
  device_.Synchronize();  // while the noise is still there
}

// What tells a step's windows apart.
void DeviceLoop::Upload(const std::vector<Window>& windows, const Step& step) {
  device_.Wait(*uploaded_);
  const size_t places = lists_.size() / 2;
  size_t place = 0;
  while (place < places) {
    const size_t window = place / clip_.window_frames;
    for (const int frame : windows[std::min(window, windows.size() - 1)]) {
      lists_.data()[place] = frame;
      lists_.data()[places + place] = static_cast<int32_t>(clip_.audio.FirstPosition(frame));
      place++;
    }
  }
  *timestep_.data() = static_cast<float>(step.timestep);
  device_.Copy<int32_t>(Queue::kCompute, device_lists_.data(), lists_.data(), lists_.size());
  device_.Copy<float>(Queue::kCompute, device_timestep_, timestep_.data(), 1);
  device_.Record(*uploaded_, Queue::kCompute);
}

void DeviceLoop::RunStep(const StepWork& work) {
  const auto plane = static_cast<uint32_t>(clip_.plane);
  const auto window_frames = static_cast<uint32_t>(clip_.window_frames);
  const auto windows = static_cast<int>(work.order.windows.size());
  since_ = {};
  Upload(work.order.windows, work.step);
  sums_.Clear();
  counts_.Clear();
  int stepped = 0;
  int decoded = 0;
  for (int first = 0; first < windows;) {
    Settle(kInFlight - 1);
    clip_.cancellation.ThrowIfCancelled();
    const int count = WithMemory([&] { return Predict(first, windows - first); });
    // One after the other, in the order in which the CPU adds them.
    for (int i = 0; i < count; i++) {
      device_.Launch(cuda::AddWindow{
          prediction_ + i * window_frames * clip_.plane,
          device_lists_.data() + static_cast<size_t>(first + i) * window_frames, window_frames,
          plane, sums_.data(), counts_.data()});
    }
    first += count;
    const int ready = work.last ? work.order.ready[first - 1] : 0;
    Advance(work.step, stepped, ready);
    stepped = ready;
    Push(Queue::kCompute, [this, step = work.number, first, count](double milliseconds) {
      clip_.OnWindows(step, first, count, milliseconds);
    });
    while (decoded < ready && ready - decoded >= std::min(image_batch(), clip_.frames - decoded)) {
      Settle(kInFlight - 1);
      clip_.cancellation.ThrowIfCancelled();
      decoded += WithMemory([&] { return Decode(decoded, clip_.frames - decoded); });
    }
  }
  if (!work.last) Advance(work.step, 0, clip_.frames);
  if (work.last) Settle(0);
}

// Predicts windows from number `first` on; tells how many of the `left` ones.
int DeviceLoop::Predict(int first, int left) {
  const auto rows = static_cast<uint32_t>(window_batch() * clip_.window_frames);
  const auto plane = static_cast<uint32_t>(clip_.plane);
  const auto state = static_cast<uint32_t>(clip_.model.layers * clip_.model.width);
  const int32_t* const frames =
      device_lists_.data() + static_cast<size_t>(first) * clip_.window_frames;
  const Ort::RunOptions& options = clip_.cancellation.QueuedOptions(denoiser_graph_);
  device_.Launch(cuda::GatherFrames{latents_.data(), frames, rows, plane, sample_});
  device_.Launch(cuda::GatherTokens{states_.data(), frames + lists_.size() / 2,
                                    static_cast<int32_t>(clip_.audio.positions()), state, rows,
                                    state * clip_.audio.positions_per_frame(), heard_});
  Run(*clip_.networks.denoiser, denoiser_, options);
  if (clip_.guided()) {
    Run(*clip_.networks.unconditional, unconditional_denoiser_, options);
    device_.Launch(cuda::ApplyGuidance{unconditional_, static_cast<float>(clip_.request.cfg), rows,
                                       plane, prediction_});
  }
  return std::min(window_batch(), left);
}

// Takes the step on frames first to last - 1, whose predictions are complete.
void DeviceLoop::Advance(const Step& step, int first, int last) {
  if (first == last) return;
  device_.Launch(cuda::StepFrames{step.keep, step.turn, sums_.data(), counts_.data(),
                                  static_cast<uint32_t>(first), static_cast<uint32_t>(last - first),
                                  static_cast<uint32_t>(clip_.plane), latents_.data()});
}

// Decodes frames from number `first` on; tells how many of the `left` ones.
int DeviceLoop::Decode(int first, int left) {
  const int batch = image_batch();
  const int count = std::min(batch, left);
  device_.Copy<float>(Queue::kCompute, decoded_latents_, latents_.data() + first * clip_.plane,
                      count * clip_.plane);
  for (int i = count; i < batch; i++) {  // the last call is as large as the others
    device_.Copy<float>(Queue::kCompute, decoded_latents_ + i * clip_.plane,
                        latents_.data() + first * clip_.plane, clip_.plane);
  }
  Run(*clip_.networks.vae_decoder, decoder_, clip_.cancellation.QueuedOptions(decoder_graph_));

  // The frames that had this slot before have been taken: at most one call is pending here.
  const Slot& slot = slots_[next_slot_];
  next_slot_ = 1 - next_slot_;
  const size_t bytes = 3 * clip_.pixels * count;
  device_.Launch(cuda::ToRgb{image_, static_cast<uint32_t>(count),
                             static_cast<uint32_t>(clip_.pixels), slot.rgb.data()});
  device_.Record(*converted_, Queue::kCompute);
  device_.After(*converted_, Queue::kCopy);
  device_.Copy<uint8_t>(Queue::kCopy, slot.finished.data(), slot.rgb.data(), bytes);
  Push(Queue::kCopy, [this, &slot, first, count, bytes](double milliseconds) {
    FrameChunk chunk{first, count, clip_.request.image.width, clip_.request.image.height, {}};
    chunk.data.assign(slot.finished.data(), slot.finished.data() + bytes);
    clip_.OnFrames(std::move(chunk), milliseconds);
  });
  return count;
}

void DeviceLoop::Push(Queue queue, std::function<void(double)> finish) {
  DeviceEvent& event = *events_[next_event_];
  next_event_ = 1 - next_event_;
  device_.Record(event, queue);
  pending_.push_back({event, std::move(finish)});
}

// Waits until no more than so many calls are pending.
void DeviceLoop::Settle(size_t most) {
  while (pending_.size() > most) {
    const Pending oldest = std::move(pending_.front());
    pending_.pop_front();
    device_.Wait(oldest.done);
    oldest.finish(since_.milliseconds());
    since_ = {};
  }
}

std::vector<float> DeviceLoop::Latents() {
  std::vector<float> latents(latents_.size());
  device_.Copy<float>(Queue::kCompute, latents.data(), latents_.data(), latents.size());
  device_.Synchronize();
  return latents;
}

}  // namespace echomimic
