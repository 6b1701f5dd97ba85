import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createNetServer } from 'node:net';
import t from 'tap';
import { wavFile } from '../../src/media/wav.js';
import type { Recording } from '../../src/speech/speech.js';
import { type DashscopeFake, defaultTranscript, sha256 } from '../fakes/dashscope/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { encoded, tone } from '../helpers/samples.js';
import { until } from '../helpers/until.js';
import { failure, startRecogniser } from './dashscope-start.js';

const forever = new AbortController().signal;
const speech = recording(tone(0.2));
const chat = 'qwen-audio-turbo-latest';

function recording(data: Uint8Array, more: Partial<Recording> = {}): Recording {
  return { data, mime: 'audio/wav', extension: 'wav', ...more };
}

function heard(fake: DashscopeFake) {
  return fake.requests.filter((one) => one.kind === 'recognise');
}

t.test('what is said comes back as text, from every family of models', async (t) => {
  for (const [model, streamed] of [
    ['qwen3-asr-flash', false],
    ['qwen3-asr-flash-2025-09-08', false],
    [chat, true],
    ['qwen2-audio-instruct', true],
    ['qwen-audio-asr', true],
    ['qwen-audio-3.0-asr-flash', false],
  ] as const) {
    await t.test(model, async (t) => {
      const words = '你好,世界! Hello, 世界.';
      const { fake, recogniser } = await startRecogniser(
        t,
        { transcripts: { [sha256(speech.data)]: words } },
        { ASR_MODEL: model },
      );
      t.equal(recogniser.name, 'dashscope');
      t.equal(await recogniser.recognise(speech, { signal: forever }), words);
      const other = recording(tone(0.3));
      t.equal(
        await recogniser.recognise(other, { signal: forever, language: 'de-AT' }),
        defaultTranscript(other.data),
      );
      const asked = heard(fake);
      t.strictSame(
        asked.map((one) => [one.model, one.source, one.mime, one.streamed]),
        asked.map(() => [model, 'data', 'audio/wav', streamed]),
      );
      t.equal(asked[1]?.language, model.startsWith('qwen3') ? 'de' : undefined);
      t.strictSame(fake.violations, []);
    });
  }
});

t.test(
  'the default model, a workspace, and languages that the service does not know',
  async (t) => {
    const { fake, recogniser } = await startRecogniser(t, { workspace: 'ws-1' });
    await recogniser.recognise(speech, { signal: forever, language: 'tlh' });
    t.match(heard(fake), [{ model: 'qwen3-asr-flash', language: undefined }]);
    t.strictSame(fake.violations, []);
  },
);

t.test('models for files or streams are refused when the server starts', async (t) => {
  for (const model of ['paraformer-v2', 'fun-asr', 'qwen3-asr-flash-filetrans']) {
    await t.rejects(
      startRecogniser(t, {}, { ASR_MODEL: model }),
      { code: 'CONFIG_INVALID' },
      model,
    );
  }
});

t.test('silence is an empty text', async (t) => {
  const { fake, recogniser } = await startRecogniser(t, { transcripts: () => '' });
  const said = () => recogniser.recognise(speech, { signal: forever });
  t.equal(await said(), '');
  fake.plan.recognise.push({ silence: 'reply' }, { silence: 'refusal' }, { text: ' \n' });
  for (let i = 0; i < 3; i++) t.equal(await said(), '');
  t.equal(fake.plan.recognise.length, 0);
  const talking = await startRecogniser(
    t,
    { transcripts: () => '[NO SPEECH]' },
    { ASR_MODEL: chat },
  );
  t.equal(await talking.recogniser.recognise(speech, { signal: forever }), '');
  t.strictSame([...fake.violations, ...talking.fake.violations], []);
});

t.test('recordings reach a service that cannot reach us', async (t) => {
  await t.test('large ones through the upload', async (t) => {
    const { fake, recogniser } = await startRecogniser(t);
    const large = recording(wavFile(randomBytes(7_600_000), 16_000));
    t.equal(await recogniser.recognise(large, { signal: forever }), defaultTranscript(large.data));
    t.strictSame(
      fake.requests.map((one) => one.kind),
      ['policy', 'upload', 'recognise'],
    );
    t.equal(heard(fake)[0]?.source, 'oss');
    const fitting = recording(wavFile(randomBytes(7_400_000), 16_000));
    await recogniser.recognise(fitting, { signal: forever });
    t.equal(heard(fake)[1]?.source, 'data');
    t.strictSame(fake.violations, []);
  });

  await t.test('an upload is made once, however often the question is put', async (t) => {
    const { fake, recogniser } = await startRecogniser(t, {}, { PROVIDER_RETRIES: '2' });
    fake.plan.policy.push({ refuse: { status: 503, code: 'ServiceUnavailable', message: '' } });
    fake.plan.recognise.push({ refuse: { status: 500, code: 'InternalError', message: '' } });
    const large = recording(wavFile(randomBytes(7_600_000), 16_000));
    await recogniser.recognise(large, { signal: forever });
    t.strictSame(
      fake.requests.map((one) => one.kind),
      ['policy', 'policy', 'upload', 'recognise', 'recognise'],
    );
    t.strictSame(fake.violations, []);
  });

  await t.test('what goes wrong there', async (t) => {
    const { fake, recogniser } = await startRecogniser(t, { maxUploadMegabytes: 8 });
    const failing = async (bytes = 7_600_000) => {
      const large = recording(wavFile(Buffer.alloc(bytes), 16_000));
      return recogniser.recognise(large, { signal: forever });
    };
    await t.rejects(failing(9_000_000), { code: 'ASR_FAILED', message: /8 MB/ });
    const refuse = { status: 403, code: 'AccessDenied', message: 'Invalid according to Policy.' };
    fake.plan.upload.push({ refuse });
    const { message } = await failure(failing());
    t.match(message, /AccessDenied: the upload: Invalid according to Policy.*HTTP 403/);
    t.notMatch(message, /\+\/=/, 'without the signature');
    fake.plan.policy.push({ raw: '{"data":{"policy":"p"}}' });
    await t.rejects(failing(), { code: 'ASR_FAILED', message: /policy that lacks .*signature/ });
    fake.plan.policy.push({ refuse: { status: 400, code: 'Arrearage', message: 'Access denied' } });
    await t.rejects(failing(), { code: 'ASR_FAILED', message: /Arrearage: Access denied/ });
    t.strictSame(fake.violations, []);
  });

  await t.test('by their public address', async (t) => {
    const { fake, recogniser } = await startRecogniser(t);
    const files = createServer((_request, response) => response.end(speech.data));
    t.teardown(() => files.close());
    await new Promise<void>((resolve) => files.listen(0, '127.0.0.1', resolve));
    const publicUrl = `http://127.0.0.1:${(files.address() as AddressInfo).port}/a.wav`;
    const text = await recogniser.recognise(recording(tone(0.2), { publicUrl }), {
      signal: forever,
    });
    t.equal(text, defaultTranscript(speech.data));
    t.equal(heard(fake)[0]?.source, 'url');
    t.strictSame(fake.violations, []);
  });

  await t.test('as WAV, where a model does not read their format', async (t) => {
    const folder = await temporaryFolder(t);
    const [webm, mp3] = encoded(folder, [
      ['a.webm', ['-map', '0:a', '-c:a', 'libopus']],
      ['a.mp3', ['-map', '0:a']],
    ]) as [Uint8Array, Uint8Array];
    const asWebm = recording(webm, { mime: 'audio/webm', extension: 'webm' });
    const asMp3 = recording(mp3, { mime: 'audio/mpeg', extension: 'mp3' });
    const { fake, recogniser } = await startRecogniser(t, {}, { ASR_MODEL: chat });
    for (const one of [asWebm, asMp3]) await recogniser.recognise(one, { signal: forever });
    const direct = await startRecogniser(t);
    await direct.recogniser.recognise(asWebm, { signal: forever });
    const [converted, kept] = heard(fake);
    t.equal(converted?.mime, 'audio/wav');
    t.ok(Math.abs((converted?.audio.length ?? 0) - 16_000) < 1000, 'half a second at 16 kHz');
    t.same([kept?.mime, kept?.audio], ['audio/mpeg', Buffer.from(mp3)]);
    t.match(heard(direct.fake), [{ mime: 'audio/webm', audio: Buffer.from(webm) }]);
    t.strictSame([...fake.violations, ...direct.fake.violations], []);
  });
});

t.test('refusals carry the code and the message of the service', async (t) => {
  const { fake, logged, recogniser } = await startRecogniser(t, {}, { PROVIDER_RETRIES: '3' });
  for (const [status, code, message] of [
    [400, 'InvalidParameter', 'The audio is too long.'],
    [400, 'DataInspectionFailed', 'Input data may contain inappropriate content.'],
    [400, 'Arrearage', 'Access denied, please make sure your account is in good standing.'],
    [403, 'AccessDenied', 'Access to model denied.'],
    [404, 'ModelNotFound', 'Model not exist.'],
  ] as const) {
    const before = fake.requests.length;
    fake.plan.recognise.push({ refuse: { status, code, message } });
    const error = await failure(recogniser.recognise(speech, { signal: forever }));
    t.match(error, { code: 'ASR_FAILED', message: `refused: ${code}: ${message}` });
    t.match(error, { message: `HTTP ${status}, model qwen3-asr-flash, request ` });
    t.equal(fake.requests.length, before + 1, `${code} is not asked again`);
  }
  const wrong = await startRecogniser(t, {}, { DASHSCOPE_API_KEY: 'sk-quite-another-key' });
  const refused = wrong.recogniser.recognise(speech, { signal: forever });
  await t.rejects(refused, { code: 'ASR_FAILED', message: /InvalidApiKey.*DASHSCOPE_API_KEY/ });
  const { message } = await failure(refused);
  t.notMatch(message, /sk-quite-another-key/);
  t.match(message, /\[redacted\]/);
  t.notMatch([...logged, ...wrong.logged].join(''), /sk-/);
});

t.test('what may pass is tried again', async (t) => {
  const { fake, recogniser, logged } = await startRecogniser(t, {}, { PROVIDER_RETRIES: '2' });
  for (const [status, code] of [
    [429, 'Throttling.RateQuota'],
    [429, 'Throttling.AllocationQuota'],
    [400, 'Throttling'],
    [500, 'InternalError'],
    [503, 'ServiceUnavailable'],
  ] as const) {
    fake.plan.recognise.push({ refuse: { status, code, message: 'later' } });
    const text = await recogniser.recognise(speech, { signal: forever });
    t.equal(text, defaultTranscript(speech.data), `after ${code}`);
  }
  for (const cut of ['before', 'middle'] as const) {
    fake.plan.recognise.push({ cut });
    t.equal(
      await recogniser.recognise(speech, { signal: forever }),
      defaultTranscript(speech.data),
      `after a connection that broke ${cut}`,
    );
  }
  const always = { refuse: { status: 429, code: 'Throttling.RateQuota', message: 'Too fast.' } };
  fake.plan.recognise.push(always, always, always);
  await t.rejects(recogniser.recognise(speech, { signal: forever }), {
    code: 'ASR_FAILED',
    message: /Throttling.RateQuota: Too fast/,
  });
  t.equal(fake.plan.recognise.length, 0);
  t.match(logged.join(''), 'tried again');
  t.strictSame(fake.violations, []);
});

t.test('replies of another shape are failures', async (t) => {
  const { fake, recogniser } = await startRecogniser(t);
  for (const raw of [
    'not json',
    '<html>a proxy</html>',
    '[]',
    '{"output":{}}',
    '{"output":{"choices":[{"message":{"content":7}}]}}',
    '{"output":{"choices":[{"message":{"content":[{"text":7}]}}]}}',
  ]) {
    fake.plan.recognise.push({ raw });
    await t.rejects(
      recogniser.recognise(speech, { signal: forever }),
      { code: 'ASR_FAILED', message: /unknown way/ },
      raw,
    );
  }
  fake.plan.recognise.push({ raw: '<html>bad gateway</html>', status: 405, type: 'text/html' });
  await t.rejects(recogniser.recognise(speech, { signal: forever }), {
    code: 'ASR_FAILED',
    message: /status 405: <html>bad gateway/,
  });
  fake.plan.recognise.push({ raw: JSON.stringify({ code: 'DataInspectionFailed', message: 'x' }) });
  await t.rejects(recogniser.recognise(speech, { signal: forever }), {
    code: 'ASR_FAILED',
    message: /DataInspectionFailed: x/,
  });
  fake.plan.recognise.push({ raw: `{"output":"${'x'.repeat(5_000_000)}"}` });
  await t.rejects(recogniser.recognise(speech, { signal: forever }), {
    code: 'ASR_FAILED',
    message: /more than 4194304 bytes/,
  });
  t.strictSame(fake.violations, []);
});

t.test('streams', async (t) => {
  const { fake, recogniser } = await startRecogniser(t, {}, { ASR_MODEL: chat });
  const said = () => recogniser.recognise(speech, { signal: forever });
  const piece = (content: unknown, reason: string | null = 'null') =>
    `event:result\ndata:${JSON.stringify({ output: { choices: [{ finish_reason: reason, message: { content } }] } })}\n\n`;

  await t.test('end where the model says so, not with the connection', async (t) => {
    const events = [piece([{ text: 'a ' }]), piece([]), piece('b', null), piece([], 'stop')];
    fake.plan.recognise.push({ events, open: true });
    t.equal(await said(), 'a b');
  });
  await t.test('need no blank line after the last event', async (t) => {
    fake.plan.recognise.push({ events: [piece([{ text: 'ab' }], 'stop').trimEnd()] });
    t.equal(await said(), 'ab');
  });
  await t.test('may be refused in the middle', async (t) => {
    const error = JSON.stringify({ code: 'DataInspectionFailed', message: 'no', request_id: 'r1' });
    const events = [
      piece([{ text: 'a' }]),
      `id:2\nevent:error\n:HTTP_STATUS/400\ndata:${error}\n\n`,
    ];
    fake.plan.recognise.push({ events });
    await t.rejects(said(), { code: 'ASR_FAILED', message: /DataInspectionFailed: no .*r1/ });
  });
  await t.test('may be cut off, or hold what is no event', async (t) => {
    fake.plan.recognise.push({ events: [piece([{ text: 'a' }])] });
    await t.rejects(said(), { code: 'ASR_UNAVAILABLE', message: /no end/ });
    fake.plan.recognise.push({ events: ['data: {"output":\n\n'] });
    await t.rejects(said(), { code: 'ASR_FAILED', message: /event without JSON/ });
    fake.plan.recognise.push({ events: ['event: error\ndata: {"oops":1}\n\n'] });
    await t.rejects(said(), { code: 'ASR_FAILED', message: /error without a code/ });
  });
  await t.test('of models that do not stream are replies', async (t) => {
    const whole = { output: { choices: [{ finish_reason: 'stop', message: { content: 'ab' } }] } };
    fake.plan.recognise.push({ raw: JSON.stringify(whole) });
    t.equal(await said(), 'ab');
  });
  t.strictSame(fake.violations, []);
});

t.test('a slow service is waited for, within limits', async (t) => {
  const { fake, recogniser } = await startRecogniser(t, {}, { PROVIDER_TIMEOUT_SECONDS: '0.3' });
  fake.plan.recognise.push({ delayMs: 50 });
  t.equal(await recogniser.recognise(speech, { signal: forever }), defaultTranscript(speech.data));
  fake.plan.recognise.push({ hang: true });
  await t.rejects(recogniser.recognise(speech, { signal: forever }), { code: 'PROVIDER_TIMEOUT' });
  t.strictSame(fake.violations, []);
});

t.test('something else listens at the address', async (t) => {
  for (const answer of ['SSH-2.0\r\n\r\n', 'HTTP/1.1 302 Go\r\nLocation: /login\r\n\r\n']) {
    const server = createNetServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => socket.end(answer));
    });
    t.teardown(() => server.close());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { recogniser } = await startRecogniser(t, {}, { DASHSCOPE_HTTP_BASE_URL: url });
    await t.rejects(
      recogniser.recognise(speech, { signal: forever }),
      { code: 'ASR_FAILED', message: /unknown way/ },
      answer,
    );
  }
});

t.test('nobody listens at the address', async (t) => {
  const { fake, recogniser } = await startRecogniser(t);
  await fake.close();
  await t.rejects(recogniser.recognise(speech, { signal: forever }), { code: 'ASR_UNAVAILABLE' });
});

t.test('an abort ends it at every stage', async (t) => {
  const { fake, recogniser } = await startRecogniser(t);
  const large = recording(wavFile(randomBytes(7_600_000), 16_000));
  const chatting = await startRecogniser(t, {}, { ASR_MODEL: chat });
  const reason = new Error('new speech');
  await t.rejects(recogniser.recognise(speech, { signal: AbortSignal.abort(reason) }), reason);
  for (const [stage, on, plan] of [
    ['recognise', speech, fake.plan.recognise],
    ['policy', large, fake.plan.policy],
    ['upload', large, fake.plan.upload],
  ] as const) {
    const hang = { hang: true } as const;
    plan.push(hang);
    const stop = new AbortController();
    const running = recogniser.recognise(on, { signal: stop.signal });
    await until(() => plan.length === 0, `the ${stage} to begin`);
    stop.abort(reason);
    await t.rejects(running, reason, stage);
  }
  chatting.fake.plan.recognise.push({
    events: ['data: {"output":{"choices":[]}}\n\n'],
    open: true,
  });
  const stop = new AbortController();
  const running = chatting.recogniser.recognise(speech, { signal: stop.signal });
  await until(() => chatting.fake.plan.recognise.length === 0, 'the stream to begin');
  stop.abort(reason);
  await t.rejects(running, reason, 'in a stream');
  t.strictSame([...fake.violations, ...chatting.fake.violations], []);
});

t.test('fifty recordings at once do not get into each other', async (t) => {
  const { fake, recogniser } = await startRecogniser(t, {}, { ASR_MODEL: chat });
  const all = Array.from({ length: 50 }, (_, i) => recording(tone(0.05 + i / 1000)));
  const texts = await Promise.all(
    all.map((one) => recogniser.recognise(one, { signal: new AbortController().signal })),
  );
  t.strictSame(
    texts,
    all.map((one) => defaultTranscript(one.data)),
  );
  t.strictSame(fake.violations, []);
});
