import t from 'tap';
import {
  type ClipSizes,
  countClip,
  fullSizeModel,
  growthOf,
  openCounted,
  windowsOf,
} from '../../bench/roofline/clip.js';
import { countGraph } from '../../bench/roofline/count.js';
import { timingOf } from '../../bench/roofline/report.js';
import { Engine, parts } from '../../native/index.js';
import { testModel } from '../native/clip.js';
import { noise } from '../weights/ort.js';

const clip: ClipSizes = {
  ...{ frames: 24, fps: 24, width: 512, height: 512, steps: 6, cfg: 2.5 },
  ...{ contextFrames: 12, contextOverlap: 3 },
};

t.test('windows are as many as the engine takes', async (t) => {
  for (const frames of [1, 11, 12, 13, 24, 25, 100, 241]) {
    const { windows } = parts.windows({ ...clip, frames, step: 1, streaming: false });
    t.equal(windowsOf({ ...clip, frames }), windows.length, `${frames} frames`);
  }
});

t.test('both kinds of graphs do the same arithmetic', async (t) => {
  const model = fullSizeModel('fp16');
  const [standard, cpu] = [
    await countClip(model, clip, 'standard'),
    await countClip(model, clip, 'cpu'),
  ];
  t.equal(standard.length, 8);
  for (const [i, one] of standard.entries()) {
    const other = cpu[i]!;
    t.equal(other.network, one.network);
    t.equal(other.calls, one.calls);
    t.ok(other.activationBytes < 1.2 * 2 * one.activationBytes, 'float32, and fewer detours');
    t.equal(other.flops, one.flops, one.network);
  }
});

t.test('attention of the full size, by hand', async (t) => {
  const calls = await countClip(fullSizeModel('fp16'), clip, 'cpu');
  const denoiser = calls.find(({ network }) => network === 'denoiser')!;
  t.equal(denoiser.calls, 3 * 6);
  // [layers, tokens of an image, channels] of each level; the reference's tokens come on top
  const levels = [...[5, 4096, 320], ...[5, 1024, 640], ...[5, 256, 1280], ...[1, 64, 1280]];
  let self = 0;
  let audio = 0;
  for (let i = 0; i < levels.length; i += 3) {
    const [layers, tokens, width] = levels.slice(i, i + 3) as [number, number, number];
    self += 12 * layers * tokens * 2 * tokens * (4 * width + 5 * 8);
    audio += 12 * layers * tokens * 50 * (4 * width + 5 * 8);
  }
  const { operators } = denoiser.each;
  t.equal(operators.get('echomimic:SelfAttention')!.flops, self);
  t.equal(operators.get('echomimic:CrossAttention')!.flops, audio);
});

t.test('costs grow with length, steps and pixels', async (t) => {
  const model = fullSizeModel('fp16');
  const growth = async (changes: Partial<ClipSizes>) =>
    growthOf(await countClip(model, { ...clip, cfg: 1, ...changes }, 'cpu'));
  const base = await growth({});
  const calls = await countClip(model, { ...clip, cfg: 1 }, 'cpu');
  const total = calls.reduce((sum, { flops }) => sum + flops, 0);
  const sum = base.once + 3 * 6 * base.perWindow + 24 * base.perDecodedFrame;
  t.ok(Math.abs(total / sum - 1) < 1e-9);
  const longer = await growth({ frames: 240, steps: 12 });
  t.equal(longer.perWindow, base.perWindow);
  t.equal(longer.perDecodedFrame, base.perDecodedFrame);
  const half = await growth({ width: 256, height: 256 });
  const ratio = base.perWindow / half.perWindow;
  t.ok(ratio > 4 && ratio < 16, `${ratio}: between pixels and pixels squared`);
});

t.test('shapes are those that networks make', async (t) => {
  const model = await openCounted(testModel);
  const engine = await Engine.load({ model: testModel });
  t.teardown(() => engine.dispose());
  const small = { ...clip, width: 128, height: 128 };
  const calls = await countClip(model, small, 'standard');
  const cases = {
    mel: { pcm: [1600] },
    audio: { mel: [80, 31] },
    faceLocator: { mask: [128, 128] },
    vaeEncoder: { image: [1, 3, 128, 128] },
    reference: { latents: [1, 4, 16, 16] },
    vaeDecoder: { latents: [2, 4, 16, 16] },
  };
  const dims = {
    mel: { samples: 1600 },
    audio: { frames: 31 },
    faceLocator: { height: 128, width: 128 },
    vaeEncoder: { images: 1, height: 128, width: 128 },
    reference: { height: 16, width: 16 },
    vaeDecoder: { images: 2, latent_height: 16, latent_width: 16 },
  };
  for (const [name, inputs] of Object.entries(cases)) {
    const network = name as keyof typeof cases;
    const made = await engine.run(
      network,
      Object.fromEntries(
        Object.entries(inputs).map(([input, shape]) => {
          const { data } = noise(shape);
          return [input, { shape, data }];
        }),
      ),
    );
    for (const flavour of ['cpu', 'standard'] as const) {
      const counted = countGraph(await model.graph(network, flavour), dims[network]);
      for (const [output, { shape }] of Object.entries(made)) {
        t.strictSame(counted.outputs.get(output), shape, `${flavour} ${network} ${output}`);
      }
    }
  }
  const denoiser = calls.find(({ network }) => network === 'denoiser')!;
  t.strictSame(denoiser.each.outputs.get('v'), [1, 12, 4, 16, 16]);
});

t.test('times against peaks', async (t) => {
  const [mel] = await countClip(fullSizeModel('fp32'), clip, 'cpu');
  const bytes = mel!.weightBytes + mel!.activationBytes;
  const slow = timingOf('cpu', mel!, 2, { gflops: 1000, gbps: 1e6 });
  t.equal(slow.flopsPerSecond, mel!.flops / 0.002);
  t.equal(slow.shareOfPeak, mel!.flops / 0.002 / 1e12);
  t.equal(slow.shareOfRoof, slow.shareOfPeak, 'memory is fast enough');
  const starved = timingOf('cpu', mel!, 2, { gflops: 1000, gbps: 1 });
  t.ok(Math.abs(starved.shareOfRoof! / (bytes / 0.002 / 1e9) - 1) < 1e-9, 'memory is the limit');
  const unknown = timingOf('cpu', mel!, null, { gflops: 1000, gbps: undefined });
  t.equal(unknown.shareOfPeak, null);
  t.equal(unknown.shareOfRoof, null);
});
