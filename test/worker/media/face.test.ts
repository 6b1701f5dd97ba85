import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import t from 'tap';
import type { Rect } from '../../../worker/media/crop.js';
import { likeMtcnn, selectFace } from '../../../worker/media/face.js';
import {
  closeFaceDetector,
  preparePortrait,
  warmFaceDetector,
} from '../../../worker/media/index.js';
import { drawnPortrait, folder, refusal, sharedFolder } from '../../helpers/media.js';

t.teardown(closeFaceDetector);

function overlap(a: Rect, b: Rect): number {
  const area = (r: Rect) => Math.max(0, r.x1 - r.x0) * Math.max(0, r.y1 - r.y0);
  const both = area({
    x0: Math.max(a.x0, b.x0),
    y0: Math.max(a.y0, b.y0),
    x1: Math.min(a.x1, b.x1),
    y1: Math.min(a.y1, b.y1),
  });
  return both / (area(a) + area(b) - both);
}

void t.test('the largest sure face wins, and a likely one when none is sure', async (t) => {
  const face = (side: number, score: number) => ({ x0: 0, y0: 0, x1: side, y1: side, score });
  t.equal(selectFace([face(10, 0.99), face(20, 0.81), face(90, 0.7)])?.x1, 20);
  t.equal(selectFace([face(10, 0.6), face(20, 0.55), face(90, 0.4)])?.x1, 20);
  t.equal(selectFace([face(90, 0.4)]), null);
  t.equal(selectFace([]), null);
});

void t.test('a mirrored face gets the mirrored box', async (t) => {
  const box = likeMtcnn({ x0: 100, y0: 50, x1: 200, y1: 150, score: 1 });
  const mirrored = likeMtcnn({ x0: 300, y0: 50, x1: 400, y1: 150, score: 1 });
  t.same(box.x0 + mirrored.x1, 500);
  t.same(box.x1 + mirrored.x0, 500);
});

void t.test('a drawn face is found and cut out, off the event loop', async (t) => {
  const dir = folder(t);
  const path = join(dir, 'a.png');
  const wide = await sharp(await drawnPortrait(400))
    .extend({ left: 500, right: 100, background: '#a9c3cf' })
    .png()
    .toBuffer();
  writeFileSync(path, wide);
  await warmFaceDetector();
  let last = performance.now();
  let longest = 0;
  const ticks = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 5);
  const stages: string[] = [];
  const { face, image, faceMask, square } = await preparePortrait(path, {
    size: 128,
    onStage: (stage) => stages.push(stage),
  });
  clearInterval(ticks);
  t.ok(longest < 500, `the longest gap between ticks was ${longest.toFixed(0)} ms`);
  t.strictSame(stages, ['decode', 'face', 'crop']);
  t.ok(face !== null && face.probability > 0.5, `probability ${face?.probability}`);
  t.ok(overlap(face!.box, { x0: 600, y0: 60, x1: 800, y1: 330 }) > 0.5, JSON.stringify(face!.box));
  t.strictSame([image.width, image.height, image.channels], [128, 128, 3]);
  t.strictSame([faceMask.width, faceMask.height, faceMask.channels], [128, 128, 1]);
  t.equal(square.y1 - square.y0, square.x1 - square.x0);
  const set = faceMask.data.filter((value) => value === 255).length / faceMask.data.length;
  t.ok(set > 0.2 && set < 0.95, `${set} of the picture is masked`);

  // the same pixels behind an EXIF rotation: the box is the upright picture's
  const turned = join(dir, 'turned.jpg');
  await sharp(wide)
    .rotate(270)
    .withMetadata({ orientation: 6 })
    .jpeg({ quality: 98 })
    .toFile(turned);
  const upright = await preparePortrait(turned, { size: 128 });
  t.ok(overlap(upright.face!.box, face!.box) > 0.9, JSON.stringify(upright.face!.box));
});

void t.test('no face: the centred square of the whole picture, all of it masked', async (t) => {
  const path = join(folder(t), 'a.png');
  await sharp({ create: { width: 300, height: 200, channels: 3, background: '#357' } })
    .png()
    .toFile(path);
  const portrait = await preparePortrait(path, { size: 64 });
  t.equal(portrait.face, null);
  t.strictSame(portrait.square, { x0: 50, y0: 0, x1: 250, y1: 200 });
  t.ok(portrait.faceMask.data.every((value) => value === 255));
  t.strictSame([...portrait.image.data.subarray(0, 3)], [0x33, 0x55, 0x77]);
});

void t.test('an abort, a close in the middle, and a start afterwards', async (t) => {
  const path = join(folder(t), 'a.png');
  writeFileSync(path, await drawnPortrait(300));
  const controller = new AbortController();
  const aborted = refusal(
    preparePortrait(path, {
      size: 64,
      signal: controller.signal,
      onStage: (stage) => {
        if (stage === 'face') setTimeout(() => controller.abort(), 30);
      },
    }),
  );
  t.equal((await aborted).code, 'MEDIA_CANCELLED');
  const closed = refusal(
    preparePortrait(path, {
      size: 64,
      onStage: (stage) => {
        if (stage === 'face') setTimeout(() => void closeFaceDetector(), 60);
      },
    }),
  );
  t.equal((await closed).code, 'FACE_DETECTION_FAILED');
  t.equal((await preparePortrait(path, { size: 64 })).image.width, 64);
});

void t.test(
  'boxes agree with MTCNN',
  { skip: sharedFolder === undefined ? 'SHARED_DIR is not set' : false },
  async (t) => {
    const samples = join(sharedFolder ?? '', 'samples');
    const faces = JSON.parse(readFileSync(join(samples, 'faces.json'), 'utf8')) as Record<
      string,
      { boxes_xyxy: [number, number, number, number][] }
    >;
    for (const name of ['a.png', 'b.png']) {
      const { face } = await preparePortrait(join(samples, name), { size: 512 });
      const [x0, y0, x1, y1] = faces[name]!.boxes_xyxy[0]!;
      const iou = overlap(face!.box, { x0, y0, x1, y1 });
      t.ok(iou >= 0.75, `${name}: IoU ${iou.toFixed(3)}, probability ${face!.probability}`);
    }
  },
);
