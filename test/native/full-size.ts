import { configsOf, fullSize, planOf } from '../../bench/synthetic/checkpoint.js';
import type { AddonModel } from '../../native/addon.js';
import type { Precision } from '../../weights/graph/builder.js';
import { parseUNetConfig, parseVaeConfig, parseWhisperDims } from '../../weights/model/config.js';
import { withMemory } from '../../weights/model/memory.js';

const models = new Map<Precision, AddonModel>();

/** What the engine is told of a model as large as the official release, whose files nobody needs. */
export function fullSizeModel(precision: Precision): AddonModel {
  let model = models.get(precision);
  if (model === undefined) models.set(precision, (model = describe(precision)));
  return model;
}

function describe(precision: Precision): AddonModel {
  const { unet, vae, dims } = configsOf(fullSize);
  const config = {
    unet: parseUNetConfig(unet, 'unet'),
    vae: parseVaeConfig(vae, 'vae'),
    whisper: parseWhisperDims(dims, 'whisper'),
    motionHeads: fullSize.heads,
  };
  const plan = planOf(fullSize, precision);
  const networks = withMemory(plan, config, 12);
  return {
    networks: Object.entries(networks).map(([name, { file, memory }]) => ({
      name,
      path: file,
      cpuPath: file,
      digest: '',
      weightBytes: memory?.weights ?? 0,
      live: memory && { frames: memory.frames, sums: memory.live },
    })),
    float16: precision === 'fp16',
    unetChannels: [...fullSize.channels],
    bank: [...plan.bank],
    audio: {
      sampleRate: 16000,
      hop: 160,
      melBins: 80,
      blockFrames: 3000,
      states: 5,
      width: fullSize.audioWidth,
      positionsPerSecond: 50,
      windowBefore: 4,
      windowAfter: 5,
    },
    latent: { channels: 4, downscale: 8 },
    maxContext: fullSize.motionFrames,
    schedule: { trainSteps: 1000, betaStart: 0.00085, betaEnd: 0.012 },
  };
}
