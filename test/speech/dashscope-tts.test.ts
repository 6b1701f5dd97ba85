import { type AddressInfo, createServer } from 'node:net';
import t from 'tap';
import { framesOf, textUnits } from '../../src/speech/dashscope/text.js';
import { toneOf, toneSamples } from '../fakes/dashscope/index.js';
import { until } from '../helpers/until.js';
import { failure, startSynthesiser } from './dashscope-start.js';

const text = 'Guten Tag. How are you? 你好!';
const rate = 24_000;

t.test('a text comes back as samples', async (t) => {
  for (const [model, voice] of [
    ['cosyvoice-v3-flash', 'longanyang'],
    ['cosyvoice-v2', 'longxiaochun_v2'],
    ['cosyvoice-v1', 'longxiaochun'],
    ['qwen-audio-3.0-tts-plus', 'longanlingxin'],
    ['qwen-audio-3.1-tts-flash', 'longanhuan_v3.1'],
  ] as const) {
    const { fake, synthesiser, speak } = await startSynthesiser(t, {}, { TTS_MODEL: model });
    t.equal(synthesiser.name, 'dashscope');
    const speech = await speak(text);
    t.equal(speech.sampleRate, rate);
    t.ok(Buffer.from(speech.pcm).equals(toneOf(text, 1, 1, rate)), model);
    t.match(fake.tasks, [{ model, voice, text, rate: 1, pitch: 1, outcome: 'finished' }]);
    t.strictSame(fake.violations, []);
  }
  const { fake, speak } = await startSynthesiser(
    t,
    { workspace: 'ws-1' },
    { TTS_VOICE: 'longhuhu_v3' },
  );
  await speak(text);
  await speak(text, { voice: 'longanhuan' });
  t.match(fake.tasks, [
    { model: 'cosyvoice-v3-flash', voice: 'longhuhu_v3' },
    { voice: 'longanhuan' },
  ]);
  t.strictSame(fake.violations, []);
});

t.test('rate and pitch stay within what the service takes', async (t) => {
  const { fake, speak } = await startSynthesiser(t);
  for (const [given, sent] of [
    [0.1, 0.5],
    [0.75, 0.75],
    [2, 2],
    [9, 2],
    [NaN, 1],
  ] as const) {
    const { pcm } = await speak(text, { rate: given, pitch: given });
    t.equal(pcm.length / 2, toneSamples(text, sent, rate), `${given}`);
    t.match(fake.tasks.at(-1), { rate: sent, pitch: sent });
  }
  t.strictSame(fake.violations, []);
});

t.test('chunks may end anywhere', async (t) => {
  for (const chunkBytes of [1, 777, 4096, 1_000_000]) {
    const { fake, speak } = await startSynthesiser(t, { chunkBytes });
    const { pcm } = await speak('Oh.');
    t.ok(Buffer.from(pcm).equals(toneOf('Oh.', 1, 1, rate)), `${chunkBytes} bytes`);
    t.strictSame(fake.violations, []);
  }
});

t.test('text that is long, or nothing to speak', async (t) => {
  const { fake, speak } = await startSynthesiser(t);
  const long = `${'Ein Satz. '.repeat(2500)}${'字'.repeat(11_000)}`;
  const { pcm } = await speak(long, { rate: 2 });
  t.equal(pcm.length / 2, toneSamples(long, 2, rate));
  const [task] = fake.tasks;
  t.equal(task?.text, long);
  t.ok((task?.frames ?? 0) >= 3);
  await t.rejects(speak('字'.repeat(100_001)), { code: 'TEXT_TOO_LONG' });
  for (const silent of ['', ' \n', '...', '!?', '😀']) {
    t.equal((await speak(silent)).pcm.length, 0, JSON.stringify(silent));
  }
  t.equal(fake.tasks.length, 1);
  t.strictSame(fake.violations, []);
});

t.test('frames of text', async (t) => {
  t.equal(textUnits('ab 字漢!'), 8);
  t.strictSame(framesOf('short', 10), ['short']);
  t.strictSame(framesOf('One. Two. Three', 10), ['One. Two.', ' Three']);
  t.strictSame(framesOf('one two three', 10), ['one two ', 'three']);
  t.strictSame(framesOf('字字字字字', 4), ['字字', '字字', '字']);
  t.strictSame(framesOf('a😀😀😀', 4), ['a😀', '😀😀']);
});

t.test('a socket serves one sentence after the other', async (t) => {
  const { fake, synthesiser, speak, allClosed } = await startSynthesiser(t);
  for (let i = 0; i < 5; i++) await speak(`Sentence ${i}.`);
  t.strictSame(
    fake.tasks.map((one) => one.socket),
    [1, 1, 1, 1, 1],
  );
  t.equal(new Set(fake.tasks.map((one) => one.taskId)).size, 5);

  await t.test('and is replaced when the service has closed it', async (t) => {
    fake.dropIdle(1000);
    await speak(text);
    fake.dropIdle('cut');
    await speak(text);
    // it closes in the moment in which the next task begins
    for (const close of [1000, 1011, 'cut'] as const) {
      fake.plan.speak.push({ at: 'start', close });
      await speak(text);
    }
    t.equal(fake.sockets.total, 6);
    t.strictSame(fake.violations, []);
  });

  await t.test('but not after anything was said on it without a task', async (t) => {
    fake.say('{"header":{"event":"task-failed"}}');
    await allClosed();
    await speak(text);
    t.equal(fake.sockets.total, 7);
  });

  await t.test('until it is closed', async () => {
    await synthesiser.close?.();
    await allClosed();
    const error = await failure(speak(text));
    t.match(error, { code: 'TTS_UNAVAILABLE', message: /shutting down/ });
  });
  t.strictSame(fake.violations, []);
});

t.test('an idle socket is left before the service closes it', async (t) => {
  const { fake, speak, allClosed } = await startSynthesiser(t, {}, {}, { idleMs: 30 });
  await speak(text);
  t.equal(fake.sockets.open, 1);
  await allClosed();
  await speak(text);
  t.equal(fake.sockets.total, 2);
  t.strictSame(fake.violations, []);
});

t.test('older servers', async (t) => {
  for (const old of ['finished', 'unfinished'] as const) {
    const { fake, speak, allClosed } = await startSynthesiser(t);
    for (let i = 0; i < 2; i++) {
      fake.plan.speak.push({ old });
      const { pcm } = await speak(text);
      t.ok(Buffer.from(pcm).equals(toneOf(text, 1, 1, rate)), old);
    }
    await allClosed();
    t.strictSame(fake.violations, []);
  }
});

t.test('refusals at the handshake', async (t) => {
  for (const [status, code, message] of [
    [400, 'Arrearage', 'Access denied, please make sure your account is in good standing.'],
    [403, 'AccessDenied', 'Access denied.'],
    [429, 'Throttling.RateQuota', 'Too many connections.'],
    [500, 'InternalError', 'Oh.'],
  ] as const) {
    const { fake, speak, allClosed } = await startSynthesiser(t);
    fake.plan.handshake.push({ refuse: { status, code, message } });
    const error = await failure(speak(text));
    t.match(error, { code: 'TTS_FAILED', message: `refused: ${code}: ${message} (HTTP ${status}` });
    await allClosed();
  }
  const wrong = await startSynthesiser(t, {}, { DASHSCOPE_API_KEY: 'sk-quite-another-key' });
  const { code, message } = await failure(wrong.speak(text));
  t.equal(code, 'TTS_FAILED');
  t.match(message, /InvalidApiKey: .*\[redacted\].*DASHSCOPE_API_KEY/);
  t.notMatch(message + wrong.logged.join(''), /sk-/);
  const { fake, speak } = await startSynthesiser(t);
  fake.plan.handshake.push({ raw: '<html>', status: 302 }, { cut: true });
  await t.rejects(speak(text), { code: 'TTS_FAILED', message: /status 302/ });
  await t.rejects(speak(text), { code: 'TTS_UNAVAILABLE', message: /ECONNRESET/ });
  await fake.close();
  await t.rejects(speak(text), { code: 'TTS_UNAVAILABLE', message: /ECONNREFUSED/ });
});

t.test('something else listens there', async (t) => {
  for (const answer of ['HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\n\r\n', 'SSH-2.0\r\n\r\n']) {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => socket.end(answer));
    });
    t.teardown(() => server.close());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { speak } = await startSynthesiser(t, {}, { DASHSCOPE_WEBSOCKET_BASE_URL: url });
    t.match(await failure(speak(text)), { code: /^TTS_/ }, answer);
  }
});

t.test('tasks that fail', async (t) => {
  for (const at of ['start', 'text', 'sound', 'end'] as const) {
    const { fake, speak, allClosed } = await startSynthesiser(t);
    fake.plan.speak.push({ at, fail: { code: 'DataInspectionFailed', message: 'Not this.' } });
    const error = await failure(speak(text));
    t.match(
      error,
      { code: 'TTS_FAILED', message: /refused: DataInspectionFailed: Not this.*request \w{32}/ },
      `at ${at}`,
    );
    await allClosed();
    t.match(fake.tasks, [{ outcome: 'failed' }]);
    await speak(text);
    t.strictSame(fake.violations, []);
  }
});

t.test('voices of other models and services', async (t) => {
  const { fake, speak, logged } = await startSynthesiser(t, {}, { PROVIDER_RETRIES: '3' });
  for (const voice of ['slt', 'longxiaochun', 'slt', 'longanhuan', 'slt']) {
    const { pcm } = await speak(text, { voice });
    t.equal(pcm.length / 2, toneSamples(text, 1, rate), voice);
  }
  t.strictSame(
    fake.tasks.map((one) => one.voice),
    // asked for once, then known to be unknown
    ['slt', 'longanyang', 'longxiaochun', 'longanyang', 'longanyang', 'longanhuan', 'longanyang'],
  );
  t.match(logged.join(''), /longanyang speaks instead.*418.*voice slt/);

  const wrong = await startSynthesiser(t, {}, { TTS_VOICE: 'longxiaochun', PROVIDER_RETRIES: '3' });
  t.match(await failure(wrong.speak(text, { voice: 'slt' })), {
    code: 'TTS_FAILED',
    message: /error code: 418.*cosyvoice-v3-flash, voice longxiaochun.*TTS_VOICE/,
  });
  t.equal(wrong.fake.tasks.length, 2, 'not tried again');
  await wrong.allClosed();
  t.strictSame(wrong.fake.violations, []);
  const other = await startSynthesiser(t, {}, { TTS_MODEL: 'cosyvoice-v9' });
  await t.rejects(other.speak(text), { code: 'TTS_FAILED', message: /ModelNotFound/ });
  t.strictSame([...fake.violations, ...other.fake.violations], []);
});

t.test('connections that break', async (t) => {
  for (const at of ['start', 'text', 'sound', 'end'] as const) {
    for (const close of [1000, 1011, 'cut'] as const) {
      const { fake, speak, allClosed } = await startSynthesiser(t);
      fake.plan.speak.push({ at, close });
      t.match(await failure(speak(text)), { code: 'TTS_UNAVAILABLE' }, `${close} at ${at}`);
      await allClosed();
      t.equal(fake.tasks.length, 1);
      t.strictSame(fake.violations, []);
    }
  }
});

t.test('frames of another shape', async (t) => {
  const header = (event: string, task_id = 'f'.repeat(32)) => ({ header: { event, task_id } });
  for (const [what, at, frame] of [
    ['no JSON', 'text', 'hello'],
    ['no header', 'text', '{"payload":{}}'],
    ['no event', 'sound', '{"header":{}}'],
    ['a payload of another kind', 'sound', '{"header":{"event":"result-generated"},"payload":7}'],
    ['another task', 'sound', JSON.stringify(header('task-finished'))],
    ['sound before task-started', 'start', Buffer.alloc(100)],
    ['an end before task-started', 'start', '{"header":{"event":"task-finished"}}'],
  ] as const) {
    const { fake, speak, allClosed } = await startSynthesiser(t);
    fake.plan.speak.push({ at, send: [frame] });
    const error = await failure(speak(text));
    t.match(error, { code: 'TTS_FAILED', message: /answered in an unknown way/ }, what);
    await allClosed();
    t.strictSame(fake.violations, []);
  }
  const { fake, speak, allClosed } = await startSynthesiser(t);
  fake.plan.speak.push({ silent: true });
  await t.rejects(speak(text), { code: 'TTS_FAILED', message: /without any sound/ });
  fake.plan.speak.push({ at: 'sound', send: [Buffer.alloc(17 * 1024 * 1024)] });
  await t.rejects(speak(text), { code: 'TTS_UNAVAILABLE' }, 'a frame without measure');
  await allClosed();
  // events that are new to us are no failure
  fake.plan.speak.push({ at: 'sound', send: ['{"header":{"event":"news"},"payload":{"a":1}}'] });
  t.ok(Buffer.from((await speak(text)).pcm).equals(toneOf(text, 1, 1, rate)));
  t.strictSame(fake.violations, []);
});

t.test('what may pass is tried again, from the beginning', async (t) => {
  const { fake, speak } = await startSynthesiser(t, {}, { PROVIDER_RETRIES: '2' });
  const busy = { code: 'Throttling.RateQuota', message: 'Requests rate limit exceeded' };
  for (const step of [
    { at: 'start', fail: busy },
    { at: 'start', fail: { code: 'Other', message: 'Requests rate limit exceeded, please wait.' } },
    { at: 'sound', fail: { code: 'InternalError', message: 'Oh.' } },
    { at: 'sound', close: 1011 },
    { at: 'end', close: 'cut' },
  ] as const) {
    fake.plan.speak.push(step);
    const { pcm } = await speak(text);
    t.ok(Buffer.from(pcm).equals(toneOf(text, 1, 1, rate)), JSON.stringify(step));
    t.match(fake.tasks.at(-1), { text, outcome: 'finished' });
  }
  fake.plan.handshake.push({ refuse: { status: 503, code: 'ServiceUnavailable', message: '' } });
  fake.dropIdle(1000);
  await speak(text);
  t.equal(fake.plan.handshake.length, 0);
  for (let i = 0; i < 3; i++) fake.plan.speak.push({ at: 'start', fail: busy });
  await t.rejects(speak(text), { code: 'TTS_FAILED', message: /Throttling.RateQuota/ });
  t.strictSame(fake.violations, []);
});

t.test('timeouts: no connection, no start, no end', async (t) => {
  const limits = { connectMs: 100, startedMs: 100 };
  const settings = { PROVIDER_TIMEOUT_SECONDS: '0.4' };
  const { fake, speak, allClosed } = await startSynthesiser(t, {}, settings, limits);
  fake.plan.handshake.push({ hang: true });
  await t.rejects(speak(text), { code: 'PROVIDER_TIMEOUT', message: /no connection after 0.1 s/ });
  await until(() => fake.sockets.hanging === 0, 'the handshake to be left');
  fake.plan.speak.push({ at: 'start', hang: true });
  await t.rejects(speak(text), { code: 'PROVIDER_TIMEOUT', message: /not started after 0.1 s/ });
  await allClosed();
  fake.plan.speak.push({ startAfterMs: 50 });
  await speak(text);
  for (const at of ['text', 'sound', 'end'] as const) {
    fake.plan.speak.push({ at, hang: true });
    await t.rejects(speak(text), { code: 'PROVIDER_TIMEOUT', message: /0.4 s/ }, at);
    await allClosed();
  }
  t.strictSame(fake.violations, []);
});

t.test('an abort ends it at every stage, and the socket with it', async (t) => {
  const { fake, synthesiser, allClosed } = await startSynthesiser(t, {}, {}, { sockets: 1 });
  const reason = new Error('interrupted');
  const aborted = synthesiser.speak(text, { signal: AbortSignal.abort(reason) });
  await t.rejects(aborted, reason);
  const during = async (stage: string, begun: () => boolean) => {
    const stop = new AbortController();
    const speaking = synthesiser.speak(text, { signal: stop.signal });
    await until(begun, `${stage} to begin`);
    // its place in the queue is taken: the next one waits, and gives up there
    const later = new AbortController();
    const waiting = synthesiser.speak(text, { signal: later.signal });
    later.abort(reason);
    await t.rejects(waiting, reason);
    stop.abort(reason);
    await t.rejects(speaking, reason, stage);
    await allClosed();
    await until(() => fake.sockets.hanging === 0, 'the handshake to be left');
  };
  fake.plan.handshake.push({ hang: true });
  await during('the handshake', () => fake.sockets.hanging === 1);
  for (const at of ['start', 'text', 'sound', 'end'] as const) {
    fake.plan.speak.push({ at, hang: true });
    const before = fake.stuck;
    await during(at, () => fake.stuck > before);
    t.equal(fake.tasks.at(-1)?.outcome, 'closed');
  }
  const { pcm } = await synthesiser.speak(text, { signal: new AbortController().signal });
  t.equal(pcm.length / 2, toneSamples(text, 1, rate));
  t.strictSame(fake.violations, []);
});

t.test('closing ends what runs and what waits', async (t) => {
  const { fake, synthesiser, speak, allClosed } = await startSynthesiser(t, {}, {}, { sockets: 1 });
  fake.plan.speak.push({ hang: true });
  const running = [speak(text), speak(text)];
  const results = Promise.all(running.map(failure));
  await until(() => fake.stuck === 1, 'the task to hang');
  await synthesiser.close?.();
  for (const error of await results) t.match(error, { code: 'TTS_UNAVAILABLE' });
  await allClosed();
  t.strictSame(fake.violations, []);
});

t.test('fifty at once share a few sockets and do not get into each other', async (t) => {
  const { fake, synthesiser, speak, allClosed } = await startSynthesiser(t, { maxTasks: 8 });
  const texts = Array.from({ length: 50 }, (_, i) => `${'la '.repeat(i + 1)}ends here.`);
  const spoken = await Promise.all(texts.map((one) => speak(one)));
  t.strictSame(
    spoken.map(({ pcm }) => pcm.length / 2),
    texts.map((one) => toneSamples(one, 1, rate)),
  );
  t.ok(fake.sockets.peak <= 8, `${fake.sockets.peak} sockets`);
  t.equal(fake.sockets.total, fake.sockets.peak, 'none was opened twice');
  await synthesiser.close?.();
  await allClosed();
  t.strictSame(fake.violations, []);
});
