import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import sharp from 'sharp';
import t, { type Test } from 'tap';
import { portraitOf } from '../../src/role/portrait.js';
import { FolderShelf } from '../../src/tempfile/folder.js';
import { TempFileStore } from '../../src/tempfile/store.js';
import { temporaryFolder } from '../helpers/app.js';
import { drawnPortrait, refusal } from '../helpers/media.js';
import { picture, tone } from '../helpers/samples.js';

const MiB = 1024 * 1024;

async function uploads(t: Test) {
  const folder = await temporaryFolder(t);
  const files = new TempFileStore(new FolderShelf(folder, 'test'), {
    expiryMs: 3_600_000,
    maxBytes: { image: 32 * MiB, audio: MiB, video: MiB },
  });
  await files.open();
  const upload = async (data: Uint8Array) => (await files.save(Readable.from([data]), 'a')).id;
  return {
    folder,
    files,
    upload,
    take: async (data: Uint8Array) => portraitOf(files, await upload(data)),
  };
}

const solid = (width: number, height: number, channels: 3 | 4 = 3) =>
  sharp({
    create: { width, height, channels, background: { r: 200, g: 60, b: 40, alpha: 0.5 } },
  });

t.test('a picture is kept small, upright and without metadata', async (t) => {
  const { take } = await uploads(t);
  const sideways = await sharp(await drawnPortrait(512))
    .resize(300, 200, { fit: 'fill' })
    .jpeg()
    .withMetadata({ orientation: 6 })
    .withExif({ IFD0: { Copyright: 'somebody' }, IFD3: { GPSLatitude: '48/1 12/1 0/1' } })
    .toBuffer();
  t.match((await sharp(sideways).metadata()).exif?.toString('latin1'), /somebody/);
  const kept = await take(sideways);
  t.match(kept, { mime: 'image/jpeg', width: 200, height: 300, id: /^[0-9a-f-]{36}$/ });
  const metadata = await sharp(kept.data).metadata();
  t.match(metadata, { format: 'jpeg', width: 200, height: 300, space: 'srgb' });
  t.equal(metadata.exif, undefined);
  t.equal(metadata.orientation, undefined);
  t.notMatch(Buffer.from(kept.data).toString('latin1'), /somebody/);

  const large = await take(await solid(3000, 2000).jpeg().toBuffer());
  t.match(large, { mime: 'image/jpeg', width: 1024, height: 683 });
  const small = await take(await picture(64, 64));
  t.match(small, { mime: 'image/png', width: 64, height: 64 }, 'nothing is enlarged');
});

t.test('every kind of picture becomes PNG or JPEG in sRGB', async (t) => {
  const { take } = await uploads(t);
  const grey = await solid(90, 80).greyscale().png().toBuffer();
  const deep = await solid(90, 80).toColourspace('rgb16').png().toBuffer();
  const printed = await solid(90, 80).toColourspace('cmyk').jpeg().toBuffer();
  for (const [name, data, mime, channels] of [
    ['webp', await solid(90, 80).webp().toBuffer(), 'image/jpeg', 3],
    ['transparent webp', await solid(90, 80, 4).webp().toBuffer(), 'image/png', 4],
    ['transparent png', await solid(90, 80, 4).png().toBuffer(), 'image/png', 4],
    ['gif', await solid(90, 80).gif().toBuffer(), 'image/png', 4],
    ['grey png', grey, 'image/png', 3],
    ['png of 16 bits', deep, 'image/png', 3],
    ['CMYK jpeg', printed, 'image/jpeg', 3],
  ] as const) {
    const kept = await take(data);
    t.match(kept, { mime, width: 90, height: 80 }, name);
    t.match(await sharp(kept.data).metadata(), { space: 'srgb', depth: 'uchar' }, name);
    t.ok((await sharp(kept.data).metadata()).channels <= channels, name);
  }
});

t.test('of an animation the first frame', async (t) => {
  const { take } = await uploads(t);
  const frames = await Promise.all(
    ['#ff0000', '#0000ff'].map((background) =>
      sharp({ create: { width: 80, height: 80, channels: 3, background } })
        .png()
        .toBuffer(),
    ),
  );
  const gif = await sharp(frames, { join: { animated: true } })
    .gif({ delay: 100 })
    .toBuffer();
  t.equal((await sharp(gif).metadata()).pages, 2);
  const kept = await take(gif);
  t.match(kept, { width: 80, height: 80 });
  const { data } = await sharp(kept.data).raw().toBuffer({ resolveWithObject: true });
  t.same([...data.subarray(0, 3)], [255, 0, 0]);
});

t.test('what is no portrait is refused with a code that says why', async (t) => {
  const { folder, files, upload, take } = await uploads(t);
  /** A picture of this size, by its header. */
  const claim = (side: number) => {
    const size = Buffer.alloc(4);
    size.writeUInt16LE(side);
    size.writeUInt16LE(side, 2);
    const bytes = (hex: string) => Buffer.from(hex, 'hex');
    const palette = bytes('800000000000ffffff');
    const frame = [bytes('2c00000000'), size, bytes('0002024401003b')];
    return Buffer.concat([Buffer.from('GIF89a'), size, palette, ...frame]);
  };
  const whole = await sharp(await drawnPortrait(256))
    .png()
    .toBuffer();
  const cut = whole.subarray(0, whole.length / 2);
  for (const [name, data, code, message] of [
    ['too small', await picture(63, 200), 'IMAGE_TOO_SMALL', /at least 64x64 pixels.*63x200/],
    ['a ribbon', await picture(8000, 70), 'IMAGE_TOO_SMALL', /8000x70 is too narrow/],
    ['a bomb', await solid(8000, 5001).png().toBuffer(), 'IMAGE_TOO_LARGE', /40 million pixels/],
    ['a claim', claim(65535), 'IMAGE_TOO_LARGE', /40 million pixels/],
    ['cut off', cut, 'IMAGE_UNREADABLE', /is damaged/],
    ['a mere head', whole.subarray(0, 100), 'IMAGE_UNREADABLE', /is damaged/],
    ['sound', tone(0.2), 'FILE_TYPE_UNSUPPORTED', /a portrait is a picture.*audio\/wav/],
  ] as const) {
    t.match(await refusal(take(data)), { code, message }, name);
  }
  t.match(await refusal(portraitOf(files, '../../etc/passwd')), { code: 'FILE_NOT_FOUND' });
  const gone = await upload(whole);
  await rm(join(folder, gone, 'data'));
  t.match(await refusal(portraitOf(files, gone)), { code: 'FILE_NOT_FOUND' });
  t.match(await take(whole), { width: 256 }, 'refusals do not hold up the next one');
});

t.test('the picture that was uploaded stays as it is', async (t) => {
  const { folder, files, upload } = await uploads(t);
  const data = await picture(100, 100);
  const id = await upload(data);
  await portraitOf(files, id);
  t.same(new Uint8Array(await readFile(join(folder, id, 'data'))), data);
});
