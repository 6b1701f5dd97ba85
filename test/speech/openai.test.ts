import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { loadConfig } from '../../src/config.js';
import { createLog } from '../../src/log.js';
import { wavFile } from '../../src/media/wav.js';
import { openaiRecogniser, openaiSynthesiser } from '../../src/speech/openai.js';
import type { RecogniseOptions, SpeakOptions } from '../../src/speech/speech.js';
import {
  type FakeOptions,
  Refusal,
  type SpeechRequest,
  type Transcription,
  startOpenAiFake,
} from '../fakes/openai/server.js';
import { textsOfWav, wavOfText } from '../fakes/openai/voice.js';
import { encoded, tone } from '../helpers/samples.js';
import { folder, refusal } from '../helpers/media.js';

async function start(t: Test, options: FakeOptions = {}, settings: Record<string, string> = {}) {
  const fake = await startOpenAiFake(t, options);
  const config = loadConfig({ ...fake.settings, PROVIDER_RETRIES: '0', ...settings });
  const log = createLog('silent');
  const ears = openaiRecogniser(config, log);
  const voice = openaiSynthesiser(config, log);
  const { signal } = new AbortController();
  return {
    fake,
    hear: (
      data: Uint8Array,
      {
        extension = 'wav',
        mime = 'audio/wav',
        ...more
      }: Partial<RecogniseOptions & { extension: string; mime: string }> = {},
    ) => ears.recognise({ data, mime, extension }, { signal, ...more }),
    speak: (text: string, more: Partial<SpeakOptions> = {}) =>
      voice.speak(text, { signal, ...more }),
    heard: (at = -1) => fake.requests.at(at)?.body as Transcription,
    spoken: (at = -1) => fake.requests.at(at)?.body as SpeechRequest,
  };
}

const saidBy = (speech: { pcm: Uint8Array; sampleRate: number }) =>
  textsOfWav(wavFile(speech.pcm, speech.sampleRate));

t.test('a recording is heard', async (t) => {
  const { fake, hear, heard } = await start(t);
  const file = wavOfText('Good morning, Lin.');
  t.equal(await hear(file, { language: 'en-GB' }), 'Good morning, Lin.');
  t.match(heard(), { model: 'whisper-1', language: 'en', fileName: 'recording.wav' });
  t.same(Buffer.from(heard().file), file, 'byte by byte');
  t.same(fake.violations, []);
});

t.test('each format keeps its extension, which services judge by', async (t) => {
  const { fake, hear, heard } = await start(t, {}, { ASR_MODEL: 'large-v3' });
  await hear(tone(0.1), { extension: 'm4a', mime: 'audio/mp4' });
  t.match(heard(), { fileName: 'recording.m4a', mime: 'audio/mp4', model: 'large-v3' });
  await hear(tone(0.1), { extension: 'x3f', mime: 'application/octet-stream' });
  t.equal(heard().fileName, 'recording.x3f');
  await hear(tone(0.1), { extension: '../"\r\n', language: 'not a tag' });
  t.match(heard(), { fileName: 'recording.wav', language: undefined });
  await hear(tone(0.1), { language: 'cmn-Hans-CN' });
  t.equal(heard().language, 'zh');
  t.same(fake.violations, []);
});

t.test('silence is an empty text; a server may answer in plain text', async (t) => {
  const silent = await start(t, { transcribe: () => ' ' });
  t.equal(await silent.hear(tone(0.1)), '');
  const plain = await start(t, { transcribe: () => ({ body: '"Just this."' }) });
  t.equal(await plain.hear(tone(0.1)), 'Just this.');
});

t.test('a sentence is spoken: 24 kHz from a WAV whose header knows no size', async (t) => {
  const { fake, speak, spoken } = await start(t);
  const speech = await speak('How are you?');
  t.equal(speech.sampleRate, 24_000);
  t.same(saidBy(speech), ['How are you?']);
  t.same(spoken(), {
    ...{ model: 'tts-1', voice: 'alloy', input: 'How are you?' },
    response_format: 'wav',
  });
  t.same(fake.violations, []);
});

t.test('voice, speed and model', async (t) => {
  const { fake, speak, spoken } = await start(t, {}, { TTS_MODEL: 'kokoro', TTS_VOICE: 'nova' });
  await speak('Hello', { rate: 1.5, pitch: 1.2 });
  t.same(spoken(), {
    ...{ model: 'kokoro', voice: 'nova', input: 'Hello' },
    ...{ response_format: 'wav', speed: 1.5 },
  });
  await speak('Hello', { rate: 40, voice: 'alloy' });
  t.match(spoken(), { speed: 4, voice: 'alloy' });
  await speak('Hello', { rate: 0.001 });
  t.equal(spoken().speed, 0.25);
  t.same(fake.violations, []);
});

t.test('a voice of another service gives way to the default, and is remembered', async (t) => {
  const { fake, speak, spoken } = await start(t);
  t.same(saidBy(await speak('One', { voice: 'longanyang' })), ['One']);
  t.same([spoken(0).voice, spoken(1).voice], ['longanyang', 'alloy']);
  await speak('Two', { voice: 'longanyang' });
  t.equal(fake.requests.length, 3, 'asked once only');

  const none = await start(t, {}, { TTS_VOICE: 'nobody' });
  t.match(await refusal(none.speak('One')), { code: 'TTS_FAILED', message: /voice.*alloy/ });
});

t.test('nothing to say is not sent', async (t) => {
  const { fake, speak } = await start(t);
  t.equal((await speak('... !')).pcm.length, 0);
  t.equal(fake.requests.length, 0);
});

t.test('WAVs of all kinds, and what a server answers that knows none', async (t) => {
  const samples = Buffer.from(tone(0.5).subarray(44));
  const stereo = Buffer.alloc(samples.length * 2);
  for (let i = 0; i < samples.length; i += 2) {
    samples.copy(stereo, i * 2, i, i + 2);
    samples.copy(stereo, i * 2 + 2, i, i + 2);
  }
  const [mp3, float] = encoded(folder(t), [
    ['a.mp3', ['-map', '0:a']],
    ['a.wav', ['-map', '0:a', '-c:a', 'pcm_f32le']],
  ]) as [Uint8Array, Uint8Array];
  const half = 8000 * 2;
  const sounds: [what: string, data: Uint8Array, rate: number, bytes: number][] = [
    ['a size of 0', wavFile(samples, 16_000, { claimed: 0 }), 16_000, half],
    ['a size that is far too large', wavFile(samples, 16_000, { claimed: 2e9 }), 16_000, half],
    ['a broken last sample', wavFile(samples, 16_000).subarray(0, -1), 16_000, half - 2],
    ['two channels', wavFile(stereo, 16_000, { channels: 2 }), 16_000, half],
    ['48 kHz', wavFile(samples, 48_000), 48_000, half],
    ['floating point', float, 16_000, half],
    ['an MP3', mp3, 16_000, half],
  ];
  for (const [what, data, rate, bytes] of sounds) {
    const { speak } = await start(t, { speak: () => ({ type: 'audio/wav', data }) });
    const speech = await speak('Hello');
    t.equal(speech.sampleRate, rate, what);
    t.ok(Math.abs(speech.pcm.length - bytes) < 3000, `${what}: ${speech.pcm.length} bytes`);
  }
  const { speak } = await start(t, {
    speak: () => ({ type: 'application/json', data: Buffer.from('{"status":"ok"}') }),
  });
  t.match(await refusal(speak('Hello')), {
    code: 'TTS_FAILED',
    message: /expected a WAV file.*15 bytes \(application\/json\)/,
  });
});

t.test('sound that comes in odd pieces', async (t) => {
  const file = wavOfText('Piece by piece.');
  const pieces = Array.from({ length: Math.ceil(file.length / 777) }, (_, i) =>
    file.subarray(i * 777, (i + 1) * 777),
  );
  const { speak } = await start(t, { speak: () => ({ type: 'audio/wav', parts: pieces }) });
  t.same(saidBy(await speak('anything')), ['Piece by piece.']);
});

const key = 'sk-fake-0123456789abcdef';
const refusals: [answer: Refusal, message: RegExp][] = [
  [new Refusal(401, 'invalid_api_key', `wrong: ${key}`), /401 \(invalid_api_key\): wrong: \[key\]/],
  [new Refusal(400, 'bad_audio', 'cannot read this'), /400 \(bad_audio\): cannot read this/],
  [new Refusal(413, null, '', {}, '{"detail":"too large"}'), /413.*too large/],
  [new Refusal(429, 'rate_limit_exceeded', 'slow down'), /429.*slow down/],
  [new Refusal(500, null, '', {}, 'Internal Server Error'), /500.*Internal Server Error/],
];
t.test('what the service refuses has a code, its own words and never the key', async (t) => {
  for (const [answer, message] of refusals) {
    const { hear, speak } = await start(t, { transcribe: () => answer, speak: () => answer });
    const failures = [await refusal(hear(tone(0.1))), await refusal(speak('Hello'))];
    t.same(
      failures.map(({ code }) => code),
      ['ASR_FAILED', 'TTS_FAILED'],
    );
    for (const failure of failures) {
      t.match(failure.message, message);
      t.notMatch(failure.message, key);
    }
  }
});

t.test('an answer without a text: ASR_FAILED', async (t) => {
  for (const body of ['{"words":[]}', 'null', '{"text":5}', '<html>']) {
    const { hear } = await start(t, { transcribe: () => ({ body }) });
    t.equal((await refusal(hear(tone(0.1)))).code, 'ASR_FAILED', body);
  }
});

t.test('a service that is not there: ..._UNAVAILABLE', async (t) => {
  const closed = createServer().listen(0, '127.0.0.1');
  await once(closed, 'listening');
  const { port } = closed.address() as AddressInfo;
  closed.close();
  const { hear, speak } = await start(t, {}, { OPENAI_BASE_URL: `http://127.0.0.1:${port}/v1` });
  t.match(await refusal(hear(tone(0.1))), { code: 'ASR_UNAVAILABLE', message: /ECONNREFUSED/ });
  t.match(await refusal(speak('Hello')), { code: 'TTS_UNAVAILABLE', message: /ECONNREFUSED/ });
});

/** A service that begins and never ends. */
const endless: FakeOptions = {
  transcribe: async (_request, exchange) => {
    await exchange.closed;
    return '';
  },
  speak: (_request, exchange) => ({
    type: 'audio/wav',
    parts: (async function* () {
      yield wavOfText('never').subarray(0, 500);
      await exchange.closed;
    })(),
  }),
};

t.test('a service that stalls: PROVIDER_TIMEOUT, and its connection is closed', async (t) => {
  const { fake, hear, speak } = await start(t, endless, { PROVIDER_TIMEOUT_SECONDS: '0.2' });
  t.equal((await refusal(hear(tone(0.1)))).code, 'PROVIDER_TIMEOUT');
  t.equal((await refusal(speak('Hello'))).code, 'PROVIDER_TIMEOUT');
  t.same(await Promise.all(fake.requests.map(({ closed }) => closed)), ['aborted', 'aborted']);
});

t.test('an abort ends the request at once', async (t) => {
  for (const what of ['transcribe', 'speak'] as const) {
    let begin = () => {};
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const { fake, hear, speak } = await start(t, {
      transcribe: (request, exchange) => {
        begin();
        return endless.transcribe?.(request, exchange) ?? '';
      },
      speak: (request, exchange) => {
        begin();
        return endless.speak?.(request, exchange) as never;
      },
    });
    const abort = new AbortController();
    const { signal } = abort;
    const work: Promise<unknown> =
      what === 'speak' ? speak('Hello', { signal }) : hear(tone(0.1), { signal });
    await begun;
    abort.abort(new Error('enough'));
    await t.rejects(work, { message: 'enough' });
    t.equal(await fake.requests[0]?.closed, 'aborted', what);
  }
});

t.test('what may pass is tried again', async (t) => {
  let calls = 0;
  const { hear, speak } = await start(
    t,
    {
      transcribe: () => (calls++ % 2 === 0 ? new Refusal(503, null, 'busy') : 'hello'),
      speak: ({ input }) =>
        calls++ % 2 === 0
          ? new Refusal(429, null, 'busy', { 'retry-after': '0' })
          : { type: 'audio/wav', data: wavOfText(input) },
    },
    { PROVIDER_RETRIES: '1' },
  );
  t.equal(await hear(tone(0.1)), 'hello');
  t.same(saidBy(await speak('Hello')), ['Hello']);
  t.equal(calls, 4);
});
