import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { loadConfig } from '../../src/config.js';
import {
  type Dialogue,
  type ReplyRequest,
  createDialogue,
  sentencesOf,
} from '../../src/dialogue/index.js';
import { createLog } from '../../src/log.js';
import {
  type ChatRequest,
  type FakeOptions,
  type OpenAiFake,
  Refusal,
  type Step,
  startOpenAiFake,
} from '../fakes/openai/server.js';
import { refusal } from '../helpers/media.js';

const character = { name: 'Lin', personality: 'a retired teacher' };
const request = (text: string, more: Partial<ReplyRequest> = {}): ReplyRequest => ({
  ...{ text, history: [], character },
  ...more,
});

interface Bench {
  readonly fake: OpenAiFake;
  readonly dialogue: Dialogue;
  /** The whole reply; rejects as the reply does. */
  say(text: string, more?: Partial<ReplyRequest>, signal?: AbortSignal): Promise<string>;
}

async function start(
  t: Test,
  options: FakeOptions = {},
  settings: Record<string, string> = {},
): Promise<Bench> {
  const fake = await startOpenAiFake(t, options);
  const dialogue = createDialogue(
    loadConfig({ ...fake.settings, PROVIDER_RETRIES: '0', ...settings }),
    createLog('silent'),
  );
  const say = async (text: string, more = {}, signal = new AbortController().signal) => {
    let reply = '';
    for await (const piece of dialogue.reply(request(text, more), { signal })) reply += piece;
    return reply;
  };
  return { fake, dialogue, say };
}

const steps = (...list: Step[]): FakeOptions => ({ chat: () => list });
const sent = (fake: OpenAiFake, at = -1) => fake.requests.at(at)?.body as ChatRequest;

t.test('the model answers, and is asked as the strictest servers want it', async (t) => {
  const { fake, say } = await start(t);
  t.equal(await say('Good morning'), 'You said: Good morning');
  const body = sent(fake);
  t.equal(body.model, 'fake-chat');
  t.same(
    body.messages.map(({ role }) => role),
    ['system', 'user'],
  );
  t.match(body.messages[0]?.content, /You are Lin/);
  t.match(body.messages[0]?.content, /a retired teacher/);
  t.equal(fake.requests[0]?.headers.authorization, `Bearer ${fake.apiKey}`);
  t.same(fake.violations, []);
});

t.test('DashScope: no thinking, its key, its workspace, its default model', async (t) => {
  const { fake, say, dialogue } = await start(
    t,
    {
      dashscope: true,
      chat: () => [{ reasoning: 'They greet me. ' }, { reasoning: 'I greet back.' }, 'Hello', '!'],
    },
    { DASHSCOPE_WORKSPACE: 'ws-1' },
  );
  t.equal(dialogue.name, 'dashscope');
  t.equal(await say('Hi'), 'Hello!', 'thoughts are not spoken');
  t.match(sent(fake), { model: 'qwen-plus', enable_thinking: false });
  t.match(fake.requests[0]?.headers, {
    'x-dashscope-workspace': 'ws-1',
    authorization: `Bearer ${fake.apiKey}`,
  });
  t.same(fake.violations, []);
});

t.test('a local server without a key gets none', async (t) => {
  const { fake, say } = await start(t, { apiKey: null });
  t.equal(await say('Hi'), 'You said: Hi');
  t.same(fake.violations, []);
});

t.test('thoughts that a local server writes into the reply are dropped', async (t) => {
  const { say } = await start(
    t,
    steps('<th', 'ink>The user', ' greets me. <', '/thi', 'nk>\n\n', 'Hello', ' <b>you</b>'),
  );
  t.equal((await say('Hi')).trim(), 'Hello <b>you</b>');
  const plain = await start(t, steps('<', 'thin air> is', ' fine'));
  t.equal(await plain.say('Hi'), '<thin air> is fine');
});

t.test('words with which the model declines are its reply', async (t) => {
  const { say } = await start(t, steps({ refusal: 'I would rather ' }, { refusal: 'not.' }));
  t.equal(await say('Hi'), 'I would rather not.');
});

t.test('a reply that reached its longest length is a reply', async (t) => {
  const { say } = await start(t, steps('I could go on and', { finish: 'length' }));
  t.equal(await say('Hi'), 'I could go on and');
});

t.test('an endless reply is cut, and the model stopped', async (t) => {
  const { fake, say } = await start(t, {
    async *chat() {
      for (;;) {
        yield 'and so on '.repeat(20);
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
  });
  const reply = await say('Hi');
  t.ok(reply.length >= 8000 && reply.length < 9000, `${reply.length} characters`);
  t.equal(await fake.requests[0]?.closed, 'aborted');
});

t.test('the first sentence is out before the model writes the last word', async (t) => {
  let goOn = () => {};
  const heard = new Promise<void>((resolve) => (goOn = resolve));
  let finished = false;
  const { dialogue } = await start(t, {
    async *chat() {
      yield* ['Good', ' morning', ' to', ' you.', ' How'];
      await heard;
      yield* [' are', ' you', ' today?'];
      finished = true;
    },
  });
  const { signal } = new AbortController();
  const sentences: string[] = [];
  for await (const sentence of sentencesOf(dialogue.reply(request('Hi'), { signal }))) {
    if (sentences.push(sentence) === 1) {
      t.equal(finished, false, 'the model is still writing');
      goOn();
    }
  }
  t.same(sentences, ['Good morning to you.', 'How are you today?']);
});

t.test('an abort ends the request at once, wherever it is', async (t) => {
  await t.test('before the answer', async (t) => {
    let asked = () => {};
    const arrived = new Promise<void>((resolve) => (asked = resolve));
    const { fake, say } = await start(t, {
      chat: async (_request, exchange) => {
        asked();
        await exchange.closed;
        return 'too late';
      },
    });
    const abort = new AbortController();
    const reply = say('Hi', {}, abort.signal);
    await arrived;
    abort.abort(new Error('enough'));
    await t.rejects(reply, { message: 'enough' });
    t.equal(await fake.requests[0]?.closed, 'aborted');
  });

  await t.test('in the middle', async (t) => {
    const { fake, dialogue } = await start(t, {
      async *chat(_request, exchange) {
        yield 'Once upon a time';
        await exchange.closed;
      },
    });
    const abort = new AbortController();
    const pieces = dialogue.reply(request('Hi'), abort)[Symbol.asyncIterator]();
    t.equal((await pieces.next()).value, 'Once upon a time');
    const next = pieces.next();
    abort.abort(new Error('enough'));
    await t.rejects(next, { message: 'enough' });
    t.equal(await fake.requests[0]?.closed, 'aborted');
    t.same(await pieces.next(), { done: true, value: undefined });
  });

  await t.test('by a reader that stops reading', async (t) => {
    const { fake, dialogue } = await start(t, {
      async *chat(_request, exchange) {
        yield* ['One. ', 'Two'];
        await exchange.closed;
      },
    });
    const { signal } = new AbortController();
    for await (const sentence of sentencesOf(dialogue.reply(request('Hi'), { signal }))) {
      t.equal(sentence, 'One.');
      break;
    }
    t.equal(await fake.requests[0]?.closed, 'aborted');
  });

  await t.test('before it began', async (t) => {
    const { fake, say } = await start(t);
    await t.rejects(say('Hi', {}, AbortSignal.abort(new Error('never'))), { message: 'never' });
    t.equal(fake.requests.length, 0);
  });
});

const key = 'sk-fake-0123456789abcdef';
const failures: [what: string, options: FakeOptions, code: string, message: RegExp][] = [
  [
    'an unknown key',
    { chat: () => new Refusal(401, 'invalid_api_key', `Incorrect API key provided: ${key}.`) },
    'DIALOGUE_FAILED',
    /openai answered 401 \(invalid_api_key\): Incorrect API key provided: \[key\].*check the key/,
  ],
  [
    'no credit',
    { chat: () => new Refusal(400, 'Arrearage', 'Access denied, please pay.') },
    'DIALOGUE_FAILED',
    /400 \(Arrearage\): Access denied/,
  ],
  [
    'an unknown model',
    { chat: () => new Refusal(404, 'model_not_found', 'no such model') },
    'DIALOGUE_FAILED',
    /404 \(model_not_found\): no such model.*name of the model/,
  ],
  [
    'too many requests',
    { chat: () => new Refusal(429, 'rate_limit_exceeded', 'slow down') },
    'DIALOGUE_FAILED',
    /429 \(rate_limit_exceeded\): slow down/,
  ],
  [
    'a broken server',
    { chat: () => new Refusal(500, null, '', {}, '<html>oops</html>') },
    'DIALOGUE_FAILED',
    /answered 500.*oops/,
  ],
  [
    'a refusal in the words of FastAPI',
    { chat: () => new Refusal(422, null, '', {}, '{"detail":[{"msg":"field required"}]}') },
    'DIALOGUE_FAILED',
    /answered 422.*field required/,
  ],
  [
    'words that the service forbids',
    { chat: () => new Refusal(400, 'data_inspection_failed', 'inappropriate content') },
    'PROVIDER_REFUSED',
    /inappropriate content/,
  ],
  [
    'a content filter',
    steps('Well, ', { finish: 'content_filter' }),
    'PROVIDER_REFUSED',
    /content/,
  ],
  ['an empty reply', steps(), 'DIALOGUE_FAILED', /empty reply \(finish reason: stop\)/],
  ['nothing but thoughts', steps({ reasoning: 'hm' }), 'DIALOGUE_FAILED', /empty reply/],
  ['a call of a tool', steps({ finish: 'tool_calls' }), 'DIALOGUE_FAILED', /tool_calls/],
  [
    'an error in the stream',
    steps('Well', { error: { code: 'overloaded', message: `busy with ${key}` } }),
    'DIALOGUE_FAILED',
    /in its stream \(overloaded\): busy with \[key\]/,
  ],
  ['a stream that ends early', steps('Well', { cut: 'body' }), 'DIALOGUE_FAILED', /broke off/],
  [
    'a connection that breaks midway',
    steps('Well', { cut: 'connection' }),
    'DIALOGUE_UNAVAILABLE',
    /connection to the service openai failed/,
  ],
  [
    'a stream that is none',
    steps('Well', { raw: 'data: {"choices": [\n\n' }),
    'DIALOGUE_FAILED',
    /no JSON/,
  ],
];
for (const [what, options, code, message] of failures) {
  t.test(`${what}: ${code}`, async (t) => {
    const { say } = await start(t, options);
    const failure = await refusal(say('Hi'));
    t.match(failure, { code, message });
    t.notMatch(failure.message, key);
  });
}

t.test('a key that is wrong is not repeated to anybody', async (t) => {
  const { say } = await start(t, {}, { OPENAI_API_KEY: 'secret/of+another=shape' });
  const failure = await refusal(say('Hi'));
  t.match(failure, { code: 'DIALOGUE_FAILED', message: /Incorrect API key provided: \[key\]/ });
  t.notMatch(failure.message, /another/);
});

t.test('a service that sends us elsewhere is not followed', async (t) => {
  const { fake } = await start(t);
  const elsewhere = fake.settings['OPENAI_BASE_URL'];
  const server = createHttpServer((_request, response) => {
    response.writeHead(307, { location: `${elsewhere}/chat/completions` }).end();
  });
  t.teardown(() => server.close().closeAllConnections());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const { say } = await start(t, {}, { OPENAI_BASE_URL: `http://127.0.0.1:${port}` });
  t.match(await refusal(say('hello')), { code: 'DIALOGUE_UNAVAILABLE', message: /redirect/ });
  t.same(fake.requests, []);
});

t.test('nobody listens at the address: DIALOGUE_UNAVAILABLE', async (t) => {
  const closed = createServer().listen(0, '127.0.0.1');
  await once(closed, 'listening');
  const { port } = closed.address() as AddressInfo;
  closed.close();
  const { say } = await start(t, {}, { OPENAI_BASE_URL: `http://127.0.0.1:${port}/v1` });
  t.match(await refusal(say('Hi')), { code: 'DIALOGUE_UNAVAILABLE', message: /ECONNREFUSED/ });
});

t.test('a model that says nothing times out, before the reply and in its middle', async (t) => {
  for (const begun of [[], ['Once upon']]) {
    const { fake, say } = await start(
      t,
      {
        async *chat(_request, exchange) {
          yield* begun;
          await exchange.closed;
        },
      },
      { PROVIDER_TIMEOUT_SECONDS: '0.2' },
    );
    t.match(await refusal(say('Hi')), { code: 'PROVIDER_TIMEOUT' });
    t.equal(await fake.requests[0]?.closed, 'aborted', 'the service is told');
  }
});

t.test('what may pass is tried again until the first word, and never after it', async (t) => {
  let calls = 0;
  const scripts = [
    () => new Refusal(503, null, 'warming up'),
    () => [{ cut: 'connection' }] as Step[],
    () => ['At last', '.'],
  ];
  const again = await start(
    t,
    { chat: () => scripts[calls++]?.() ?? [] },
    { PROVIDER_RETRIES: '2' },
  );
  t.equal(await again.say('Hi'), 'At last.');
  t.equal(calls, 3);

  const midway = await start(t, steps('Well', { cut: 'connection' }), { PROVIDER_RETRIES: '2' });
  const pieces: string[] = [];
  const failure = await refusal(
    (async () => {
      const { signal } = new AbortController();
      for await (const piece of midway.dialogue.reply(request('Hi'), { signal }))
        pieces.push(piece);
    })(),
  );
  t.equal(failure.code, 'DIALOGUE_UNAVAILABLE');
  t.same(pieces, ['Well'], 'the piece before stays');
  t.equal(midway.fake.requests.length, 1);

  const wrong = await start(
    t,
    { chat: () => new Refusal(400, 'bad', 'no') },
    { PROVIDER_RETRIES: '2' },
  );
  t.equal((await refusal(wrong.say('Hi'))).code, 'DIALOGUE_FAILED');
  t.equal(wrong.fake.requests.length, 1, 'what is wrong stays wrong');
});

t.test('a connection that breaks after the last word harms nobody', async (t) => {
  const { say } = await start(t, steps('Bye.', { finish: 'stop' }, { cut: 'connection' }));
  t.equal(await say('Hi'), 'Bye.');
});

t.test('echo repeats the words, and minds an abort', async (t) => {
  const { say, fake } = await start(t, {}, { DIALOGUE: 'echo' });
  t.equal(await say('Hi there'), 'Hi there');
  await t.rejects(say('Hi', {}, AbortSignal.abort(new Error('no'))), { message: 'no' });
  t.equal(fake.requests.length, 0);
});
