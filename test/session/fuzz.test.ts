import fc from 'fast-check';
import t from 'tap';
import { WebSocket } from 'ws';
import { closeCodes } from '../../src/session/socket/close.js';
import { Client } from '../helpers/client.js';
import { tone } from '../helpers/samples.js';
import { ScriptedRecogniser, startSessions } from './session-helper.js';

const framesPerSocket = 25;
const sockets = 400;
/** What the WebSocket library itself closes with: protocol error, bad text, too large. */
const libraryCodes = [1002, 1007, 1009];

type Bytes = Buffer | string;

interface Batch {
  readonly dialect: string;
  readonly connected: boolean;
  readonly frames: readonly { bytes: Bytes; binary: boolean }[];
}

const known = [
  ...['token', 'mode', 'role_id', 'conversation_id', 'image_id', 'voice_id', 'speech_rate'],
  ...['pitch_rate', 'session_id', 'resume_token', 'last_seq', 'audio_url', 'chunk', 'is_last'],
  ...['format', 'timestamp', 'text', 'voice_session_id', 'client_segment_id', 'segment_index'],
  ...['audio_base64', 'duration', 'data', 'event', 'type', '__proto__', 'constructor'],
];
const speech = Buffer.from(tone(0.1)).toString('base64');

const hostile = fc.constantFrom<unknown>(
  ...['', ' ', '\u0000', '\ud800', '../../../etc/passwd', 'file:///etc/passwd', '{input}', '$(id)'],
  ...["' OR 1=1 --", 'http://169.254.169.254/latest', '%2e%2e%2f', 'null', '\u202e\u0007', '=cmd'],
  ...['A'.repeat(70_000), '\ud83d\ude00'.repeat(3000), 'data:audio/wav;base64,AAAA', '=', 'AAA'],
  ...[0, -1, 1e308, -0.5, 2 ** 53, 1e-320, true, false, null, [], {}, [[[[[[[[[[]]]]]]]]]]],
);
const valid = fc.constantFrom<unknown>(
  ...[
    'voice',
    'video',
    'text',
    'clara',
    'maya',
    'wav',
    'pcm',
    'Good morning.',
    'one',
    'two',
    speech,
  ],
  ...[1, 0, 2, 0.5, true, false],
);
const value = fc.oneof(valid, hostile, fc.jsonValue({ maxDepth: 3 }), fc.string(), fc.uuid());
const data = fc.dictionary(fc.constantFrom(...known), value, { maxKeys: 8 });
const events = [
  ...['request_connection', 'audio_uploaded', 'audio_stream_chunk', 'text_message', 'interrupt'],
  'stop_session',
];
const types = [
  ...['text', 'recording_started', 'audio_segment', 'audio_message', 'transcribe_only'],
  'end_conversation',
];
const name = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...events, ...types) },
  {
    weight: 1,
    arbitrary: fc.oneof(value, fc.constantFrom('toString', '__proto__', 'TEXT', 'ack')),
  },
);
const json = (arbitrary: fc.Arbitrary<unknown>) =>
  arbitrary.map((one) => JSON.stringify(one) ?? '');
const nearlyRight = fc.oneof(
  json(fc.record({ event: name, data })),
  json(fc.record({ type: name, data })),
  json(fc.record({ event: name, type: name, data: fc.oneof(data, value), seq: value })),
);
/** Frames that are right, so that sessions get somewhere and have something to lose. */
const right = {
  echomimic: json(
    fc.constantFrom<unknown>(
      { event: 'request_connection', data: { mode: 'video', role_id: 'maya' } },
      { event: 'text_message', data: { text: 'Hello.' } },
      { event: 'audio_stream_chunk', data: { chunk: speech, is_last: true } },
      { event: 'audio_stream_chunk', data: { chunk: speech, is_last: false } },
      { event: 'interrupt', data: {} },
    ),
  ),
  'life-echo': json(
    fc.constantFrom<unknown>(
      { type: 'text', data: { text: 'Hello.' } },
      { type: 'recording_started', data: { voice_session_id: 'v' } },
      {
        type: 'audio_segment',
        data: { voice_session_id: 'v', segment_index: 0, audio_base64: speech, is_last: true },
      },
      { type: 'audio_message', data: { audio_base64: speech, duration: 1 } },
      { type: 'transcribe_only', data: { audio_base64: speech } },
    ),
  ),
};
const broken = fc.oneof(
  fc.string(),
  fc.json(),
  nearlyRight.chain((text) => fc.nat(text.length).map((at) => text.slice(0, at))),
  fc.constantFrom('[', '{"a":'.repeat(5000), '[' + '0,'.repeat(5000) + '0]', '\ufeff{}', '"'),
);
/** Ends the socket in most cases, so it must be rare. */
const bytes = fc.uint8Array({ maxLength: 64 }).map((some) => Buffer.from(some));
const frameOf = (dialect: keyof typeof right): fc.Arbitrary<Bytes> =>
  fc.oneof(
    { weight: 100, arbitrary: nearlyRight },
    { weight: 100, arbitrary: right[dialect] },
    { weight: 40, arbitrary: broken },
    { weight: 1, arbitrary: bytes },
  );
const rarely = fc.oneof(
  { weight: 300, arbitrary: fc.constant(false) },
  { weight: 1, arbitrary: fc.constant(true) },
);
const batch: fc.Arbitrary<Batch> = fc
  .constantFrom('echomimic' as const, 'life-echo' as const)
  .chain((dialect) =>
    fc.record({
      dialect: fc.constant(dialect),
      connected: fc.boolean(),
      frames: fc.array(fc.record({ bytes: frameOf(dialect), binary: rarely }), {
        minLength: framesPerSocket,
        maxLength: framesPerSocket,
      }),
    }),
  );

t.test('10,000 hostile frames: every socket is answered or closed with a code', async (t) => {
  const silence = { pcm: new Uint8Array(1600), sampleRate: 16000 };
  const server = await startSessions(
    t,
    {
      ...{ SESSIONS_PER_ADDRESS: '1000', SESSIONS_PER_USER: '1000', SESSION_GRACE_SECONDS: '0' },
      ...{ WS_FRAMES_PER_SECOND: '10000', TASK_WORKER_WAIT_SECONDS: '0' },
    },
    {
      recogniser: new ScriptedRecogniser(),
      synthesiser: { name: 'silence', speak: async () => silence },
    },
  );
  const faults: unknown[] = [];
  const fault = (error: unknown) => faults.push(error);
  process.on('unhandledRejection', fault);
  t.teardown(() => process.off('unhandledRejection', fault));
  const { token } = await Client.register(server.url);
  const codes: number[] = [...Object.values(closeCodes), ...libraryCodes];
  const ends = new Map<string, number>();
  let conversations = 0;

  /** How the socket ended: a close code, or the answer to a last question. */
  async function run({ dialect, connected, frames }: Batch) {
    const path =
      dialect === 'echomimic'
        ? `/ws${connected ? '?mode=voice' : ''}`
        : `/ws/conversation/c${conversations++ % 50}-${conversations}?token=${token}`;
    const socket = new WebSocket(server.url.replace(/^http/, 'ws') + path);
    const end = new Promise<string>((resolve, reject) => {
      socket.on('error', reject);
      socket.on('close', (code) =>
        resolve(codes.includes(code) ? `closed ${code}` : `bad ${code}`),
      );
      socket.on('message', (message: Buffer) => {
        if (
          message.toString().includes('"FRAME_UNKNOWN"') &&
          message.toString().includes('the end')
        )
          resolve('answered');
      });
    });
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    for (const { bytes, binary } of frames) {
      if (socket.readyState === WebSocket.OPEN) socket.send(bytes, { binary });
    }
    const last = { event: 'the end', type: 'the end', data: {} };
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(last));
    const how = await end;
    socket.terminate();
    return how;
  }

  await fc.assert(
    fc.asyncProperty(batch, async (one) => {
      const how = await run(one);
      ends.set(how, (ends.get(how) ?? 0) + 1);
      if (how.startsWith('bad')) throw new Error(how);
    }),
    {
      numRuns: sockets,
      endOnFailure: true,
      interruptAfterTimeLimit: 180_000,
      markInterruptAsFailure: true,
    },
  );
  t.comment(JSON.stringify([...ends]));
  t.ok((ends.get('answered') ?? 0) > sockets / 4, 'many sockets live through it');

  const talker = await (await server.client()).connect();
  talker.send('text_message', { text: 'Still there?' });
  t.match((await talker.lastAudio()).data, { ai_text: 'Still there?' });
  talker.send('stop_session');
  await talker.client.closed;
  await server.empty();
  t.same(await server.files(), [], 'no file is left');
  t.same(faults, [], 'nothing failed unseen');
});
