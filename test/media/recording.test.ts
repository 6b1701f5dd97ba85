import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { isSilent, joinSpeech, mixedDown, resampled, samplesOf } from '../../src/media/pcm.js';
import { durationOf, recordingOf, secondsOf, soundOf } from '../../src/media/recording.js';
import { readWav, wavFile } from '../../src/media/wav.js';
import { ffmpeg, folder, refusal, sine } from '../helpers/media.js';
import { picture, tone, wav } from '../helpers/samples.js';

void t.test('a recording is what its bytes are', async (t) => {
  const dir = folder(t);
  const kinds: [name: string, mime: string, args: string[]][] = [
    ['a.wav', 'audio/wav', []],
    ['a.mp3', 'audio/mpeg', []],
    ['a.ogg', 'audio/ogg', ['-c:a', 'libvorbis']],
    ['a.aac', 'audio/aac', []],
    ['a.m4a', 'audio/mp4', []],
    ['a.flac', 'audio/flac', []],
    ['a.webm', 'audio/webm', ['-c:a', 'libopus']],
  ];
  const outputs = kinds.flatMap(([name, , args]) => [...args, join(dir, name)]);
  ffmpeg('-f', 'lavfi', '-i', 'sine=d=1.5', ...outputs, '-f', 'mp4', join(dir, 'phone'));
  for (const [name, mime] of [...kinds, ['phone', 'audio/mp4'] as const]) {
    const recording = await recordingOf(readFileSync(join(dir, name)), { format: 'wav' });
    t.equal(recording.mime, mime, name);
    if (name !== 'phone') t.equal(recording.extension, name.slice(2));
    const seconds = await durationOf(recording);
    t.ok(Math.abs(seconds - 1.5) < 0.1, `${name} lasts ${seconds} s`);
    const sound = await soundOf(recording);
    t.equal(sound.sampleRate, 16_000);
    t.ok(Math.abs(secondsOf(sound) - 1.5) < 0.1 && !isSilent(sound));
  }
});

void t.test('bare samples become a WAV; a WAV stays one, whatever it is called', async (t) => {
  const samples = sine(16_000);
  for (const hints of [
    { format: 'pcm' },
    { format: 'audio/L16;rate=16000' },
    { sampleRate: 16_000 },
  ]) {
    const { data, mime, extension } = await recordingOf(samples, hints);
    t.same({ mime, extension }, { mime: 'audio/wav', extension: 'wav' });
    t.same(readWav(data), { pcm: samples, sampleRate: 16_000, channels: 1 });
  }
  const slow = await recordingOf(samples, { format: 'pcm', sampleRate: 8000 });
  t.equal(await durationOf(slow), 2);
  t.equal(secondsOf(await soundOf(slow)), 2, 'and is resampled where words are looked for');
  t.equal((await recordingOf(samples.subarray(0, 9), { format: 'pcm' })).data.length, 44 + 8);

  // the first samples look like an MP3's
  const alike = Buffer.concat([Buffer.from([0xff, 0xfb, 0x90, 0x44]), samples]);
  t.equal((await recordingOf(alike, { format: 'pcm' })).mime, 'audio/wav');
  const file = Buffer.from(tone(1));
  t.equal((await recordingOf(file, { format: 'pcm' })).data, file);
});

void t.test('what is no recording is refused', async (t) => {
  t.equal((await refusal(recordingOf(Buffer.alloc(0)))).code, 'AUDIO_EMPTY');
  const text = await refusal(recordingOf(Buffer.from('these are words')));
  t.equal(text.code, 'AUDIO_UNREADABLE');
  t.match(text.message, /say format "pcm"/);
  const image = await refusal(recordingOf(await picture()));
  t.equal(image.code, 'AUDIO_UNREADABLE');
  t.match(image.message, /a picture \(image\/png\)/);
  const broken = {
    data: Buffer.from('ID3\x04\0\0\0\0\0\0 and no sound'),
    mime: 'audio/mpeg',
    extension: 'mp3',
  };
  t.equal((await refusal(durationOf(broken))).code, 'AUDIO_UNREADABLE');
});

void t.test('length is counted, and limited', async (t) => {
  const short = await recordingOf(wav(16_000 * 3600, sine(16_000)));
  t.equal(await durationOf(short), 1, 'an hour by its header, a second in truth');
  const stereo = {
    data: wavFile(sine(96_000), 48_000, { channels: 2 }),
    mime: 'audio/wav',
    extension: 'wav',
  };
  t.equal(await durationOf(stereo), 1);
  const cases = [await recordingOf(tone(3)), stereo];
  for (const recording of cases) {
    t.equal((await refusal(durationOf(recording, { maxSeconds: 0.5 }))).code, 'AUDIO_TOO_LONG');
    t.equal((await refusal(soundOf(recording, { maxSeconds: 0.5 }))).code, 'AUDIO_TOO_LONG');
  }
  const dir = folder(t);
  ffmpeg('-f', 'lavfi', '-i', 'sine=d=4', '-c:a', 'libopus', '-f', 'webm', join(dir, 'live'));
  const live = await recordingOf(readFileSync(join(dir, 'live')));
  t.equal((await refusal(durationOf(live, { maxSeconds: 2 }))).code, 'AUDIO_TOO_LONG');
  const controller = new AbortController();
  controller.abort();
  const left = await refusal(soundOf(live, { signal: controller.signal }));
  t.equal(left.code, 'MEDIA_CANCELLED');
});

void t.test('WAVs as programs write them are read', async (t) => {
  const samples = sine(800);
  const plain = wavFile(samples, 16_000);
  t.same(readWav(plain), { pcm: samples, sampleRate: 16_000, channels: 1 });
  for (const claimed of [0, 0x7ffff000, 0xffffffff, 0x80000000]) {
    t.same(readWav(wav(claimed, samples))?.pcm, samples, `streamed with ${claimed}`);
  }
  t.equal(readWav(wav(100, samples))?.pcm.length, 100, 'what follows the data is no sound');
  t.same(readWav(wav(1e9, samples))?.pcm, samples, 'what is missing is not there');

  const list = Buffer.from('LIST\x05\0\0\0INFOx\0', 'latin1');
  const chunked = Buffer.concat([plain.subarray(0, 12), list, plain.subarray(12)]);
  t.same(readWav(chunked)?.pcm, samples, 'other chunks are passed over, with their padding');
  const odd = Buffer.concat([Buffer.alloc(1), plain]).subarray(1);
  t.same(samplesOf(readWav(odd)?.pcm as Buffer), samplesOf(samples), 'at any place in memory');

  const dir = folder(t);
  const kinds = ['pcm_s16le', 'pcm_u8', 'pcm_s24le', 'pcm_f32le', 'pcm_mulaw', 'adpcm_ms'];
  ffmpeg(
    '-f',
    'lavfi',
    '-i',
    'sine=d=0.1',
    ...kinds.flatMap((kind) => ['-c:a', kind, join(dir, `${kind}.wav`)]),
  );
  for (const kind of kinds) {
    const read = readWav(readFileSync(join(dir, `${kind}.wav`)));
    t.equal(read !== undefined, kind === 'pcm_s16le', kind);
  }
  ffmpeg('-f', 'lavfi', '-i', 'sine=d=0.1', '-ac', '6', '-ar', '48000', join(dir, 'six.wav'));
  t.match(readWav(readFileSync(join(dir, 'six.wav'))), { channels: 6, sampleRate: 48_000 });
});

void t.test('no header makes reading fail', async () => {
  const base = wavFile(sine(50), 16_000, { channels: 2 });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 12 }),
      fc.nat(base.length),
      (changes, length) => {
        const bytes = Buffer.from(base.subarray(0, length));
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        const read = readWav(bytes);
        return (
          read === undefined ||
          (read.pcm.length <= bytes.length && read.channels >= 1 && read.sampleRate >= 1000)
        );
      },
    ),
    { numRuns: 2000 },
  );
});

void t.test('speech is joined, resampled where rates differ', async (t) => {
  const low = { pcm: sine(8000, 8000, 8000), sampleRate: 8000 };
  const high = { pcm: sine(16_000), sampleRate: 16_000 };
  t.same(joinSpeech([high, high]).pcm, Buffer.concat([high.pcm, high.pcm]));
  t.same(joinSpeech([]), { pcm: Buffer.alloc(0), sampleRate: 16_000 });
  const joined = joinSpeech([low, high]);
  t.equal(joined.sampleRate, 16_000);
  t.equal(secondsOf(joined), 2);
  t.same(joined.pcm.subarray(32_000), high.pcm);
  const [made, ideal] = [samplesOf(joined.pcm), samplesOf(high.pcm)];
  let worst = 0;
  for (let i = 200; i < 15_800; i++) {
    worst = Math.max(worst, Math.abs((made[i] as number) - (ideal[i] as number)));
  }
  t.ok(worst < 30, `the same tone: off by ${worst} of 8000`);

  // 6 kHz does not exist at 8 kHz and must not come back as 2 kHz
  const samples = Int16Array.from(
    { length: 16_000 },
    (_, i) => 8000 * Math.sin((2 * Math.PI * 6000 * i) / 16_000),
  );
  const halved = resampled(samples, 16_000, 8000);
  t.equal(halved.length, 8000);
  t.ok(
    halved.slice(100, -100).every((sample) => Math.abs(sample) < 80),
    'no aliases',
  );
  t.ok(
    resampled(new Int16Array(500).fill(32_767), 8000, 44_100).every((sample) => sample > -1000),
    'no overflow',
  );
});

void t.test('silence and several channels', async (t) => {
  t.equal(isSilent({ pcm: Buffer.alloc(3200), sampleRate: 16_000 }), true);
  t.equal(isSilent({ pcm: sine(1600, 20), sampleRate: 16_000 }), true);
  t.equal(isSilent({ pcm: sine(1600, 200), sampleRate: 16_000 }), false);
  const both = Buffer.from(Int16Array.of(100, 300, -32_768, -32_768, 7, 8).buffer);
  t.same([...samplesOf(mixedDown(both, 2))], [200, -32_768, 8]);
});
