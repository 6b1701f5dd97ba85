import t from 'tap';
import type { AddonModel, AddonPlanRequest } from '../../native/addon.js';
import { parts } from '../../native/index.js';
import { openModel } from '../../native/model.js';
import { testModel } from './clip.js';
import { fullSizeModel } from './full-size.js';

const GiB = 2 ** 30;
const clip = { frames: 12, windows: 30, clipFrames: 240, guided: false };
const request = (side: number, gib: number, more: Partial<AddonPlanRequest> = {}) => ({
  ...{ width: side, height: side, freeBytes: gib * GiB },
  ...clip,
  ...more,
});

t.test('full size in float16', async (t) => {
  const model = fullSizeModel('fp16');
  // What a card has free is less than what is printed on it: the driver keeps some.
  const table: [side: number, gib: number, guided: boolean, expected: string][] = [
    [512, 79, false, '2 windows, 4 images, resident'],
    [512, 23, false, '2 windows, 4 images, resident'],
    [512, 15, false, '2 windows, 1 image, resident'],
    [512, 11.6, false, '1 window, 1 image, resident'],
    [512, 11.6, true, '1 window, 4 images, resident, shrinks'],
    [512, 10.6, false, '1 window, 4 images, resident, shrinks'],
    [512, 8, false, '1 window, 4 images, shrinks'],
    [256, 11.6, false, '8 windows, 8 images, resident'],
    [256, 7.6, false, '4 windows, 4 images, resident'],
    [256, 5.6, false, '1 window, 2 images, resident, shrinks'],
  ];
  for (const [side, gib, guided, expected] of table) {
    const plan = parts.plan(model, request(side, gib, { guided }))!;
    const { windows, images, resident, shrink, bytes, sentence } = plan;
    const count = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`;
    const found = [count(windows, 'window'), count(images, 'image')];
    if (resident) found.push('resident');
    if (shrink) found.push('shrinks');
    t.equal(found.join(', '), expected, `${side}, ${gib} GiB${guided ? ', guided' : ''}`);
    t.ok(bytes <= gib * GiB, sentence);
    t.match(sentence, `${side}x${side}, windows of 12 frames: `);
  }
});

t.test('what does not fit is refused, with what would', async (t) => {
  const model = fullSizeModel('fp16');
  t.throws(() => parts.plan(model, request(512, 7)), {
    code: 'ENGINE_OUT_OF_MEMORY',
    message:
      /^512x512 with windows of 12 frames needs \d\.\d GiB of the GPU, which has 7\.0 GiB free; windows of \d+ frames would fit \(contextFrames\)$/,
  });
  const frames = Number(
    /windows of (\d+) frames would/.exec(refusal(() => parts.plan(model, request(512, 7))))![1],
  );
  t.ok(parts.plan(model, request(512, 7, { frames })), 'and that is so');
  t.throws(() => parts.plan(model, request(512, 7, { frames: frames + 1 })));
  t.throws(() => parts.plan(model, request(512, 1)), { message: /no picture would fit/ });
  const pictures = refusal(() => parts.plan(model, request(1536, 11.6)));
  const side = Number(/pictures of (\d+)x/.exec(pictures)?.[1]);
  t.ok(parts.plan(model, request(side, 11.6)), pictures);
  t.throws(() => parts.plan(model, request(side + 64, 11.6)));
});

t.test('after a lack of memory each step is smaller, until there is none', async (t) => {
  const model = fullSizeModel('fp16');
  const asked = request(512, 23, { guided: true });
  let plan = parts.plan(model, asked);
  const bytes: number[] = [];
  while (plan !== null) {
    bytes.push(plan.bytes);
    plan = parts.plan(model, asked, plan.bytes);
    if (plan !== null) t.match(plan.sentence, /after the GPU had no memory for \d+\.\d GiB$/);
  }
  t.ok(bytes.length >= 4, bytes.join());
  t.ok(
    bytes.slice(1).every((size, i) => size - GiB <= 0.9 * (bytes[i]! - GiB)),
    bytes.join(),
  );
});

t.test('a step of few windows is not planned for more', async (t) => {
  const { config } = await openModel(testModel);
  t.equal(parts.plan(config, request(128, 4))?.windows, 8);
  t.equal(parts.plan(config, request(128, 4, { windows: 3 }))?.windows, 3);
  t.equal(parts.plan(config, request(128, 4, { windows: 1 }))?.windows, 1);
});

t.test('a model that does not tell its needs', async (t) => {
  const { config } = await openModel(testModel);
  const networks = config.networks.map(({ live: _, ...network }) => network);
  const old: AddonModel = { ...config, networks };
  t.throws(() => parts.plan(old, request(128, 4)), {
    code: 'ENGINE_MODEL_INVALID',
    message: /import the checkpoint again: npm run weights -- import/,
  });
});

function refusal(plan: () => unknown): string {
  try {
    plan();
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}
