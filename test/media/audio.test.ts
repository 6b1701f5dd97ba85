import { writeFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { decodeAudio, probeAudio } from '../../src/media/audio.js';
import { ffmpeg, folder, refusal, sine, wav } from '../helpers/media.js';

void t.test('every listed type becomes 16 kHz mono', async (t) => {
  const dir = folder(t);
  const film = ['-f', 'lavfi', '-i', 'testsrc=d=1:s=64x64:r=10'];
  const kinds: [name: string, args: string[]][] = [
    ['a.mp3', []],
    ['a.wav', []],
    ['a.ogg', ['-c:a', 'libvorbis']],
    ['a.aac', []],
    ['a.m4a', []],
    ['a.flac', []],
    ['a.opus', ['-c:a', 'libopus']],
    ['a.webm', ['-c:a', 'libopus']],
    ['f32.wav', ['-c:a', 'pcm_f32le']],
    ['film.mp4', ['-map', '0:a', '-map', '1:v']],
  ];
  const outputs = kinds.flatMap(([name, args]) => [
    ...(args.includes('-map') ? args : ['-map', '0:a', ...args]),
    ...['-ac', '2', join(dir, name)],
  ]);
  ffmpeg('-f', 'lavfi', '-i', 'sine=frequency=440:d=1:r=48000', ...film, ...outputs);
  for (const [name] of kinds) {
    // the name must not matter
    const path = join(dir, `${name}.bin`);
    writeFileSync(path, readFileSync(join(dir, name)));
    const samples = await decodeAudio(path);
    t.ok(Math.abs(samples.length - 16000) < 1700, `${name}: ${samples.length} samples of a second`);
    let crossings = 0;
    for (let i = 1; i < samples.length; i++) {
      if (samples[i - 1]! < 0 && samples[i]! >= 0) crossings++;
    }
    t.ok(Math.abs(crossings - 440) < 20, `${name}: a tone of ${crossings} Hz`);
    t.ok(samples.every((value) => value >= -1 && value < 1));
  }
});

void t.test('16 kHz mono 16-bit sound arrives bit for bit', async (t) => {
  const path = join(folder(t), 'a');
  const data = sine(8000, 32767);
  writeFileSync(path, wav(data.length, data));
  const samples = await decodeAudio(path);
  t.equal(samples.length, 8000);
  t.ok(samples.every((value, i) => value * 32768 === data.readInt16LE(i * 2)));
});

void t.test('NaN and infinity of a float file do not get through', async (t) => {
  const dir = folder(t);
  ffmpeg('-f', 'lavfi', '-i', 'sine=d=1:r=16000', '-c:a', 'pcm_f32le', join(dir, 'a.wav'));
  const bytes = readFileSync(join(dir, 'a.wav'));
  for (let i = 0; i < 4000; i++)
    bytes.writeFloatLE(i % 2 ? NaN : Infinity, bytes.length - 4 - i * 4);
  writeFileSync(join(dir, 'a.wav'), bytes);
  t.ok((await decodeAudio(join(dir, 'a.wav'))).every(Number.isFinite));
});

void t.test('what a file claims is checked, and what it holds is counted', async (t) => {
  const dir = folder(t);
  const path = join(dir, 'a');
  const second = sine(16000);

  writeFileSync(path, wav(5 * 3600 * 32000, second));
  const claims = await refusal(decodeAudio(path));
  t.equal(claims.code, 'AUDIO_TOO_LONG');
  t.match(claims.message, /says it lasts 5 h; at most 10 min/);

  const long = wav(0xffffffff, second);
  const ds64 = Buffer.alloc(36);
  ds64.write('ds64', 0, 'latin1');
  ds64.writeUInt32LE(28, 4);
  ds64.writeBigUInt64LE(10n ** 9n, 16);
  long.write('RF64', 0, 'latin1');
  writeFileSync(path, Buffer.concat([long.subarray(0, 12), ds64, long.subarray(12)]));
  t.equal((await refusal(decodeAudio(path))).code, 'AUDIO_TOO_LONG', 'an RF64 that claims hours');

  ffmpeg('-f', 'lavfi', '-i', 'sine=d=1:r=16000', join(dir, 'a.flac'));
  const flac = readFileSync(join(dir, 'a.flac'));
  flac.fill(0xff, 22, 26); // the number of samples in its stream description
  writeFileSync(path, flac);
  t.equal((await refusal(decodeAudio(path))).code, 'AUDIO_TOO_LONG', 'a FLAC that claims hours');

  writeFileSync(path, wav(0xffffffff, second));
  t.equal((await decodeAudio(path)).length, 16000, 'a streamed WAV claims nothing');

  writeFileSync(path, wav(second.length, second, 1));
  t.equal((await refusal(decodeAudio(path))).code, 'AUDIO_TOO_LONG', 'a second as four hours');

  ffmpeg('-f', 'lavfi', '-i', 'sine=d=4', '-c:a', 'libopus', '-b:a', '8k', join(dir, 'a.webm'));
  t.equal(
    (await refusal(decodeAudio(join(dir, 'a.webm'), { maxSeconds: 3 }))).code,
    'AUDIO_TOO_LONG',
  );
  t.equal((await decodeAudio(join(dir, 'a.webm'), { maxSeconds: 5 })).length >= 64000, true);

  // a raw AAC stream carries no duration: only counting tells
  ffmpeg('-f', 'lavfi', '-i', 'sine=d=2', '-b:a', '24k', join(dir, 'a.aac'));
  const once = readFileSync(join(dir, 'a.aac'));
  writeFileSync(join(dir, 'a.aac'), Buffer.concat(Array<Buffer>(40).fill(once)));
  const counted = await refusal(decodeAudio(join(dir, 'a.aac'), { maxSeconds: 10 }));
  t.equal(counted.code, 'AUDIO_TOO_LONG');
});

void t.test('what holds no sound is refused with its reason', async (t) => {
  const dir = folder(t);
  const path = join(dir, 'a');
  const cases: [what: string, bytes: Buffer, code: string][] = [
    ['no bytes', Buffer.alloc(0), 'AUDIO_EMPTY'],
    ['a header only', wav(0, Buffer.alloc(0)), 'AUDIO_EMPTY'],
    ['a few samples', wav(200, sine(100)), 'AUDIO_EMPTY'],
    ['zeros', wav(32000, Buffer.alloc(32000)), 'AUDIO_SILENT'],
    ['dither', wav(32000, sine(16000, 2)), 'AUDIO_SILENT'],
    ['text', Buffer.from('these are words and not sound, '.repeat(50)), 'AUDIO_UNREADABLE'],
    [
      'noise bytes',
      Buffer.from(sine(5000).map((v, i) => (v * 31 + i * 17) & 255)),
      'AUDIO_UNREADABLE',
    ],
    ['an SVG', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), 'AUDIO_UNREADABLE'],
  ];
  for (const [what, bytes, code] of cases) {
    writeFileSync(path, bytes);
    const error = await refusal(decodeAudio(path));
    t.equal(error.code, code, `${what}: ${error.message}`);
    t.notMatch(error.message, dir, 'no folder of ours in the reason');
  }
  t.equal((await refusal(decodeAudio(join(dir, 'gone')))).code, 'AUDIO_UNREADABLE');
  t.equal((await refusal(decodeAudio(dir))).code, 'AUDIO_UNREADABLE', 'a folder');
});

void t.test('nothing but the file itself is ever opened', async (t) => {
  const dir = folder(t);
  const secret = join(dir, 'secret.wav');
  writeFileSync(secret, wav(32000, sine(16000)));
  const lists: [what: string, text: string][] = [
    ['hls', `#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n${secret}\n#EXT-X-ENDLIST\n`],
    [
      'hls of the network',
      '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n',
    ],
    ['concat', `ffconcat version 1.0\nfile '${secret}'\n`],
    ['sdp', 'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n'],
    [
      'dash',
      `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet><Representation id="1" bandwidth="1"><BaseURL>file://${secret}</BaseURL></Representation></AdaptationSet></Period></MPD>`,
    ],
  ];
  for (const [what, text] of lists) {
    const path = join(dir, 'a.wav');
    writeFileSync(path, text);
    const error = await refusal(decodeAudio(path));
    t.match(error.code, /^AUDIO_(UNSUPPORTED|UNREADABLE)$/, `${what}: ${error.message}`);
  }
  const protocol = await refusal(probeAudio(`concat:${secret}|${secret}`));
  t.equal(protocol.code, 'AUDIO_UNREADABLE', 'a path is a path, not a protocol');
});

void t.test('damaged files end, with their sound or with a reason', async (t) => {
  const dir = folder(t);
  const path = join(dir, 'b');
  ffmpeg(
    '-f',
    'lavfi',
    '-i',
    'anoisesrc=d=1:a=0.3',
    join(dir, 'a.mp3'),
    join(dir, 'a.m4a'),
    join(dir, 'a.flac'),
  );
  for (const name of ['a.mp3', 'a.m4a', 'a.flac']) {
    const whole = readFileSync(join(dir, name));
    writeFileSync(path, whole.subarray(0, whole.length / 2));
    const half = await decodeAudio(path).catch((error: { code: string }) => error.code);
    if (typeof half === 'string') t.match(half, /^AUDIO_/, `${name}: ${half}`);
    else t.ok(half.length > 4000, `${name}: ${half.length} samples saved`);
  }
});

void t.test('an abort stops it and leaves no child', async (t) => {
  const path = join(folder(t), 'a.flac');
  ffmpeg('-f', 'lavfi', '-i', 'anoisesrc=d=500:r=16000:a=0.1', '-t', '500', path);
  const controller = new AbortController();
  const work = refusal(decodeAudio(path, { signal: controller.signal }));
  setTimeout(() => controller.abort(), 150);
  t.equal((await work).code, 'MEDIA_CANCELLED');
  t.equal(
    (await refusal(decodeAudio(path, { signal: controller.signal }))).code,
    'MEDIA_CANCELLED',
  );
});

void t.test(
  'a plain WAV is read as the tools read it; one that lies is left to them',
  async (t) => {
    const path = join(folder(t), 'a');
    const data = sine(1600);
    const plain = wav(data.length, data);
    const note = Buffer.from('LIST\x04\0\0\0INFO', 'latin1');
    const noted = Buffer.concat([plain, note]);
    noted.writeUInt32LE(noted.length - 8, 4);
    const said: unknown[] = [];
    for (const file of [plain, noted]) {
      writeFileSync(path, file);
      said.push({ ...(await probeAudio(path)), samples: Buffer.from(await decodeAudio(path)) });
    }
    t.same(said[0], said[1], 'with a note in it, the tools are asked');

    const stereo = wav(data.length, data);
    stereo.writeUInt16LE(2, 22);
    stereo.writeUInt32LE(64_000, 28);
    stereo.writeUInt16LE(4, 32);
    writeFileSync(path, stereo);
    t.match(await probeAudio(path), { channels: 2, claimedSeconds: 0.05 });
    t.equal((await decodeAudio(path)).length, 800, 'two channels become one');

    for (const claimed of [data.length + 2, data.length - 2, 0, 0xffffffff]) {
      writeFileSync(path, wav(claimed, data));
      const samples = await decodeAudio(path);
      t.ok(Math.abs(samples.length - 1600) < 2, `${claimed} bytes claimed`);
    }
    writeFileSync(path, plain);
    t.match(await refusal(decodeAudio(path, { maxSeconds: 0.05 })), { code: 'AUDIO_TOO_LONG' });
    writeFileSync(path, wav(0, Buffer.alloc(0)));
    t.match(await refusal(decodeAudio(path)), { code: /^AUDIO_/ }, 'a header alone');
  },
);
