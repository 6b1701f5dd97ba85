import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { Engine, type Frames, type Progress, type RenderOptions } from '../../native/index.js';
import { smallClip, speech, testModel } from './clip.js';

const engine = await Engine.load({ model: testModel, threads: 2 });
t.teardown(() => engine.dispose());

async function render(changes: Partial<RenderOptions> = {}, from = engine): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  await from.render(smallClip(changes), { onFrames: ({ data }) => void chunks.push(data) });
  return Buffer.concat(chunks);
}

t.test('the same seed gives the same bytes, another seed another clip', async (t) => {
  const first = await render();
  t.equal(first.length, engine.frameCount(smallClip().audio.length, 24) * 64 * 64 * 3);
  t.ok(first.equals(await render()));
  t.notOk(first.equals(await render({ seed: 8 })));
  t.ok(first.equals(await render({ seed: 7n })));
});

t.test('the number of threads changes no byte', async (t) => {
  const other = await Engine.load({ model: testModel, threads: 1 });
  t.ok((await render()).equals(await render({}, other)));
  await other.dispose();
});

t.test('a seed that nobody gave is reported and repeats the clip', async (t) => {
  const { seed: _, ...options } = smallClip({ frames: 3 });
  const chunks: Uint8Array[] = [];
  const { seed } = await engine.render(options, { onFrames: ({ data }) => void chunks.push(data) });
  t.type(seed, 'bigint');
  t.ok(Buffer.concat(chunks).equals(await render({ frames: 3, seed })));
});

t.test('progress follows every window, never falls and ends at 100', async (t) => {
  const seen: Progress[] = [];
  const result = await engine.render(smallClip({ steps: 3 }), {
    onProgress: (progress) => void seen.push(progress),
    onFrames: () => {},
  });
  t.ok(seen.every(({ percent }, i) => percent >= (seen[i - 1]?.percent ?? 0)));
  t.equal(seen.at(-1)!.percent, 100);
  t.equal(seen.filter(({ percent }) => percent === 100).length, 1);
  const windows = seen.filter(({ stage }) => stage === 'denoise');
  t.same(
    windows.filter(({ percent }) => percent < 100).map(({ step, window }) => `${step}:${window}`),
    [1, 2, 3].flatMap((step) => [1, 2, 3].map((window) => `${step}:${window}`)),
  );
  t.equal(seen.at(-1)!.framesDone, result.frames);
  for (const stage of ['audio', 'reference', 'decode']) {
    t.ok(
      seen.some((progress) => progress.stage === stage),
      stage,
    );
  }
});

t.test('frames come in order, and wait for whoever takes them', async (t) => {
  let next = 0;
  let taking = 0;
  let most = 0;
  let received = 0;
  await engine.render(smallClip({ steps: 1 }), {
    onProgress: ({ framesDone }) => {
      // Two chunks may be on their way, and each lane may hold one more.
      t.ok(framesDone - received <= 3, `${framesDone} made, ${received} taken`);
    },
    onFrames: async ({ first, count }: Frames) => {
      t.equal(first, next);
      next += count;
      most = Math.max(most, ++taking);
      await sleep(10);
      taking--;
      received += count;
    },
  });
  t.equal(received, engine.frameCount(smallClip().audio.length, 24));
  t.ok(most <= 2, `${most} chunks at a time`);
});

t.test('guidance changes the clip, and 1 is none', async (t) => {
  const plain = await render({ frames: 4 });
  t.ok(plain.equals(await render({ frames: 4, cfg: 0.5 })));
  t.notOk(plain.equals(await render({ frames: 4, cfg: 3 })));
});

t.test('a clip of one frame, and one no longer than a window', async (t) => {
  t.equal((await render({ frames: 1 })).length, 64 * 64 * 3);
  t.equal((await render({ frames: 8 })).length, 8 * 64 * 64 * 3);
  t.equal((await render({ audio: speech(0.02) })).length, 2 * 64 * 64 * 3);
});

t.test('frames do not depend on the lines of an image being square', async (t) => {
  const data = new Uint8Array(3 * 48 * 72).fill(90);
  const wide = {
    image: { width: 72, height: 48, data },
    faceMask: { width: 72, height: 48, data: data.slice(0, 48 * 72) },
    frames: 2,
  };
  t.equal((await render(wide)).length, 2 * 3 * 48 * 72);
});

t.test('abort stops within one window and leaves the engine usable', async (t) => {
  const before = AbortSignal.abort();
  await t.rejects(engine.render(smallClip(), { onFrames: () => {}, signal: before }), {
    code: 'ENGINE_CANCELLED',
  });
  const stop = new AbortController();
  let windows = 0;
  const work = engine.render(smallClip({ steps: 50 }), {
    onProgress: ({ stage }) => {
      if (stage !== 'denoise') return;
      if (++windows === 4) stop.abort();
    },
    onFrames: () => void t.fail('no frame was due'),
    signal: stop.signal,
  });
  await t.rejects(work, { code: 'ENGINE_CANCELLED' });
  // Up to one more window per lane may have ended before the signal was seen.
  t.ok(windows <= 6, `${windows} windows`);
  t.equal((await render({ frames: 1 })).length, 64 * 64 * 3);
});

t.test('what a hook throws ends the clip and is what the caller sees', async (t) => {
  const mine = new Error('disk full');
  for (const hooks of [
    { onFrames: () => Promise.reject(mine) },
    {
      onFrames: () => {},
      onProgress: () => {
        throw mine;
      },
    },
  ]) {
    await t.rejects(engine.render(smallClip(), hooks), mine);
  }
});

t.test('a second clip is refused while one is made', async (t) => {
  const first = engine.render(smallClip(), { onFrames: () => {} });
  await t.rejects(engine.render(smallClip(), { onFrames: () => {} }), { code: 'ENGINE_BUSY' });
  await t.rejects(engine.run('mel', {}), { code: 'ENGINE_BUSY' });
  t.ok((await first).frames > 0);
});

t.test('an error has the stack of the call', async (t) => {
  const error = await engine
    .render(smallClip({ audio: new Float32Array(0) }), { onFrames() {} })
    .then(
      () => undefined,
      (thrown: Error) => thrown,
    );
  t.match(error?.stack, /render\.test/);
});

t.test('given noise is used, and clamped', async (t) => {
  const noise = new Float32Array(4 * 3 * 8 * 8).fill(1.5);
  const clamped = await render({ frames: 3, noise });
  t.ok(clamped.equals(await render({ frames: 3, noise: noise.fill(9) })));
});

t.test('latents are shown after every step', async (t) => {
  const steps: number[] = [];
  await engine.render(smallClip({ frames: 3 }), {
    onFrames: () => {},
    onLatents: ({ shape }, step) => {
      t.same(shape, [4, 3, 8, 8]);
      steps.push(step);
    },
  });
  t.same(steps, [0, 1]);
});
