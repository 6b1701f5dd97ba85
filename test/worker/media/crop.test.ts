import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import t from 'tap';
import {
  cropAndResize,
  paintMask,
  planFaceCrop,
  planWholeImage,
  type Pixels,
} from '../../../worker/media/crop.js';
import { loadImage } from '../../../worker/media/image.js';
import { sharedFolder } from '../../helpers/media.js';

const rect = (x0: number, y0: number, x1: number, y1: number) => ({ x0, y0, x1, y1 });

void t.test('the rectangle, its square and the mask follow the official arithmetic', async (t) => {
  // a face in the middle: 0.1 and 0.5 of its size on each side, cut to the shorter side
  t.strictSame(planFaceCrop(rect(200, 300, 301, 455), 1000, 1000), {
    box: rect(200, 300, 301, 455),
    mask: rect(190, 285, 311, 470),
    rect: rect(150, 223, 351, 532),
    square: rect(150, 277, 351, 478),
  });
  t.strictSame(
    planFaceCrop(rect(0.5, 1.5, 2.5, 3.5), 9, 9)?.box,
    rect(0, 2, 2, 4),
    'halves to even',
  );
  t.strictSame(
    planFaceCrop(rect(-20, -10, 100, 90), 400, 300),
    {
      box: rect(-20, -10, 100, 90),
      mask: rect(0, 0, 112, 100),
      rect: rect(0, 0, 160, 140),
      square: rect(10, 0, 150, 140),
    },
    'a box over the edge is clipped',
  );
  t.equal(planFaceCrop(rect(500, 500, 600, 600), 300, 300), null, 'outside');
  t.equal(planFaceCrop(rect(NaN, 0, 10, 10), 300, 300), null);
  t.strictSame(planWholeImage(401, 300), {
    square: rect(50, 0, 350, 300),
    mask: rect(0, 0, 401, 300),
  });
});

void t.test('every crop is square and inside, whatever the box', async (t) => {
  let seed = 7;
  const next = (below: number): number => {
    seed = (seed * 1103515245 + 12345) & 0x7fffffff;
    return seed % below;
  };
  for (let i = 0; i < 3000; i++) {
    const [width, height] = [64 + next(2000), 64 + next(2000)];
    const [x, y] = [next(width + 200) - 100, next(height + 200) - 100];
    const plan = planFaceCrop(rect(x, y, x + 1 + next(900), y + 1 + next(900)), width, height);
    if (plan === null) continue;
    const { square } = plan;
    const side = square.x1 - square.x0;
    const fits = square.x0 >= 0 && square.y0 >= 0 && square.x1 <= width && square.y1 <= height;
    if (!fits || side < 1 || side !== square.y1 - square.y0) t.fail(JSON.stringify({ i, plan }));
  }
});

void t.test("the resize is OpenCV's", async (t) => {
  // cv2.resize(np.array([[0, 100, 200, 50]], np.uint8).repeat(2, 0), (n, 2))
  const image: Pixels = {
    ...{ width: 4, height: 2, channels: 1 },
    data: Uint8Array.from([0, 100, 200, 50, 0, 100, 200, 50]),
  };
  const whole = rect(0, 0, 4, 2);
  const row = (width: number) => [...cropAndResize(image, whole, width, 2).data.subarray(0, width)];
  t.strictSame(row(4), [0, 100, 200, 50]);
  t.strictSame(row(2), [50, 125]);
  t.strictSame(row(8), [0, 25, 75, 125, 175, 163, 88, 50]);
  t.strictSame(row(3), [17, 150, 75]);
});

void t.test('the mask is cut with the picture', async (t) => {
  const mask = paintMask(rect(5, 0, 12, 8), rect(2, 4, 12, 14));
  t.strictSame([mask.width, mask.height], [10, 10]);
  t.equal(mask.data.filter((value) => value === 255).length, 7 * 4);
  t.equal(mask.data[3], 255);
  t.equal(mask.data[2], 0);
  t.ok(paintMask(rect(0, 0, 99, 99), rect(10, 10, 20, 20)).data.every((value) => value === 255));
});

void t.test(
  'the official crops come out again',
  { skip: sharedFolder === undefined ? 'SHARED_DIR is not set' : false },
  async (t) => {
    const from = (...path: string[]) => join(sharedFolder ?? '', ...path);
    const read = (path: string) => JSON.parse(readFileSync(path, 'utf8')) as Record<string, never>;
    const faces = read(from('samples', 'faces.json')) as Record<string, { boxes_xyxy: number[][] }>;
    const crops = read(from('golden', 'crops', 'crops.json')) as Record<
      string,
      { box: number[]; rect_x0y0x1y1: number[] }
    >;
    const numbers = (r: ReturnType<typeof rect>) => [r.x0, r.y0, r.x1, r.y1];
    for (const name of ['a', 'b']) {
      const file = `${name}.png`;
      const picture = await loadImage(from('samples', file));
      const [x0, y0, x1, y1] = faces[file]!.boxes_xyxy[0] as [number, number, number, number];
      const plan = planFaceCrop(rect(x0, y0, x1, y1), picture.width, picture.height)!;
      t.strictSame(numbers(plan.box), crops[file]!.box);
      t.strictSame(numbers(plan.rect), crops[file]!.rect_x0y0x1y1);
      const side = plan.square.x1 - plan.square.x0;
      const mask = paintMask(plan.mask, plan.square);
      const results: [string, Pixels][] = [
        ['crop', cropAndResize(picture, plan.square, 512, 512)],
        ['mask', cropAndResize(mask, rect(0, 0, side, side), 512, 512)],
      ];
      for (const [kind, ours] of results) {
        const official = await sharp(from('golden', 'crops', `${name}_${kind}.png`))
          .toColourspace(ours.channels === 1 ? 'b-w' : 'srgb')
          .raw()
          .toBuffer();
        t.equal(official.length, ours.data.length);
        let sum = 0;
        for (const [i, value] of official.entries()) sum += Math.abs(value - ours.data[i]!);
        const mean = sum / official.length;
        t.ok(mean <= 0.5, `${name} ${kind}: ${mean} levels on average`);
      }
    }
  },
);
