#include "render.h"

#include <utility>

#include "latents.h"
#include "schedule.h"

namespace echomimic {

namespace {

LatentsSnapshot Snapshot(const Clip& clip, int step, const std::vector<float>& latents) {
  LatentsSnapshot snapshot;
  const auto channels = static_cast<size_t>(clip.model.latent_channels);
  snapshot.step = step;
  snapshot.latents.shape = {clip.model.latent_channels, clip.frames, clip.rows, clip.columns};
  snapshot.latents.data.resize(latents.size());
  SwapOuter(latents.data(), clip.frames, channels, clip.plane / channels,
            snapshot.latents.data.data());
  return snapshot;
}

void Denoise(Clip& clip, Loop& loop) {
  const RenderRequest& request = clip.request;
  const auto schedule = MakeSchedule(clip.model.schedule, request.steps);
  for (int s = 0; s < request.steps; s++) {
    StepWork work{s, s == request.steps - 1, schedule[s], {}};
    work.order.windows =
        MakeWindows(clip.frames, request.context_frames, request.context_overlap, s);
    if (work.last) work.order = OrderForStreaming(work.order.windows, clip.frames);
    loop.RunStep(work);
    if (request.want_latents) clip.sink.OnLatents(Snapshot(clip, s, loop.Latents()));
  }
}

}  // namespace

RenderResult Render(Clip& clip, Loop& loop, Costs& costs) {
  const Stopwatch total;
  ProgressMeter& meter = clip.meter();
  Stopwatch run;
  loop.HearAudio(std::move(clip.request.audio), [&] {
    meter.Advance(Stage::kAudio, 1, run.milliseconds());
    run = {};
  });
  clip.cancellation.ThrowIfCancelled();
  const Stopwatch reference;
  loop.EncodeReference();
  meter.Advance(Stage::kReference, 1, reference.milliseconds());
  loop.StartFromNoise();
  clip.request.noise = {};
  Denoise(clip, loop);
  clip.sink.Drain();
  clip.cancellation.ThrowIfCancelled();
  meter.Finish();
  costs = meter.MeasuredCosts();

  RenderResult result;
  result.frames = clip.frames;
  result.width = clip.request.image.width;
  result.height = clip.request.image.height;
  result.fps = clip.request.fps;
  result.seed = clip.request.seed;
  for (int i = 0; i < kStages; i++) {
    result.milliseconds[i] = meter.milliseconds(static_cast<Stage>(i));
  }
  result.total_milliseconds = total.milliseconds();
  return result;
}

}  // namespace echomimic
