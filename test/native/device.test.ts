import t, { type Test } from 'tap';
import {
  Engine,
  type Frames,
  type LoadOptions,
  type Progress,
  type RenderOptions,
} from '../../native/index.js';
import { smallClip, testModel } from './clip.js';

type HostDevice = NonNullable<LoadOptions['hostDevice']>;

const plain: HostDevice = {
  standardGraphs: false,
  windows: 1,
  images: 1,
  memoryBytes: 0,
  outOfMemory: [],
  lostAt: 0,
};

/** An engine with the loop of GPUs, the host being the device. */
async function onHost(t: Test, changes: Partial<HostDevice> = {}): Promise<Engine> {
  const hostDevice = { ...plain, ...changes };
  const engine = await Engine.load({ model: testModel, threads: 2, hostDevice });
  t.teardown(() => engine.dispose());
  return engine;
}

interface Made {
  frames: Uint8Array;
  /** Of every step, one after the other. */
  latents: Float32Array;
}

async function make(engine: Engine, changes: Partial<RenderOptions> = {}): Promise<Made> {
  const chunks: Uint8Array[] = [];
  const latents: number[] = [];
  await engine.render(smallClip(changes), {
    onFrames: ({ data }) => void chunks.push(data),
    onLatents: ({ data }) => void latents.push(...data),
  });
  return { frames: Buffer.concat(chunks), latents: Float32Array.from(latents) };
}

const same = (a: Made, b: Made): boolean =>
  Buffer.compare(a.frames, b.frames) === 0 &&
  Buffer.compare(Buffer.from(a.latents.buffer), Buffer.from(b.latents.buffer)) === 0;

/** The limits of npm run golden. */
function alike(t: Test, a: Made, b: Made, what: string): void {
  t.equal(a.frames.length, b.frames.length);
  const levels = a.frames.map((byte, i) => Math.abs(byte - b.frames[i]!));
  const mean = levels.reduce((sum, level) => sum + level, 0) / levels.length;
  const most = levels.reduce((most, level) => Math.max(most, level), 0);
  t.ok(mean <= 1 && most <= 6, `${what}: frames differ by ${mean} levels, ${most} at most`);
  const squares = (of: (i: number) => number) =>
    a.latents.reduce((sum, _, i) => sum + of(i) ** 2, 0);
  const error = Math.sqrt(
    squares((i) => a.latents[i]! - b.latents[i]!) / squares((i) => b.latents[i]!),
  );
  t.ok(error <= 1e-3, `${what}: latents differ by ${error}`);
}

/** Eleven frames in four windows of each step. */
const short = { frames: 11, contextFrames: 4, contextOverlap: 1 } as const;
const noise = Float32Array.from({ length: 4 * 9 * 64 }, (_, i) => 2 * Math.sin(i * i));
const wide = {
  image: { width: 72, height: 48, data: new Uint8Array(3 * 48 * 72).fill(90) },
  faceMask: { width: 72, height: 48, data: new Uint8Array(48 * 72).fill(255) },
  frames: 2,
};

const lanes = await Engine.load({ model: testModel, threads: 2 });
t.teardown(() => lanes.dispose());
const expected = await make(lanes, short);

t.test('the loop of GPUs makes what the CPU makes, to the last bit', async (t) => {
  const engine = await onHost(t);
  for (const [what, clip] of Object.entries({
    'many windows': short,
    guidance: { ...short, cfg: 3 },
    'given noise, one odd window': { frames: 9, noise },
    'another size': wide,
    'one frame': { frames: 1, steps: 1 },
    'the first size again': short,
  })) {
    t.ok(same(await make(engine, clip), await make(lanes, clip)), what);
  }
});

t.test('several windows and frames per call, the last one filled up', async (t) => {
  const engine = await onHost(t, { windows: 3, images: 4 });
  alike(t, await make(engine, short), expected, 'batches');
  const seen: Progress[] = [];
  const chunks: number[] = [];
  await engine.render(smallClip({ ...short, frames: 13, steps: 3 }), {
    onProgress: (progress) => void seen.push(progress),
    onFrames: ({ count }) => void chunks.push(count),
  });
  t.same(chunks, [4, 4, 4, 1]);
  t.same(
    seen.filter(({ stage }) => stage === 'denoise').map(({ step, window }) => `${step}:${window}`),
    [1, 2, 3].flatMap((step) => [3, 5].map((window) => `${step}:${window}`)),
  );
  t.ok(seen.every(({ percent }, i) => percent >= (seen[i - 1]?.percent ?? 0)));
  t.same([seen.at(-1)!.percent, seen.at(-1)!.framesDone, seen.at(-1)!.windows], [100, 13, 5]);
});

t.test('the graphs for GPUs make the same clip', async (t) => {
  const engine = await onHost(t, { standardGraphs: true, windows: 2, images: 3 });
  const guided = { ...short, frames: 6, cfg: 3 };
  alike(t, await make(engine, guided), await make(lanes, guided), 'with guidance');
});

t.test('frames come in order, and wait for whoever takes them', async (t) => {
  const engine = await onHost(t, { images: 2 });
  let next = 0;
  let taking = 0;
  let made = 0;
  await engine.render(smallClip({ ...short, steps: 1 }), {
    onProgress: ({ framesDone }) => {
      // Two chunks may be on their way to the taker, and one waits for that.
      t.ok(framesDone - made <= 6, `${framesDone} made, ${made} taken`);
    },
    onFrames: async ({ first, count }: Frames) => {
      t.equal(first, next);
      next += count;
      t.ok(++taking <= 2);
      await new Promise(setImmediate);
      taking--;
      made += count;
    },
  });
  t.equal(made, 11);
});

t.test('a clip can be stopped at any time, and the next one is whole', async (t) => {
  const engine = await onHost(t, { windows: 2, images: 2 });
  for (const [stage, count] of [
    ['audio', 1],
    ['reference', 1],
    ['denoise', 1],
    ['denoise', 3],
    ['decode', 2],
  ] as const) {
    const stop = new AbortController();
    let seen = 0;
    const work = engine.render(smallClip(short), {
      onProgress: (progress) => {
        if (progress.stage === stage && ++seen === count) stop.abort();
      },
      // A taker that never comes back: only the signal ends this clip.
      onFrames: () => new Promise(() => {}),
      signal: stop.signal,
    });
    await t.rejects(work, { code: 'ENGINE_CANCELLED' }, `${stage} ${count}`);
  }
  alike(t, await make(engine, short), expected, 'afterwards');
});

t.test('out of memory: smaller calls, and the same clip', async (t) => {
  // Three times in a row, in each clip at another place: fewer windows, then fewer frames.
  const outOfMemory = Array.from({ length: 12 }, (_, i) => 67 * (i + 1)).flatMap((n) => [
    n,
    n + 1,
    n + 2,
  ]);
  const engine = await onHost(t, { windows: 4, images: 4, outOfMemory });
  let fewer = 0;
  for (let i = 0; i < 8; i++) {
    const chunks: Uint8Array[] = [];
    const latents: number[] = [];
    await engine.render(smallClip(short), {
      onFrames: ({ data, count }) => {
        chunks.push(data);
        if (count < 3) fewer++;
      },
      onLatents: ({ data }) => void latents.push(...data),
    });
    const made = { frames: Buffer.concat(chunks), latents: Float32Array.from(latents) };
    alike(t, made, expected, `clip ${i}`);
  }
  t.ok(fewer > 0, 'the decoder had to step down too');
});

t.test('out of memory at the smallest calls ends the clip, not the engine', async (t) => {
  const engine = await onHost(t, { windows: 2, images: 2, outOfMemory: [1, 2, 3] });
  await t.rejects(make(engine, short), { code: 'ENGINE_OUT_OF_MEMORY' });
  alike(t, await make(engine, short), expected, 'afterwards');
});

t.test('a lost device ends the engine: every job is refused with its code', async (t) => {
  for (const lostAt of [1, 60, 120, 180]) {
    const engine = await onHost(t, { lostAt });
    await t.rejects(make(engine, short), { code: 'ENGINE_DEVICE_LOST' }, `at call ${lostAt}`);
    await t.rejects(make(engine, short), { code: 'ENGINE_DEVICE_LOST' });
    await t.rejects(engine.run('mel', {}), { code: 'ENGINE_DEVICE_LOST' });
    await engine.dispose();
  }
});
