import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import sharp from 'sharp';
import t from 'tap';
import { loadImage } from '../../../worker/media/image.js';
import { ffmpeg, folder, refusal } from '../../helpers/media.js';

const background = { r: 200, g: 100, b: 50 };
const plain = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background } });

/** A PNG of any claimed size with next to no data. */
function claimedPng(width: number, height: number): Buffer {
  const table = Array.from({ length: 256 }, (_, n) => {
    for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n >>> 0;
  });
  const chunk = (type: string, data: Buffer): Buffer => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    let crc = 0xffffffff;
    for (const byte of body) crc = table[(crc ^ byte) & 255]! ^ (crc >>> 8);
    const out = Buffer.alloc(body.length + 8);
    out.writeUInt32BE(data.length, 0);
    body.copy(out, 4);
    out.writeUInt32BE((crc ^ 0xffffffff) >>> 0, body.length + 4);
    return out;
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  const data = deflateSync(Buffer.alloc(1000));
  const magic = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
  return Buffer.concat([
    magic,
    chunk('IHDR', head),
    chunk('IDAT', data),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

void t.test('every listed type becomes upright RGB', async (t) => {
  const dir = folder(t);
  const path = join(dir, 'a.txt');
  const files: [what: string, bytes: Buffer][] = [
    ['jpeg', await plain(90, 70).jpeg({ quality: 95 }).toBuffer()],
    ['png', await plain(90, 70).png().toBuffer()],
    ['webp', await plain(90, 70).webp({ quality: 95 }).toBuffer()],
    ['gif', await plain(90, 70).gif().toBuffer()],
    ['16-bit png', await plain(90, 70).toColourspace('rgb16').png().toBuffer()],
    ['cmyk jpeg', await plain(90, 70).toColourspace('cmyk').jpeg({ quality: 95 }).toBuffer()],
  ];
  for (const [what, bytes] of files) {
    writeFileSync(path, bytes);
    const picture = await loadImage(path);
    t.strictSame([picture.width, picture.height, picture.channels], [90, 70, 3], what);
    t.equal(picture.data.length, 90 * 70 * 3);
    const [r, g, b] = picture.data;
    const far = what === 'cmyk jpeg' ? 40 : 6;
    t.ok(Math.hypot(r! - 200, g! - 100, b! - 50) < far, `${what}: ${r}, ${g}, ${b}`);
  }
  writeFileSync(path, await plain(90, 70).toColourspace('b-w').png().toBuffer());
  const grey = await loadImage(path);
  t.equal(grey.channels, 3);
  t.ok(grey.data[0] === grey.data[1] && grey.data[1] === grey.data[2]);
});

void t.test('EXIF rotation is honoured', async (t) => {
  const path = join(folder(t), 'a.jpg');
  // red on the left, blue on the right, stored for a viewer that turns it a quarter right
  const left = await sharp({ create: { width: 60, height: 80, channels: 3, background: 'red' } })
    .png()
    .toBuffer();
  await sharp({ create: { width: 120, height: 80, channels: 3, background: 'blue' } })
    .composite([{ input: left, left: 0, top: 0 }])
    .withMetadata({ orientation: 6 })
    .jpeg({ quality: 95 })
    .toFile(path);
  const { width, height, data } = await loadImage(path);
  t.strictSame([width, height], [80, 120]);
  t.ok(data[0]! > 200 && data[2]! < 60, 'red is on top');
  t.ok(data[data.length - 3]! < 60 && data[data.length - 1]! > 200, 'blue is below');
});

void t.test('the first frame of an animation, and black behind transparency', async (t) => {
  const dir = folder(t);
  ffmpeg(
    '-f',
    'lavfi',
    '-i',
    'color=red:s=80x80:d=0.2:r=10',
    '-f',
    'lavfi',
    '-i',
    'color=blue:s=80x80:d=0.2:r=10',
    '-filter_complex',
    'concat',
    join(dir, 'a.gif'),
  );
  const first = await loadImage(join(dir, 'a.gif'));
  t.strictSame([first.width, first.height], [80, 80]);
  t.ok(first.data[0]! > 200 && first.data[2]! < 60);

  const clear = { r: 255, g: 255, b: 255, alpha: 0 };
  await sharp({ create: { width: 80, height: 80, channels: 4, background: clear } })
    .png()
    .toFile(join(dir, 'a.png'));
  const { channels, data } = await loadImage(join(dir, 'a.png'));
  t.equal(channels, 3);
  t.ok(data.every((value) => value === 0));
});

void t.test('what shows no portrait is refused with its reason', async (t) => {
  const dir = folder(t);
  const path = join(dir, 'a.png');
  const png = await plain(300, 300).png({ compressionLevel: 0 }).toBuffer();
  const jpeg = await plain(300, 300).jpeg().toBuffer();
  const cases: [what: string, bytes: Buffer, code: string][] = [
    ['no bytes', Buffer.alloc(0), 'IMAGE_UNREADABLE'],
    ['text', Buffer.from('not a picture'), 'IMAGE_UNREADABLE'],
    [
      'an SVG',
      Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99"/>'),
      'IMAGE_UNREADABLE',
    ],
    ['a TIFF', await plain(90, 90).tiff().toBuffer(), 'IMAGE_UNREADABLE'],
    ['half a PNG', png.subarray(0, png.length / 2), 'IMAGE_UNREADABLE'],
    ['half a JPEG', jpeg.subarray(0, jpeg.length / 2), 'IMAGE_UNREADABLE'],
    ['magic bytes only', png.subarray(0, 8), 'IMAGE_UNREADABLE'],
    ['1x1', await plain(1, 1).png().toBuffer(), 'IMAGE_TOO_SMALL'],
    ['a line', await plain(2000, 10).png().toBuffer(), 'IMAGE_TOO_SMALL'],
    ['a bomb', claimedPng(30000, 30000), 'IMAGE_TOO_LARGE'],
    ['a bigger bomb', claimedPng(0x7fffffff, 0x7fffffff), 'IMAGE_UNREADABLE'],
    ['a promise', claimedPng(6000, 6000), 'IMAGE_UNREADABLE'],
  ];
  for (const [what, bytes, code] of cases) {
    writeFileSync(path, bytes);
    const error = await refusal(loadImage(path));
    t.equal(error.code, code, `${what}: ${error.message}`);
    t.notMatch(error.message, dir);
  }
  t.equal((await refusal(loadImage(join(dir, 'gone')))).code, 'IMAGE_UNREADABLE');
  t.equal((await refusal(loadImage(dir))).code, 'IMAGE_UNREADABLE', 'a folder');
  writeFileSync(path, png);
  t.equal(
    (await refusal(loadImage(path, { signal: AbortSignal.abort() }))).code,
    'MEDIA_CANCELLED',
  );
});
