import sharp from 'sharp';
import t from 'tap';
import { decodePicture } from '../../src/media/picture.js';
import { refusal } from '../helpers/media.js';
import { picture } from '../helpers/samples.js';

/**
 * A JPEG of a few hundred KB that is correct and takes minutes: each of its 2457 scans goes over
 * all of its 16 million pixels, and changes nothing.
 */
async function endlessJpeg(): Promise<Buffer> {
  const create = { width: 4000, height: 4000, channels: 3, background: '#808080' } as const;
  const file = await sharp({ create })
    .jpeg({ progressive: true, chromaSubsampling: '4:4:4' })
    .toBuffer();
  const before: Buffer[] = [file.subarray(0, 2)];
  let scans = 0;
  let repeated = Buffer.alloc(0);
  for (let at = 2; scans < 2;) {
    let end = at + 2 + file.readUInt16BE(at + 2);
    if (file[at + 1] === 0xda) {
      scans++;
      while (file[end] !== 0xff || file[end + 1] === 0) end++;
    }
    const segment = file.subarray(at, end);
    if (scans < 2) before.push(segment);
    else repeated = Buffer.from(segment);
    at = end;
  }
  const more: Buffer[] = [];
  for (let bit = 12; bit >= 0; bit--) {
    for (const component of [1, 2, 3]) {
      for (let coefficient = 1; coefficient < 64; coefficient++) {
        const scan = Buffer.from(repeated);
        const precision = bit === 12 ? bit : ((bit + 1) << 4) | bit;
        scan.set([component, repeated[6]! & 15, coefficient, coefficient, precision], 5);
        more.push(scan);
      }
    }
  }
  return Buffer.concat([...before, ...more, Buffer.from([0xff, 0xd9])]);
}

void t.test('a picture that takes for ever ends, and the next one is decoded', async (t) => {
  const endless = await endlessJpeg();
  t.ok(endless.length < 500_000);
  const late = await refusal(decodePicture(async () => endless, 'pixels', { timeoutMs: 1500 }));
  t.equal(late.code, 'IMAGE_UNREADABLE');
  t.match(late.message, /had not finished after 1\.5 s/);

  const small = await picture(70, 80);
  const next = await decodePicture(async () => small, 'pixels');
  t.match(next, { format: 'pixels', width: 70, height: 80 });

  const stop = new AbortController();
  const read = async () => {
    setImmediate(() => stop.abort());
    return endless;
  };
  const cut = decodePicture(read, 'pixels', { signal: stop.signal });
  const waiting = decodePicture(async () => small, { side: 75 });
  t.equal((await refusal(cut)).code, 'MEDIA_CANCELLED');
  t.match(await waiting, { format: 'png', width: 66, height: 75 });
});

void t.test('a picture of nearly the largest size', async (t) => {
  const create = { width: 16_383, height: 2440, channels: 4, background: '#80808080' } as const;
  const file = await sharp({ create }).webp({ lossless: true, effort: 0 }).toBuffer();
  const whole = await decodePicture(async () => file, 'pixels');
  t.equal(whole.data.length, 16_383 * 2440 * 3);
});
