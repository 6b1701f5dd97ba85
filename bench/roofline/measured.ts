import { timeNetworks } from '../engine/measure.js';
import type { BenchOptions } from '../engine/options.js';
import type { RooflineReport, Row, Timing } from '../report/schema.js';
import { percentile } from '../report/statistics.js';
import { type CountedModel, type NetworkCalls, countClip, openCounted } from './clip.js';
import { rooflineReport, timingOf } from './report.js';

/** Inputs of the networks that a clip calls once, which are timed one by one. */
function inputsOf(
  model: CountedModel,
  { width, height, seconds, fps }: { width: number; height: number; seconds: number; fps: number },
) {
  const { hop, sampleRate, blockFrames } = model.audio;
  const samples = Math.round((Math.max(1, Math.round(seconds * fps)) / fps) * sampleRate);
  const melFrames = Math.min(blockFrames, Math.floor(samples / hop));
  const [rows, columns] = [height / model.downscale, width / model.downscale];
  const channels = 4;
  const shapes: Record<string, Record<string, number[]>> = {
    mel: { pcm: [samples] },
    audio: { mel: [80, melFrames] },
    faceLocator: { mask: [height, width] },
    vaeEncoder: { image: [1, 3, height, width] },
    reference: { latents: [1, channels, rows, columns] },
  };
  return Object.entries(shapes).map(([network, one]) => ({ network, shapes: one }));
}

/**
 * Counts against times, on the longest clip of each device. What a clip calls once is timed by
 * itself; windows and frames as they ran in the clip, dealt out to the engine's lanes.
 */
export async function measuredRoofline(
  options: BenchOptions,
  rows: readonly Row[],
): Promise<RooflineReport> {
  const { settings, peaks, modelFolder } = options;
  const model = await openCounted(modelFolder);
  const seconds = Math.max(...settings.seconds);
  const timings: Timing[] = [];
  let calls: NetworkCalls[] = [];
  const sizes = { ...settings, frames: Math.max(1, Math.round(seconds * settings.fps)) };
  for (const device of options.devices) {
    const flavour = (device.kind as string) === 'cpu' ? 'cpu' : 'standard';
    calls = await countClip(model, sizes, flavour);
    const row = rows.find(
      (one) =>
        one.scope === 'alone' &&
        one.mode === 'engine' &&
        one.device === device.id &&
        one.seconds === seconds,
    );
    const alone = await timeNetworks(options, device.id, inputsOf(model, { ...settings, seconds }));
    for (const one of calls) {
      const times = alone.get(one.network);
      let ms = times === undefined ? null : percentile(times, 0.5);
      if (one.network === 'vaeDecoder') ms = row?.stages?.frame.p50 ?? null;
      if (one.stage === 'denoise') {
        // with guidance both networks of a window are one time, in proportion to their arithmetic
        const both = calls.filter(({ stage }) => stage === 'denoise');
        const share = one.flops / both.reduce((sum, { flops }) => sum + flops, 0);
        ms = row?.stages ? row.stages.window.p50 * share : null;
      }
      timings.push(timingOf(device.id, one, ms, peaks));
    }
  }
  return rooflineReport(timings, calls, sizes, peaks);
}
