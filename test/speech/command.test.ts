import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { loadConfig } from '../../src/config.js';
import { createLog } from '../../src/log.js';
import { isSilent } from '../../src/media/pcm.js';
import { recordingOf, secondsOf } from '../../src/media/recording.js';
import { wavFile } from '../../src/media/wav.js';
import { createRecogniser, createSynthesiser } from '../../src/speech/index.js';
import type { Recogniser, Speech, Synthesiser } from '../../src/speech/speech.js';
import { ffmpeg, folder, refusal } from '../helpers/media.js';
import { tone } from '../helpers/samples.js';
import { pitchOf } from '../helpers/speech.js';
import { until } from '../helpers/until.js';

const log = createLog('silent');
const never = { signal: new AbortController().signal };
const heard = 'pocketsphinx_continuous -infile {input} -logfn /dev/null';

function hears(line: string, more: Record<string, string> = {}): Recogniser {
  return createRecogniser(loadConfig({ ASR: 'command', ASR_COMMAND: line, ...more }), log);
}

function speaks(line: string, more: Record<string, string> = {}): Synthesiser {
  return createSynthesiser(loadConfig({ TTS: 'command', TTS_COMMAND: line, ...more }), log);
}

function recorded({ pcm, sampleRate }: Speech) {
  return recordingOf(wavFile(pcm, sampleRate));
}

/** A program of our own, in a folder of the test's. */
function program(t: Test, text: string): { path: string; dir: string } {
  const dir = folder(t);
  const path = join(dir, 'program');
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
  return { path, dir };
}

void t.test('pocketsphinx hears what flite says', async (t) => {
  const recogniser = hears(heard);
  const embedded = createSynthesiser(loadConfig({}), log);
  t.teardown(() => embedded.close?.());
  const voices: [who: string, synthesiser: Synthesiser][] = [
    ['the program', speaks('flite -voice slt -t {text} -o {output}')],
    ['the embedded one', embedded],
  ];
  for (const [who, synthesiser] of voices) {
    for (const text of ['what is the weather like today', 'one two three four five']) {
      const speech = await synthesiser.speak(text, never);
      t.equal(await recogniser.recognise(await recorded(speech), never), text, who);
    }
  }
});

void t.test('pocketsphinx hears which command espeak-ng gives', async (t) => {
  const grammar = join(folder(t), 'commands.gram');
  const commands = ['stop the music', 'open the door', 'go forward', 'good night'];
  writeFileSync(
    grammar,
    `#JSGF V1.0;\ngrammar commands;\npublic <command> = ${commands.join(' | ')};\n`,
  );
  const recogniser = hears(`${heard} -jsgf '${grammar}'`);
  const espeak = speaks('espeak-ng -v en-us -s {rate*140} --stdout');
  for (const text of commands.slice(0, 2)) {
    const speech = await espeak.speak(text, never);
    t.equal(speech.sampleRate, 22050);
    t.equal(await recogniser.recognise(await recorded(speech), never), text);
  }
});

void t.test('a recording arrives as the WAV that programs expect', async (t) => {
  const dir = folder(t);
  const flite = speaks('flite -voice slt -t {text} -o {output}');
  const { pcm, sampleRate } = await flite.speak('how are you today', never);
  writeFileSync(join(dir, 'a.wav'), wavFile(pcm, sampleRate));
  ffmpeg('-i', join(dir, 'a.wav'), '-ar', '44100', '-ac', '2', join(dir, 'a.m4a'));
  const m4a = await recordingOf(readFileSync(join(dir, 'a.m4a')));
  t.equal(m4a.mime, 'audio/mp4');
  t.equal(await hears(heard).recognise(m4a, never), 'how are you today');

  const { path } = program(t, 'head -c 44 "$1" | od -An -tx1 | tr -d " \\n"');
  const head = await hears(`${path} {input}`).recognise(m4a, never);
  t.match(head, /^52494646.{8}57415645666d74201000000001000100803e0000007d000002001000/);
  const piped = program(t, 'head -c 44 | od -An -tx1 | tr -d " \\n"');
  t.equal(await hears(piped.path).recognise(m4a, never), head, 'or on standard input');
});

void t.test('silence has no words, and remarks of programs are none', async (t) => {
  const silent = await recordingOf(tone(1, 16_000, 0));
  t.equal(await hears('sh -c "exit 3"').recognise(silent, never), '', 'nothing is run for it');
  const { path } = program(t, "printf '[BLANK_AUDIO]\\n good \\n(music)\\n  morning\\n\\n'");
  t.equal(await hears(path).recognise(await recordingOf(tone(1)), never), 'good morning');
  const unreadable = { data: Buffer.alloc(500, 'x'), mime: 'audio/mpeg', extension: 'mp3' };
  t.equal((await refusal(hears(path).recognise(unreadable, never))).code, 'AUDIO_UNREADABLE');
});

void t.test('voice, pace, pitch and language are handed over', async (t) => {
  const espeak = speaks('espeak-ng -v {voice} -s {rate*175} -p {pitch*50} --stdout', {
    TTS_VOICE: 'en-us',
  });
  const text = 'the weather is fine today';
  const plain = await espeak.speak(text, never);
  const fast = await espeak.speak(text, { ...never, rate: 1.6 });
  t.ok(Math.abs(secondsOf(plain) / secondsOf(fast) - 1.6) < 0.3);
  t.ok(pitchOf(await espeak.speak(text, { ...never, pitch: 1.8 })) > 1.2 * pitchOf(plain));
  const mandarin = await espeak.speak('你好，今天天气很好', { ...never, voice: 'cmn' });
  t.ok(secondsOf(mandarin) > 1 && !isSilent(mandarin));
  t.same(
    await espeak.speak(text, { ...never, voice: 'longxiaochun' }),
    plain,
    'a voice it does not have is its own',
  );

  const { path } = program(t, 'echo "$@"');
  const shown = (options: object, args: string) =>
    hears(`${path} ${args}`).recognise(tonal, { ...never, ...options });
  const tonal = await recordingOf(tone(0.2));
  t.equal(await shown({ language: 'zh-CN' }, '{language:auto} {lang:en}'), 'zh-CN zh');
  t.equal(await shown({}, '{language:auto} {lang:en}'), 'auto en');
  t.equal(await shown({ language: '--help' }, '{language:auto}'), 'auto', 'a tag and no option');
});

void t.test('a text is never an option, a file or a word of a shell', async (t) => {
  const { path, dir } = program(
    t,
    `printf '<%s>' "$@" >"$(dirname "$0")/args"; cat >"$(dirname "$0")/stdin"; exec espeak-ng --stdout hi`,
  );
  const said = async (text: string, line = `${path} {text} -x --say={text}`, more = {}) => {
    await speaks(line).speak(text, { ...never, ...more });
    return {
      args: readFileSync(join(dir, 'args'), 'utf8'),
      stdin: readFileSync(join(dir, 'stdin'), 'utf8'),
    };
  };
  for (const text of [
    '--help',
    '-f /etc/passwd',
    '$(id) `id` ; id | id > x "a" \'b\' *',
    '{voice}',
  ]) {
    const { args, stdin } = await said(text);
    t.equal(args, `< ${text}><-x><--say= ${text}>`);
    t.equal(stdin, `${text}\n`);
  }
  t.match(await said('one\ntwo\0three\x1b[0m'), { stdin: 'one two three [0m\n' });
  const voice = await said('hi', `${path} {voice:mine}`, { voice: '-w/etc/x' });
  t.equal(voice.args, '<mine>');
  const flite = speaks('flite {text} {output}');
  const spelled = await flite.speak('/etc/hostname', never);
  t.ok(secondsOf(spelled) > 1.2, 'flite reads the path aloud and not the file');
});

void t.test('a failing program says why', async (t) => {
  const recording = await recordingOf(tone(0.2));
  const bad = program(t, 'echo first >&2; echo "cannot open /a/b/model.bin" >&2; exit 7');
  const asr = await refusal(hears(bad.path).recognise(recording, never));
  t.equal(asr.code, 'ASR_FAILED');
  t.match(asr.message, /program ended with 7: cannot open model\.bin$/);
  const tts = await refusal(speaks(bad.path).speak('hi', never));
  t.equal(tts.code, 'TTS_FAILED');

  const crash = await refusal(speaks(program(t, 'kill -SEGV $$').path).speak('hi', never));
  t.match(crash.message, /was ended by SIGSEGV/);
  const mute = await refusal(speaks(`${program(t, 'true').path} {output}`).speak('hi', never));
  t.match(mute.message, /wrote no file at \{output\}; TTS_COMMAND must write a WAV/);
  const words = await refusal(speaks(program(t, 'echo words').path).speak('hi', never));
  t.match(words.message, /made no sound/);
  t.equal(words.code, 'TTS_FAILED');
  const endless = await refusal(hears(program(t, 'yes').path).recognise(recording, never));
  t.match(endless.message, /wrote more than 1048576 bytes/);
  const slow = hears(program(t, 'sleep 60').path, { PROVIDER_TIMEOUT_SECONDS: '0.2' });
  t.equal((await refusal(slow.recognise(recording, never))).code, 'PROVIDER_TIMEOUT');
  const many = speaks(`${bad.path} ${'{text} '.repeat(200)}`);
  const big = await refusal(many.speak('a'.repeat(20_000), never));
  t.equal(big.code, 'TTS_FAILED');
  t.match(big.message, /could not start: spawn E2BIG/);
  const long = await refusal(speaks(bad.path).speak('a'.repeat(20_001), never));
  t.match(long.message, /at most 20000 characters/);
});

void t.test('an abort ends the program and all that it has started', async (t) => {
  const { path, dir } = program(t, 'sleep 300 & echo $! >"$(dirname "$0")/child"; wait');
  const child = join(dir, 'child');
  const controller = new AbortController();
  const reason = new Error('interrupted');
  const speaking = speaks(path).speak('hi', { signal: controller.signal });
  await until(() => existsSync(child) && readFileSync(child, 'utf8').endsWith('\n'), 'it runs');
  controller.abort(reason);
  await t.rejects(speaking, reason);
  const pid = readFileSync(child, 'utf8').trim();
  await until(() => !isRunning(pid), 'the grandchild is gone');
  await t.rejects(speaks(path).speak('hi', { signal: controller.signal }), reason);
});

/** Whether it lives; a zombie does not. */
function isRunning(pid: string): boolean {
  try {
    return !/^\s*Z/.test(execFileSync('ps', ['-o', 'stat=', '-p', pid]).toString());
  } catch {
    return false;
  }
}

void t.test('programs see neither our secrets nor each other', async (t) => {
  process.env['OPENAI_API_KEY'] = 'a-very-secret-key';
  t.teardown(() => delete process.env['OPENAI_API_KEY']);
  const { path } = program(t, 'env; ls "$TMPDIR" "$1"');
  const recording = await recordingOf(tone(0.2));
  const seen = (await hears(`${path} {input}`).recognise(recording, never)) ?? '';
  t.match(seen, /PATH=/);
  t.notMatch(seen, 'a-very-secret-key');
  const used = /TMPDIR=(\S+)/.exec(seen)?.[1] as string;
  t.match(seen, `${used}: speech.wav`, 'a folder with the recording alone');
  t.equal(existsSync(used), false, 'its folder is gone');
});

void t.test('only so many run at once, the others wait their turn', async (t) => {
  const { path, dir } = program(
    t,
    'here=$(dirname "$0"); : >"$here/run.$$"; ls "$here" | grep -c "^run" >>"$here/counts"; sleep 0.05; rm "$here/run.$$"; echo done',
  );
  const recording = await recordingOf(tone(0.2));
  const recogniser = hears(path);
  const controller = new AbortController();
  const all = Array.from({ length: 12 }, () =>
    recogniser.recognise(recording, { signal: new AbortController().signal }),
  );
  const leaving = recogniser.recognise(recording, { signal: controller.signal });
  controller.abort(new Error('left'));
  await t.rejects(leaving, new Error('left'), 'who waits can leave');
  t.same([...new Set(await Promise.all(all))], ['done']);
  const counts = readFileSync(join(dir, 'counts'), 'utf8').trim().split('\n').map(Number);
  t.equal(counts.length, 12, 'the one that left never ran');
  t.ok(Math.max(...counts) <= availableParallelism(), `at most ${Math.max(...counts)} at once`);
  t.same(
    readdirSync(dir).filter((name) => name.startsWith('run')),
    [],
  );
});

void t.test('a command line that cannot work is refused at the start', async (t) => {
  const cases: [line: string, why: RegExp][] = [
    [
      'no-such-program-here {input}',
      /starts with no-such-program-here, which was not found on PATH/,
    ],
    [
      '/nowhere/program {input}',
      /starts with \/nowhere\/program, which is no program that can be run/,
    ],
    ['sh "-c', /has a " that is not closed/],
    ['   ', /names no program/],
    ['sh {text}', /uses \{text\}; it can use \{input\}, \{language\}, \{lang\}/],
    [
      'sh {language}',
      /uses \{language\}, which may be unknown; give a default as \{language:\.\.\.\}/,
    ],
  ];
  for (const [line, why] of cases) {
    t.throws(() => hears(line), { code: 'CONFIG_INVALID', message: why }, line);
  }
  t.throws(() => speaks('espeak-ng -v {voice} --stdout'), { message: /\{voice:\.\.\.\}/ });
  t.doesNotThrow(() => speaks('espeak-ng -v {voice:en} --stdout'));
  t.doesNotThrow(() => speaks('espeak-ng -v {voice} --stdout', { TTS_VOICE: 'en' }));
});
