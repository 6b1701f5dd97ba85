import { join } from 'node:path';
import t from 'tap';
import type { Frames, Progress } from '../../native/index.js';
import { native } from '../../native/load.js';
import { projectRoot } from '../../src/paths.js';
import { loadManifest } from '../../weights/manifest.js';
import { SimulatedEngine, countFrames } from '../../worker/simulated-engine.js';

const model = join(projectRoot, 'weights', 'small');
const [width, height] = [32, 16];
const request = (seconds: number) => ({
  image: { width, height, data: new Uint8Array(width * height * 3).fill(90) },
  faceMask: { width, height, data: new Uint8Array(width * height).fill(255) },
  audio: new Float32Array(seconds * 16_000),
});

void t.test('frames are counted as the native engine does', async (t) => {
  const { audio } = await loadManifest(model);
  const { addon } = native();
  for (const fps of [1, 24, 25, 29.97, 60]) {
    for (let samples = 320; samples < 2_000_000; samples = Math.ceil(samples * 1.37)) {
      const counted = countFrames(audio, samples, fps);
      const { hop, blockFrames, positionsPerSecond } = audio;
      const asked = { hop, blockFrames, positionsPerSecond, samples, fps };
      if (counted !== addon.frameCount(asked)) t.equal(counted, addon.frameCount(asked));
    }
  }
});

void t.test('a clip takes its time and has every frame once', async (t) => {
  const engine = await SimulatedEngine.load(model, 5);
  t.teardown(() => engine.dispose());
  const progress: Progress[] = [];
  const chunks: Frames[] = [];
  const { image, ...rest } = request(1);
  const begun = performance.now();
  const used = process.cpuUsage();
  const result = await engine.render(
    { image, ...rest, frames: 24, steps: 3, seed: 7 },
    { onProgress: (one) => progress.push(one), onFrames: (frames) => void chunks.push(frames) },
  );
  const { user, system } = process.cpuUsage(used);
  const ms = performance.now() - begun;
  t.ok(ms >= 24 * 5 - 2, `${ms} ms`);
  t.ok((user + system) / 1000 < ms, 'it waits, and does not work');
  t.match(result, { frames: 24, width, height, fps: 24, seed: 7n });
  t.ok(result.timings.denoise > result.timings.decode);
  t.same(
    [...new Set(progress.map(({ stage }) => stage))],
    [...['audio', 'reference', 'denoise', 'decode']],
  );
  t.equal(progress.filter(({ stage }) => stage === 'denoise').length, 3 * 3, 'steps x windows');
  t.ok(progress.every(({ percent }, i) => percent >= (progress[i - 1]?.percent ?? 0)));
  t.match(progress.at(-1), { percent: 100, step: 3, window: 3, windows: 3, framesDone: 24 });
  const frames: string[] = [];
  for (const { first, count, data } of chunks) {
    t.equal(first, frames.length);
    t.equal(data.length, count * image.data.length);
    for (let i = 0; i < count; i++) {
      const frame = data.subarray(i * image.data.length, (i + 1) * image.data.length);
      t.ok(frame.includes(90) && frame.includes(255), 'the picture, and the bar');
      frames.push(Buffer.from(frame).toString('hex'));
    }
  }
  t.equal(frames.length, 24);
  t.equal(new Set(frames).size, 16, 'the bar moves through the picture');
});

void t.test('it is stopped within a window, and refuses as the engine does', async (t) => {
  const engine = await SimulatedEngine.load(model, 60_000);
  const hooks = { onFrames: () => undefined };
  const abort = new AbortController();
  const running = engine.render(request(1), {
    ...hooks,
    signal: abort.signal,
  });
  await t.rejects(engine.render(request(1), hooks), { code: 'ENGINE_BUSY' });
  abort.abort();
  await t.rejects(running, { code: 'ENGINE_CANCELLED' });
  await t.rejects(engine.render(request(1), { ...hooks, signal: abort.signal }), {
    code: 'ENGINE_CANCELLED',
  });
  await t.rejects(engine.render({ ...request(1), steps: 0 }, hooks), {
    code: 'ENGINE_OPTION_INVALID',
    message: /^steps/,
  });
  const last = engine.render(request(1), hooks);
  const ended = t.rejects(last, { code: 'ENGINE_DISPOSED' });
  await engine.dispose();
  await ended;
  await t.rejects(engine.render(request(1), hooks), { code: 'ENGINE_DISPOSED' });

  const quick = await SimulatedEngine.load(model, 0);
  const failure = new Error('the disk is full');
  const failing = quick.render(request(1), { onFrames: () => Promise.reject(failure) });
  await t.rejects(failing, failure, 'what a hook throws');
});
