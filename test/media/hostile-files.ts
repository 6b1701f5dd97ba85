import { deflateSync, gzipSync } from 'node:zlib';
import sharp from 'sharp';
import { wavFile } from '../../src/media/wav.js';
import { sine } from '../helpers/media.js';

export interface HostileFile {
  readonly name: string;
  readonly data: Uint8Array;
}

/** The same sequence for the same seed (mulberry32). */
export function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below;
  };
}

/** `count` broken copies of each file: cut, bytes changed, pieces taken out, doubled or zeroed. */
export function mutated(
  sources: readonly HostileFile[],
  count: number,
  seed: number,
): HostileFile[] {
  const next = random(seed);
  const at = (length: number) => Math.floor(next(length));
  return sources.flatMap(({ name, data }) =>
    Array.from({ length: count }, (_, i) => {
      const copy = Buffer.from(data);
      const from = at(copy.length);
      const to = Math.min(copy.length, from + 1 + at(64));
      const changes: (() => Buffer)[] = [
        () => copy.subarray(0, from),
        () => Buffer.concat([copy.subarray(0, from), copy.subarray(to)]),
        () => Buffer.concat([copy.subarray(0, to), copy.subarray(from)]),
        () => copy.fill(0, from, to),
        () => copy.fill(0xff, from, to),
        () => {
          // Headers hold the sizes that decoders believe.
          for (let n = 0; n < 8; n++) copy[at(Math.min(copy.length, 128))] = at(256);
          return copy;
        },
        () => {
          for (let n = 0; n < 16; n++) copy[at(copy.length)] = at(256);
          return copy;
        },
      ];
      return {
        name: `${name} mutated ${i}`,
        data: (changes[i % changes.length] as () => Buffer)(),
      };
    }),
  );
}

function crc32(data: Uint8Array): number {
  let crc = ~0;
  for (const byte of data) {
    crc ^= byte;
    for (let k = 0; k < 8; k++) crc = (crc >>> 1) ^ (0xedb88320 & -(crc & 1));
  }
  return ~crc >>> 0;
}

function chunk(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const size = Buffer.alloc(4);
  size.writeUInt32BE(data.length);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([size, body, sum]);
}

/** A PNG that claims its size; its data is what is given. */
function png(width: number, height: number, data: Uint8Array, ...more: Buffer[]): Buffer {
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    ...[chunk('IHDR', head), ...more, chunk('IDAT', data), chunk('IEND', Buffer.alloc(0))],
  ]);
}

const latin = (text: string) => Buffer.from(text, 'latin1');

function gif(width: number, height: number, frames: number): Buffer {
  const head = Buffer.from('GIF89a\0\0\0\0\x80\0\0\0\0\0\xff\xff\xff', 'latin1');
  head.writeUInt16LE(width, 6);
  head.writeUInt16LE(height, 8);
  const frame = Buffer.from([0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0]);
  return Buffer.concat([head, ...Array<Buffer>(frames).fill(frame), Buffer.from([0x3b])]);
}

/** Small pictures in every accepted format, to be broken. */
export async function pictures(): Promise<HostileFile[]> {
  const noise = sharp({
    create: {
      width: 96,
      height: 80,
      channels: 3,
      background: '#808080',
      noise: { type: 'gaussian', mean: 128, sigma: 40 },
    },
  });
  const formats = ['jpeg', 'png', 'webp', 'gif'] as const;
  return Promise.all(
    formats.map(async (name) => ({ name, data: await noise.clone().toFormat(name).toBuffer() })),
  );
}

/** Pictures that claim or hold too much, or are something else. */
export function pictureBombs(): HostileFile[] {
  const zeros = deflateSync(Buffer.alloc(32 * 1024 * 1024), { level: 9 });
  const text = (name: string, data: string): HostileFile => ({ name, data: latin(data) });
  const webp = (width: number, height: number) => {
    const body = Buffer.alloc(18);
    body.write('VP8X', 0, 'latin1');
    body.writeUInt32LE(10, 4);
    body.writeUIntLE(width - 1, 12, 3);
    body.writeUIntLE(height - 1, 15, 3);
    return Buffer.concat([latin('RIFF'), Buffer.from([22, 0, 0, 0]), latin('WEBP'), body]);
  };
  const tiff = Buffer.concat([
    latin('II*\0\x08\0\0\0\x02\0\0\x01\x04\0\x01\0\0\0'),
    Buffer.from([0xff, 0xff, 0xff, 0x7f, 1, 1, 4, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f]),
    Buffer.alloc(4),
  ]);
  return [
    { name: 'png of 2^31 by 2^31', data: png(0x7fffffff, 0x7fffffff, zeros) },
    { name: 'png of 60000 by 60000', data: png(60_000, 60_000, zeros) },
    { name: 'png of 20000 by 20000 with little data', data: png(20_000, 20_000, zeros) },
    { name: 'png of 6000 by 6000 without data', data: png(6000, 6000, Buffer.alloc(0)) },
    { name: 'png of no size', data: png(0, 0, zeros) },
    {
      name: 'png whose text is a bomb',
      data: png(
        80,
        80,
        deflateSync(Buffer.alloc(241 * 80)),
        chunk('zTXt', Buffer.concat([latin('a\0\0'), zeros])),
      ),
    },
    {
      name: 'png whose profile is a bomb',
      data: png(
        80,
        80,
        deflateSync(Buffer.alloc(241 * 80)),
        chunk('iCCP', Buffer.concat([latin('a\0\0'), zeros])),
      ),
    },
    {
      name: 'png with a million chunks',
      data: png(80, 80, zeros, ...Array<Buffer>(20_000).fill(chunk('tEXt', latin('a\0b')))),
    },
    { name: 'gif of 65535 by 65535', data: gif(65_535, 65_535, 1) },
    { name: 'gif of many frames', data: gif(100, 100, 20_000) },
    { name: 'webp of 16384 by 16384', data: webp(16_384, 16_384) },
    { name: 'tiff of 2^31', data: tiff },
    { name: 'gzip', data: gzipSync(Buffer.alloc(1024 * 1024)) },
    text(
      'svg with a file',
      '<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99"><image href="file:///etc/passwd"/></svg>',
    ),
    text(
      'svg with an address',
      '<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99"><image href="http://127.0.0.1:1/"/></svg>',
    ),
    text(
      'svg with entities',
      '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><svg xmlns="http://www.w3.org/2000/svg">&b;</svg>',
    ),
    text('pdf', '%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj'),
    text('postscript', '%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file'),
    text(
      'mvg',
      'push graphic-context\nimage over 0,0 0,0 "https://127.0.0.1:1/"\npop graphic-context',
    ),
    text('html', '<!DOCTYPE html><script>alert(1)</script>'),
    text('jpeg that ends at once', '\xff\xd8\xff'),
    text('nothing', ''),
  ];
}

/** Sounds that claim too much, name other files, or are something else. */
export function soundBombs(): HostileFile[] {
  const samples = sine(1600);
  const wav = (change: (file: Buffer) => void): Buffer => {
    const file = wavFile(samples, 16_000);
    change(file);
    return file;
  };
  const text = (name: string, data: string): HostileFile => ({ name, data: latin(data) });
  return [
    { name: 'wav that claims hours', data: wavFile(samples, 16_000, { claimed: 0xf0000000 }) },
    { name: 'wav of 2^32 Hz', data: wav((file) => file.writeUInt32LE(0xffffffff, 24)) },
    { name: 'wav of 0 Hz', data: wav((file) => file.writeUInt32LE(0, 24)) },
    { name: 'wav of 65535 channels', data: wav((file) => file.writeUInt16LE(65_535, 22)) },
    { name: 'wav of no channels', data: wav((file) => file.writeUInt16LE(0, 22)) },
    { name: 'wav of unknown coding', data: wav((file) => file.writeUInt16LE(0x7777, 20)) },
    { name: 'wav of odd blocks', data: wav((file) => file.writeUInt16LE(0, 32)) },
    {
      name: 'wav of empty chunks',
      data: Buffer.concat([
        wavFile(Buffer.alloc(0), 16_000).subarray(0, 36),
        Buffer.alloc(400_000),
      ]),
    },
    { name: 'wav of a huge chunk', data: wav((file) => file.writeUInt32LE(0xfffffff0, 16)) },
    text(
      'm3u8 with a file',
      '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n',
    ),
    text(
      'm3u8 with an address',
      '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n',
    ),
    text(
      'm3u8 with concat',
      '#EXTM3U\n#EXTINF:1,\nconcat:file:///etc/hostname|file:///etc/passwd\n',
    ),
    text('concat list', "ffconcat version 1.0\nfile '/etc/passwd'\n"),
    text(
      'sdp',
      'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n',
    ),
    text(
      'dash',
      '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><BaseURL>file:///etc/passwd</BaseURL></Period></MPD>',
    ),
    text('subtitles', '1\n00:00:00,000 --> 00:00:01,000\nhello\n'),
    text('pls', '[playlist]\nFile1=file:///etc/passwd\nNumberOfEntries=1\n'),
    text('empty ogg page', `OggS${'\0'.repeat(30)}`),
    text('id3 of a huge size', `ID3\x04\0\0\x7f\x7f\x7f\x7f${'\0'.repeat(100)}`),
    text('flac without frames', `fLaC\x80\0\0\x22${'\xff'.repeat(34)}`),
    text('mp4 of a huge box', '\0\0\0\x14ftypisom\0\0\0\0isom\xff\xff\xff\xffmoov'),
    text('nothing', ''),
  ];
}
