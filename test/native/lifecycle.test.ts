import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Engine } from '../../native/index.js';
import { smallClip, testModel } from './clip.js';

const quiet = { onFrames: () => {} };

/** Runs `work` and tells the longest time between two turns of the event loop. */
async function longestPause(work: () => Promise<unknown>): Promise<number> {
  let last = performance.now();
  let longest = 0;
  const timer = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  }, 5);
  await work();
  clearInterval(timer);
  return Math.max(longest, performance.now() - last);
}

t.test('the event loop turns during load, render and dispose', async (t) => {
  // 50 ms is the promise. Another program on the same core makes pauses of its own, but hardly three
  // times in a row.
  const attempts: Record<string, number>[] = [];
  for (let i = 0; i < 3; i++) {
    let engine!: Engine;
    attempts.push({
      load: await longestPause(async () => (engine = await Engine.load({ model: testModel }))),
      render: await longestPause(() => engine.render(smallClip({ steps: 4 }), quiet)),
      dispose: await longestPause(() => engine.dispose()),
    });
  }
  t.comment(JSON.stringify(attempts));
  for (const what of ['load', 'render', 'dispose']) {
    const pause = Math.min(...attempts.map((attempt) => attempt[what]!));
    t.ok(pause < 150, `${what}: ${pause} ms`);
  }
});

t.test('the thread pool of Node stays free', async (t) => {
  const engine = await Engine.load({ model: testModel });
  let done = false;
  const work = engine.render(smallClip({ steps: 20 }), quiet).finally(() => (done = true));
  const ended = t.rejects(work, { code: 'ENGINE_DISPOSED' });
  const own = fileURLToPath(import.meta.url);
  await Promise.all([1, 2, 3, 4, 5, 6].map(() => readFile(own)));
  t.notOk(done, 'files were read while the clip was made');
  await engine.dispose();
  await ended;
});

t.test('dispose ends a running clip, may be repeated, and nothing works after it', async (t) => {
  const engine = await Engine.load({ model: testModel });
  const work = engine.render(smallClip({ steps: 200 }), quiet);
  const ended = t.rejects(work, { code: 'ENGINE_DISPOSED' });
  await sleep(50);
  await Promise.all([engine.dispose(), engine.dispose()]);
  await ended;
  await engine.dispose();
  await t.rejects(engine.render(smallClip(), quiet), { code: 'ENGINE_DISPOSED' });
  await t.rejects(engine.run('mel', {}), { code: 'ENGINE_DISPOSED' });
  t.equal(engine.info().device.id, 'cpu');
});

t.test('dispose while nobody takes the frames', async (t) => {
  const engine = await Engine.load({ model: testModel });
  let reached!: () => void;
  const firstFrames = new Promise<void>((resolve) => (reached = resolve));
  const work = engine.render(smallClip({ steps: 1 }), {
    onFrames: () => {
      reached();
      return new Promise(() => {});
    },
  });
  const ended = t.rejects(work, { code: 'ENGINE_DISPOSED' });
  await firstFrames;
  await engine.dispose();
  await ended;
});

t.test('two engines work side by side', async (t) => {
  const engines = await Promise.all(
    [1, 2].map((threads) => Engine.load({ model: testModel, threads })),
  );
  const clips = await Promise.all(engines.map((engine) => engine.render(smallClip(), quiet)));
  t.equal(clips[0]!.frames, clips[1]!.frames);
  await Promise.all(engines.map((engine) => engine.dispose()));
});

t.test('an engine that goes out of scope is disposed', async (t) => {
  const engine = await Engine.load({ model: testModel });
  await engine[Symbol.asyncDispose]();
  await t.rejects(engine.render(smallClip(), quiet), { code: 'ENGINE_DISPOSED' });
});

t.test('the result tells how the time was spent', async (t) => {
  const engine = await Engine.load({ model: testModel });
  const { timings, frames, width, height, fps } = await engine.render(smallClip(), quiet);
  t.same({ width, height, fps }, { width: 64, height: 64, fps: 24 });
  t.ok(frames > 0);
  for (const stage of ['audio', 'reference', 'denoise', 'decode', 'total'] as const) {
    t.ok(timings[stage] > 0, stage);
  }
  t.ok(engine.info().loadMilliseconds > 0);
  await engine.dispose();
});
