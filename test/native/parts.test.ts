import t from 'tap';
import { native } from '../../native/load.js';
import { parts } from '../../native/index.js';
import { errorCodes } from '../../src/errors.js';

const release = { trainSteps: 1000, betaStart: 0.00085, betaEnd: 0.012 };

t.test('both sides know the same error codes', async (t) => {
  const ours = Object.keys(errorCodes).filter((code) => code.startsWith('ENGINE_'));
  t.same([...native().addon.errorCodes].sort(), ours.sort());
});

t.test('the schedule ends at zero signal and steps back by whole train steps', async (t) => {
  const { alphasCumprod, steps } = parts.schedule({ ...release, steps: 6 });
  t.equal(alphasCumprod.length, 1000);
  t.equal(alphasCumprod[999], 0);
  t.ok(Math.abs(alphasCumprod[0]! - 0.99915) < 1e-6);
  t.same(
    steps.map(({ timestep }) => timestep),
    [999, 832, 666, 499, 332, 166],
  );
  // The last of six steps ends at train step 166 - 166 = 0, not at clean latents.
  const a = alphasCumprod[166]!;
  const b = alphasCumprod[0]!;
  const last = steps[5]!;
  t.ok(Math.abs(last.keep - (Math.sqrt(b * a) + Math.sqrt((1 - b) * (1 - a)))) < 1e-6);
  t.ok(Math.abs(last.turn - (Math.sqrt((1 - b) * a) - Math.sqrt(b * (1 - a)))) < 1e-6);
});

t.test('steps that fall between two train steps round to the even one', async (t) => {
  const { steps } = parts.schedule({ ...release, steps: 16 });
  t.equal(steps[1]!.timestep, 937);
  t.equal(steps[15]!.timestep, 61);
  for (const count of [61, 103, 122, 1000]) {
    t.ok(parts.schedule({ ...release, steps: count }).steps.every((step) => step.timestep >= 0));
  }
  t.throws(() => parts.schedule({ ...release, steps: 0 }), { code: 'ENGINE_OPTION_INVALID' });
});

t.test('windows cover every frame, wrap around and shift by two frames per step', async (t) => {
  const options = { frames: 24, contextFrames: 12, contextOverlap: 3, streaming: false };
  const first = parts.windows({ ...options, step: 0 }).windows;
  t.same(
    first.map((window) => window[0]),
    [0, 9, 18],
  );
  t.same(first[2], [18, 19, 20, 21, 22, 23, 0, 1, 2, 3, 4, 5]);
  const third = parts.windows({ ...options, step: 2 }).windows;
  t.same(
    third,
    first.map((window) => window.map((frame) => (frame + 4) % 24)),
  );
  t.same(parts.windows({ ...options, frames: 5, step: 1 }).windows, [[2, 3, 4, 0, 1]]);
});

t.test('the last step finishes frames from the front', async (t) => {
  for (const frames of [1, 7, 12, 13, 24, 100, 745]) {
    for (const step of [0, 5]) {
      const options = { frames, contextFrames: 12, contextOverlap: 3, step };
      const plain = parts.windows({ ...options, streaming: false });
      const streamed = parts.windows({ ...options, streaming: true });
      const sorted = (windows: number[][]) => windows.map((window) => window.join()).sort();
      t.same(sorted(streamed.windows), sorted(plain.windows));
      // A frame that counts as ready is in no window that is still to come.
      streamed.ready.forEach((ready, i) => {
        const later = streamed.windows.slice(i + 1).flat();
        if (Math.min(...later) < ready) t.fail(`frame below ${ready} is needed after window ${i}`);
      });
      t.equal(streamed.ready.at(-1), frames);
      if (frames === 745) t.ok(streamed.ready[2]! > 0, 'the first frames come after a few windows');
    }
  }
});

t.test('the noise generator gives the published words', async (t) => {
  const all = 0xffffffff;
  const vectors: [number[], number[], number[]][] = [
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [all, all, all, all],
      [all, all],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ];
  for (const [counter, key, words] of vectors) t.same(parts.philox(counter, key), words);
});

t.test('noise is normal, and depends on the seed and the frame alone', async (t) => {
  const noise = (seed: bigint, frame: number, count = 40000) => parts.noise({ seed, frame, count });
  const sample = noise(5n, 3);
  const mean = sample.reduce((a, b) => a + b) / sample.length;
  const square = sample.reduce((a, b) => a + b * b) / sample.length;
  t.ok(Math.abs(mean) < 0.02, `mean ${mean}`);
  t.ok(Math.abs(square - 1) < 0.03, `variance ${square}`);
  t.same(noise(5n, 3, 101), sample.slice(0, 101));
  t.notSame(noise(5n, 4, 101), sample.slice(0, 101));
  t.notSame(noise(5n + (1n << 40n), 3, 101), sample.slice(0, 101));
  // Its definition, computed here with the same words.
  const [r0, r1] = parts.philox([0, 3, 0, 0], [5, 0]) as [number, number];
  const radius = Math.sqrt(-2 * Math.log((r0 + 0.5) / 2 ** 32));
  t.equal(sample[0], Math.fround(radius * Math.cos(2 * Math.PI * (r1 / 2 ** 32))));
});
