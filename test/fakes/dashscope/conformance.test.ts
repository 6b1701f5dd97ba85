import { randomUUID } from 'node:crypto';
import t, { type Test } from 'tap';
import { WebSocket } from 'ws';
import { tone } from '../../helpers/samples.js';
import { until } from '../../helpers/until.js';
import { type DashscopeFake, defaultTranscript, sha256, startDashscopeFake } from './index.js';

// What a careless client would send, by hand: the fake has to refuse it and to note why.

interface Hand {
  readonly id: string;
  readonly events: string[];
  readonly failure: () => string | undefined;
  readonly closed: () => boolean;
  sound(): number;
  send(frame: unknown): void;
  wait(event: string): Promise<void>;
}

async function connect(t: Test, { socketUrl, apiKey }: DashscopeFake): Promise<Hand> {
  // the official SDK writes it small
  const socket = new WebSocket(socketUrl, { headers: { authorization: `bearer ${apiKey}` } });
  t.teardown(() => socket.terminate());
  const events: string[] = [];
  let bytes = 0;
  let failure: string | undefined;
  socket.on('message', (data: Buffer, isBinary) => {
    if (isBinary) bytes += data.length;
    if (isBinary) return;
    const { header } = JSON.parse(data.toString()) as {
      header: { event: string; error_message?: string };
    };
    events.push(header.event);
    failure = header.error_message ?? failure;
  });
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  return {
    id: randomUUID().replaceAll('-', ''),
    events,
    failure: () => failure,
    closed: () => socket.readyState === WebSocket.CLOSED,
    sound: () => bytes,
    send: (frame) =>
      socket.send(
        typeof frame === 'string' || Buffer.isBuffer(frame) ? frame : JSON.stringify(frame),
      ),
    wait: (event) => until(() => events.includes(event), `${event} after ${events.join()}`, 5000),
  };
}

const header = (action: string, task_id: string, streaming = 'duplex') => ({
  action,
  task_id,
  streaming,
});
const run = (id: string, parameters: Record<string, unknown> = {}, payload = {}) => ({
  header: header('run-task', id),
  payload: {
    task_group: 'audio',
    task: 'tts',
    function: 'SpeechSynthesizer',
    model: 'cosyvoice-v3-flash',
    parameters: {
      text_type: 'PlainText',
      voice: 'longanyang',
      format: 'pcm',
      sample_rate: 24000,
      ...parameters,
    },
    input: {},
    ...payload,
  },
});
const say = (id: string, input: unknown = { text: 'Hello.' }) => ({
  header: header('continue-task', id),
  payload: { input },
});
const finish = (id: string) => ({ header: header('finish-task', id), payload: { input: {} } });

t.test('a proper task passes, and two on one socket', async (t) => {
  const fake = await startDashscopeFake(t);
  const hand = await connect(t, fake);
  for (const id of [hand.id, randomUUID()]) {
    hand.events.length = 0;
    hand.send(run(id));
    await hand.wait('task-started');
    hand.send(say(id));
    hand.send(say(id, { flush: true }));
    hand.send(say(id, { text: ' Bye.' }));
    hand.send(finish(id));
    await hand.wait('task-finished');
  }
  t.ok(hand.sound() > 0);
  t.match(fake.tasks, [{ text: 'Hello. Bye.', frames: 2 }, { outcome: 'finished' }]);
  t.strictSame(fake.violations, []);
});

t.test('frames that break the protocol of speech synthesis', async (t) => {
  const without = (frame: ReturnType<typeof run>, part: 'input' | 'parameters') => {
    const { [part]: _, ...payload } = frame.payload;
    return { ...frame, payload };
  };
  const other = randomUUID();
  for (const [what, frames, violation] of [
    ['text before the task has started', (id) => [run(id), say(id)], /before task-started/],
    ['an end before the start', (id) => [run(id), finish(id)], /before task-started/],
    ['no run-task at all', (id) => [say(id)], /unknown task/],
    ['two tasks at once', (id) => [run(id), run(other)], /while another/],
    ['run-task without input', (id) => [without(run(id), 'input')], /run-task.*input/],
    ['run-task without parameters', (id) => [without(run(id), 'parameters')], /parameters/],
    ['text in run-task', (id) => [run(id, {}, { input: { text: 'a' } })], /input.text/],
    ['no voice', (id) => [run(id, { voice: '' })], /voice/],
    ['an odd sample rate', (id) => [run(id, { sample_rate: 11025 })], /sample_rate/],
    ['too fast', (id) => [run(id, { rate: 2.5 })], /rate/],
    ['a pitch that is no number', (id) => [run(id, { pitch: null })], /pitch/],
    ['an unknown parameter', (id) => [run(id, { speed: 1 })], /speed/],
    ['another function', (id) => [run(id, {}, { function: 'tts' })], /function/],
    [
      'streaming that is not duplex',
      (id) => [{ ...run(id), header: header('run-task', id, 'out') }],
      /streaming/,
    ],
    ['a task_id that is none', () => [run('1')], /task_id/],
    ['an unknown action', (id) => [{ ...run(id), header: header('start', id) }], /action/],
    ['sound', () => [Buffer.from('abc')], /binary/],
    ['no JSON', () => ['hello'], /no JSON/],
  ] as [string, (id: string) => unknown[], RegExp][]) {
    const fake = await startDashscopeFake(t);
    const hand = await connect(t, fake);
    for (const frame of frames(hand.id)) hand.send(frame);
    await hand.wait('task-failed');
    t.match(fake.violations, [violation], what);
    t.match(hand.failure(), violation, what);
  }
});

t.test('frames that break it once a task has started', async (t) => {
  for (const [what, frames, violation] of [
    ['another task_id', () => [say(randomUUID())], /unknown task/],
    ['no input', (id) => [{ header: header('continue-task', id), payload: {} }], /input/],
    ['an empty text', (id) => [say(id, { text: '' })], /input/],
    ['a text that is too long', (id) => [say(id, { text: '字'.repeat(10_001) })], /20000/],
    [
      'too much text in all',
      (id) => Array.from({ length: 11 }, () => say(id, { text: 'a'.repeat(20_000) })),
      /200000/,
    ],
    ['an end without input', (id) => [{ ...finish(id), payload: {} }], /input/],
  ] as [string, (id: string) => unknown[], RegExp][]) {
    const fake = await startDashscopeFake(t);
    const hand = await connect(t, fake);
    hand.send(run(hand.id));
    await hand.wait('task-started');
    for (const frame of frames(hand.id)) hand.send(frame);
    await hand.wait('task-failed');
    t.match(fake.violations, [violation], what);
  }
});

t.test('the id of a task once more', async (t) => {
  const fake = await startDashscopeFake(t);
  const hand = await connect(t, fake);
  hand.send(run(hand.id));
  await hand.wait('task-started');
  for (const frame of [say(hand.id), finish(hand.id), run(hand.id)]) hand.send(frame);
  await hand.wait('task-failed');
  t.match(fake.violations, [/used before/]);
});

t.test('a client that says nothing, or stays after a failure', async (t) => {
  const fake = await startDashscopeFake(t, { idleMs: 30, restMs: 60, failedMs: 30 });
  const quiet = await connect(t, fake);
  quiet.send(run(quiet.id));
  await quiet.wait('task-failed');
  t.match(quiet.failure(), /request timeout after 0.03 seconds/);
  const resting = await connect(t, fake);
  await until(resting.closed, 'the resting socket to be closed');
  const staying = await connect(t, fake);
  staying.send(run(staying.id, { voice: 'longxiaochun' }));
  await staying.wait('task-started');
  staying.send(say(staying.id));
  await staying.wait('task-failed');
  t.match(staying.failure(), /error code: 418/);
  await until(() => fake.violations.length === 2, 'the violation');
  t.match(fake.violations[1], /did not close the socket/);
});

t.test('sound comes in uneven pieces, each after its event', async (t) => {
  const fake = await startDashscopeFake(t, { chunkBytes: 999 });
  const { socketUrl, apiKey } = fake;
  const socket = new WebSocket(socketUrl, { headers: { authorization: `Bearer ${apiKey}` } });
  const arrived: string[] = [];
  const id = randomUUID();
  await new Promise<void>((resolve) => {
    socket.on('open', () => socket.send(JSON.stringify(run(id))));
    socket.on('message', (data: Buffer, isBinary) => {
      if (isBinary) return void arrived.push(data.length % 2 === 1 ? 'odd' : 'even');
      const frame = JSON.parse(data.toString()) as {
        header: { event: string };
        payload: { output?: { type?: string } };
      };
      arrived.push(frame.payload.output?.type ?? frame.header.event);
      if (frame.header.event === 'task-started') {
        for (const next of [say(id, { text: 'One. Two.' }), finish(id)]) {
          socket.send(JSON.stringify(next));
        }
      }
      if (frame.header.event === 'task-finished') resolve();
    });
  });
  socket.close();
  const told = arrived.join(' ');
  t.match(told, /^task-started sentence-begin (sentence-synthesis (odd|even) )+sentence-end /);
  t.match(told, /sentence-end sentence-begin .*sentence-end task-finished$/);
  t.ok(arrived.filter((one) => one === 'odd').length > 5);
  t.strictSame(fake.violations, []);
});

t.test('handshakes', async (t) => {
  const fake = await startDashscopeFake(t, { workspace: 'ws-1' });
  const key = { authorization: `Bearer ${fake.apiKey}` };
  for (const [headers, status, violation] of [
    [{}, 401, /No API-key/],
    [{ authorization: fake.apiKey }, 401, /no bearer/],
    [{ authorization: 'Bearer sk-other' }, 401, undefined],
    [key, 403, undefined],
  ] as [Record<string, string>, number, RegExp | undefined][]) {
    const before = fake.violations.length;
    const socket = new WebSocket(fake.socketUrl, { headers });
    const error = await new Promise<Error>((resolve) => socket.once('error', resolve));
    t.match(error.message, String(status));
    t.match(fake.violations.slice(before), violation === undefined ? [] : [violation]);
  }
  const socket = new WebSocket(`${fake.socketUrl}/other`, { headers: key });
  const error = await new Promise<Error>((resolve) => socket.once('error', resolve));
  t.match(error.message, '404');
});

t.test('requests that break the protocol of recognition', async (t) => {
  const fake = await startDashscopeFake(t);
  const url = `${fake.httpUrl}/services/aigc/multimodal-generation/generation`;
  const sound = tone(0.1);
  const uri = `data:audio/wav;base64,${Buffer.from(sound).toString('base64')}`;
  const key = { authorization: `Bearer ${fake.apiKey}`, 'content-type': 'application/json' };
  const ask = (
    model: string,
    content: unknown,
    parameters: unknown = { asr_options: {} },
    headers: Record<string, string> = key,
  ) =>
    fetch(url, {
      method: 'POST',
      headers,
      body: JSON.stringify({ model, input: { messages: [{ role: 'user', content }] }, parameters }),
    });
  const asr = 'qwen3-asr-flash';
  const chat = 'qwen-audio-turbo';
  const message = { result_format: 'message' };
  const tell = { text: 'Write the transcript.' };
  for (const [what, asked, violation] of [
    [
      'no key',
      ask(asr, [{ audio: uri }], undefined, { 'content-type': key['content-type'] }),
      /No API/,
    ],
    [
      'no content type',
      ask(asr, [{ audio: uri }], undefined, { authorization: key.authorization }),
      /content-type/,
    ],
    ['an instruction', ask(asr, [{ audio: uri }, tell]), /content/],
    ['no asr_options', ask(asr, [{ audio: uri }], {}), /asr_options/],
    [
      'an unknown language',
      ask(asr, [{ audio: uri }], { asr_options: { language: 'en-US' } }),
      /language/,
    ],
    ['no audio', ask(asr, []), /content/],
    ['a file name', ask(asr, [{ audio: 'file://a.wav' }]), /could not be fetched/],
    ['no base64', ask(asr, [{ audio: 'data:audio/wav,abc' }]), /no data URI/],
    [
      'too much',
      ask(asr, [{ audio: `data:audio/wav;base64,${'A'.repeat(10_485_760)}` }]),
      /characters/,
    ],
    ['oss:// without the header', ask(asr, [{ audio: 'oss://a/b' }]), /Resolve/],
    [
      'a file that was never sent',
      ask(asr, [{ audio: 'oss://a/b' }], undefined, {
        ...key,
        'x-dashscope-ossresourceresolve': 'enable',
      }),
      /no file/,
    ],
    [
      'another result_format',
      ask(chat, [{ audio: uri }, tell], { result_format: 'text' }),
      /result_format/,
    ],
    ['parts of the other family', ask('qwen-audio-3.0-asr-flash', [{ audio: uri }]), /content/],
    [
      'an unsaid stream',
      ask('qwen-audio-3.0-asr-flash', [{ type: 'input_audio', input_audio: { data: uri } }], {
        format: 'wav',
      }),
      /SSE/,
    ],
  ] as [string, Promise<Response>, RegExp][]) {
    const { status } = await asked;
    t.ok(status === 400 || status === 401, what);
    t.ok(
      fake.violations.some((one) => violation.test(one)),
      `${what}: ${fake.violations.at(-1)}`,
    );
  }
  const unknown = await ask('qwen9-asr', [{ audio: uri }]);
  t.match(await unknown.json(), { code: 'ModelNotFound', request_id: /./ });
  const count = fake.violations.length;
  const answer = await (await ask(chat, [{ audio: uri }], message)).json();
  t.match(JSON.stringify(answer), /You said: .*How can I help/, 'it answers, untold');
  const told = await (await ask(chat, [{ audio: uri }, tell], message)).json();
  t.match(told, {
    output: { choices: [{ message: { content: [{ text: defaultTranscript(sound) }] } }] },
  });
  t.equal(fake.violations.length, count);
});

t.test('uploads that break the protocol of the storage', async (t) => {
  const fake = await startDashscopeFake(t);
  const headers = { authorization: `Bearer ${fake.apiKey}` };
  const policyUrl = `${fake.httpUrl}/uploads?action=getPolicy&model=qwen3-asr-flash`;
  const policy = async () => {
    const { data } = (await (await fetch(policyUrl, { headers })).json()) as {
      data: Record<string, string>;
    };
    return data;
  };
  type Fields = [name: string, value: string | Blob][];
  const fields = (data: Record<string, string>, name = 'a.wav'): Fields => [
    ['OSSAccessKeyId', data['oss_access_key_id'] ?? ''],
    ['Signature', data['signature'] ?? ''],
    ['policy', data['policy'] ?? ''],
    ['x-oss-object-acl', data['x_oss_object_acl'] ?? ''],
    ['x-oss-forbid-overwrite', data['x_oss_forbid_overwrite'] ?? ''],
    ['key', `${data['upload_dir']}/${name}`],
    ['success_action_status', '200'],
    ['file', new Blob(['sound'])],
  ];
  const send = async (host: string, all: Fields, more: Record<string, string> = {}) => {
    const form = new FormData();
    for (const [name, value] of all) form.append(name, value);
    const reply = await fetch(host, { method: 'POST', body: form, headers: more });
    return `${reply.status} ${/<Code>(\w+)/.exec(await reply.text())?.[1] ?? ''}`.trim();
  };
  const change = (all: Fields, name: string, value: string): Fields =>
    all.map((one) => (one[0] === name ? [name, value] : one));
  const data = await policy();
  const host = data['upload_host'] ?? '';
  const good = fields(data);
  t.equal(await send(host, good, headers), '400 InvalidArgument', 'the key');
  t.equal(await send(host, [...good].reverse()), '400 InvalidArgument', 'the file first');
  t.equal(await send(host, change(good, 'Signature', 'x')), '403 SignatureDoesNotMatch');
  t.equal(await send(host, change(good, 'key', 'elsewhere/a.wav')), '403 AccessDenied');
  t.equal(await send(host, change(good, 'x-oss-object-acl', 'public')), '403 AccessDenied');
  t.equal(await send(host, change(good, 'policy', 'x')), '403 AccessDenied');
  t.equal(fake.violations.length, 6);
  t.equal(await send(host, good), '200');
  t.equal(await send(host, fields(data, 'b.wav')), '403 AccessDenied', 'a policy serves once');
  t.equal((await fetch(policyUrl)).status, 401);
  const nameless = await fetch(`${fake.httpUrl}/uploads?action=getPolicy`, { headers });
  t.equal(nameless.status, 400);
  t.equal(fake.violations.length, 9);
});

t.test('what is heard is what was asked for', async (t) => {
  const sound = tone(0.1);
  for (const transcripts of [{ [sha256(sound)]: 'by table' }, () => 'by function']) {
    const fake = await startDashscopeFake(t, { transcripts });
    const reply = await fetch(`${fake.httpUrl}/services/aigc/multimodal-generation/generation`, {
      method: 'POST',
      headers: { authorization: `Bearer ${fake.apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'qwen3-asr-flash',
        input: {
          messages: [
            {
              role: 'user',
              content: [
                { audio: `data:audio/wav;base64,${Buffer.from(sound).toString('base64')}` },
              ],
            },
          ],
        },
        parameters: { asr_options: {} },
      }),
    });
    t.match(await reply.text(), typeof transcripts === 'function' ? 'by function' : 'by table');
    t.strictSame(fake.violations, []);
  }
});
