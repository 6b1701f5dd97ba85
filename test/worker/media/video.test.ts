import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { type Mark, openVideo, type VideoOptions } from '../../../worker/media/index.js';
import { brightness, ffmpeg, ffprobe, folder, refusal, sine, wav } from '../../helpers/media.js';

const width = 96;
const height = 64;

/** A picture whose brightness tells which frame it is. */
function frame(level: number): Uint8Array {
  return new Uint8Array(width * height * 3).fill(level);
}

async function write(
  options: Partial<VideoOptions> & { path: string; audioPath: string },
  count: number,
) {
  const writer = await openVideo({ width, height, fps: 24, ...options });
  const reused = frame(0);
  for (let i = 0; i < count; i++) await writer.write(reused.fill(Math.min(255, 20 + i * 4)));
  await writer.finish();
  return writer.frames;
}

/** The top-level boxes of an MP4, in order. */
function boxes(path: string): string[] {
  const bytes = readFileSync(path);
  const names: string[] = [];
  for (let at = 0; at + 8 <= bytes.length; at += Math.max(8, bytes.readUInt32BE(at))) {
    names.push(bytes.toString('latin1', at + 4, at + 8));
  }
  return names;
}

function levels(path: string): number[] {
  const args = ['-v', 'error', '-i', path, '-f', 'rawvideo', '-pix_fmt', 'rgb24', 'pipe:1'];
  const raw = execFileSync('ffmpeg', args, { maxBuffer: 1e9 });
  return Array.from({ length: raw.length / (width * height * 3) }, (_, i) => {
    return raw[i * width * height * 3 + 3 * (width * 20 + 20)]!;
  });
}

void t.test('an MP4 that plays everywhere, as long as its sound', async (t) => {
  const dir = folder(t);
  const [path, audioPath] = [join(dir, 'out.mp4'), join(dir, 'a.mp3')];
  ffmpeg('-f', 'lavfi', '-i', 'sine=d=1.9:r=44100', '-ac', '2', audioPath);
  const frames = await write({ path, audioPath }, 60);
  const { streams, format } = ffprobe(path);
  const [video, audio] = streams as [Record<string, string>, Record<string, string>];
  t.match(video, { codec_name: 'h264', pix_fmt: 'yuv420p', avg_frame_rate: '24/1' });
  t.match(video, { width, height, color_space: 'bt709', color_range: 'tv' });
  t.match(audio, { codec_name: 'aac', sample_rate: '44100', channels: 2 });
  t.equal(Number(video['nb_read_frames']), frames, 'surplus frames are dropped');
  t.ok(Math.abs(Number(video['duration']) - Number(audio['duration'])) <= 1 / 24);
  t.ok(Math.abs(Number(format.duration) - 1.9) <= 1 / 24 + 0.06, `${format.duration} s`);
  t.match(format.tags['comment'], /AI-generated/);
  t.match(format.tags['description'], /^Synthetic media/);
  t.match(
    format.tags['xmp'],
    'DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"',
  );
  t.equal(boxes(path).at(-1), 'uuid', 'behind all that offsets count');
  const order = boxes(path);
  t.ok(order.includes('moov') && order.indexOf('moov') < order.indexOf('mdat'), order.join(' '));
  for (const [i, level] of levels(path).entries()) {
    const sent = Math.min(255, 20 + i * 4);
    if (Math.abs(level - sent) > 6) t.fail(`frame ${i} shows ${level} instead of ${sent}`);
  }
});

void t.test('a visible mark, in every frame, on light and on dark', async (t) => {
  const dir = folder(t);
  const [path, audioPath] = [join(dir, 'out.mp4'), join(dir, 'a.wav')];
  const data = sine(4000);
  writeFileSync(audioPath, wav(data.length, data));
  const size = { width: 256, height: 256 };
  /** Levels from darkest to brightest of each frame's corner, and of all the rest. */
  const written = async (mark: Mark, level: number) => {
    const picture = Buffer.alloc(256 * 256 * 3, level);
    const writer = await openVideo({ ...size, fps: 24, path, audioPath, mark });
    await writer.write(picture);
    t.ok(
      picture.every((value) => value === level),
      'the frame that came is left as it was',
    );
    await writer.finish();
    const raw = brightness(path);
    t.equal(raw.length, 6 * 256 * 256);
    return Array.from({ length: 6 }, (_, i) => {
      const frame = raw.subarray(i * 256 * 256, (i + 1) * 256 * 256);
      const inCorner = (at: number) => at >> 8 > 220 && (at & 255) > 140;
      const range = (wanted: boolean) => {
        const found = frame.filter((_, at) => inCorner(at) === wanted);
        return [Math.min(...found), Math.max(...found)] as const;
      };
      return { corner: range(true), rest: range(false) };
    });
  };
  for (const [mark, level] of [
    ['en', 10],
    ['zh', 128],
    ['en', 245],
  ] as const) {
    for (const { corner, rest } of await written(mark, level)) {
      t.ok(corner[1] - corner[0] > 120, `${mark} on ${level}: ${corner.join(' to ')}`);
      t.ok(rest[0] >= level - 12 && rest[1] <= level + 12, `nothing else: ${rest.join(' to ')}`);
    }
  }
  const [plain] = await written('off', 128);
  t.ok(plain!.corner[1] - plain!.corner[0] < 6, 'none where none is wanted');
});

void t.test('exact lengths: held, limited, and odd ones', async (t) => {
  const dir = folder(t);
  const audioPath = join(dir, 'a.wav');
  const data = sine(16001);
  writeFileSync(audioPath, wav(data.length, data));
  const path = join(dir, 'out.mp4');
  const lengths = () => {
    const [video, audio] = ffprobe(path).streams;
    return [
      Number(video!['nb_read_frames']),
      Number(video!['duration']),
      Number(audio!['duration']),
    ];
  };
  t.equal(
    await write({ path, audioPath, fps: 25 }, 10),
    26,
    'one sample more needs one frame more',
  );
  const [held, , sound] = lengths();
  t.equal(held, 26);
  t.ok(Math.abs(sound! - 16001 / 16000) < 0.001, `the sound is whole: ${sound} s`);
  const shown = levels(path);
  t.ok(
    shown.slice(10).every((level) => Math.abs(level - shown[9]!) < 3),
    'the last frame stays',
  );

  t.equal(await write({ path, audioPath, seconds: 12 / 24 }, 12), 12, 'frames_num limits it');
  const [limited, videoSeconds, audioSeconds] = lengths();
  t.equal(limited, 12);
  t.ok(
    Math.abs(videoSeconds! - audioSeconds!) <= 1 / 24,
    `${videoSeconds} s and ${audioSeconds} s`,
  );
  t.equal(await write({ path, audioPath, seconds: 99, audioSeconds: 1 }, 24), 24);
});

void t.test('several frames in one write, and frame rates that are no whole numbers', async (t) => {
  const dir = folder(t);
  const [path, audioPath] = [join(dir, 'out.mp4'), join(dir, 'a.wav')];
  writeFileSync(audioPath, wav(32000, sine(16000)));
  const writer = await openVideo({ path, audioPath, width, height, fps: 29.97 });
  t.equal(writer.frames, 30);
  const size = width * height * 3;
  const many = new Uint8Array(size * 12);
  for (let i = 0; i < 3; i++) await writer.write(many);
  await writer.finish();
  t.equal(Number(ffprobe(path).streams[0]!['nb_read_frames']), 30);
});

void t.test('sound that no player takes is made into some that all do', async (t) => {
  const dir = folder(t);
  const [path, audioPath] = [join(dir, 'out.mp4'), join(dir, 'a.flac')];
  ffmpeg(
    '-f',
    'lavfi',
    '-i',
    'sine=d=0.5:r=96000',
    '-ac',
    '6',
    '-metadata',
    'title=mine',
    audioPath,
  );
  await write({ path, audioPath }, 12);
  const { streams, format } = ffprobe(path);
  t.match(streams[1], { codec_name: 'aac', sample_rate: '48000', channels: 2 });
  t.equal(format.tags['title'], undefined, "nothing of the upload's metadata");
});

void t.test('sound that changes its rate on the way is whole', async (t) => {
  const dir = folder(t);
  const [path, audioPath] = [join(dir, 'out.mp4'), join(dir, 'a.mp3')];
  const parts = [16000, 24000, 48000].map((rate) => {
    const part = join(dir, `${rate}.mp3`);
    ffmpeg('-f', 'lavfi', '-i', `sine=d=0.5:r=${rate}`, part);
    return readFileSync(part);
  });
  writeFileSync(audioPath, Buffer.concat(parts));
  const frames = await write({ path, audioPath }, 40);
  const [video, audio] = ffprobe(path).streams;
  t.ok(frames >= 36, `${frames} frames`);
  t.ok(Math.abs(Number(video!['duration']) - Number(audio!['duration'])) <= 1 / 24);
});

void t.test('nothing is left of a video that did not finish', async (t) => {
  const dir = folder(t);
  const audioPath = join(dir, 'a.wav');
  writeFileSync(audioPath, wav(64000, sine(32000)));
  const path = join(dir, 'out.mp4');
  const options = { path, audioPath, width, height, fps: 24 };

  const aborted = await openVideo(options);
  for (let i = 0; i < 5; i++) await aborted.write(frame(i));
  await aborted.abort();
  await aborted.abort();
  t.equal((await refusal(aborted.write(frame(1)))).code, 'VIDEO_ENCODE_FAILED');
  t.equal((await refusal(aborted.finish())).code, 'VIDEO_ENCODE_FAILED');
  t.notOk(existsSync(path));

  const controller = new AbortController();
  const cancelled = await openVideo({ ...options, signal: controller.signal });
  await cancelled.write(frame(1));
  controller.abort();
  t.equal((await refusal(cancelled.finish())).code, 'MEDIA_CANCELLED');
  t.notOk(existsSync(path));

  const empty = await openVideo(options);
  t.match(await refusal(empty.finish()), { code: 'VIDEO_ENCODE_FAILED', message: /no frame/ });

  const odd = await openVideo(options);
  t.match(await refusal(odd.write(new Uint8Array(5))), { message: /18432 bytes were expected/ });
  await odd.abort();

  const nowhere = openVideo({ ...options, path: join(dir, 'missing', 'out.mp4') });
  const lost = await refusal(nowhere);
  t.match(lost, { code: 'VIDEO_ENCODE_FAILED', message: /no such file/i });
  t.notMatch(lost.message, dir);
  t.strictSame(readdirSync(dir), ['a.wav']);

  t.equal((await refusal(openVideo({ ...options, width: 95 }))).code, 'VIDEO_ENCODE_FAILED');
  t.equal((await refusal(openVideo({ ...options, fps: 0 }))).code, 'VIDEO_ENCODE_FAILED');
  t.equal((await refusal(openVideo({ ...options, audioPath: path }))).code, 'AUDIO_UNREADABLE');
});
