import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { EchoMimicClient } from '../src/client/index.js';
import type { Config } from '../src/config.js';
import { createLog } from '../src/log.js';
import { wavFile } from '../src/media/wav.js';
import { projectRoot } from '../src/paths.js';
import { freePort } from '../src/queue/private-redis.js';
import { createSynthesiser } from '../src/speech/index.js';
import { type Recorded, SocketClient } from './socket-client.js';
import { startStack } from './stack.js';

/**
 * `npm run transcript`: holds conversations in both dialects with a server of its own and prints
 * every frame; `-- --write` puts them into docs/protocol.md.
 */
const { values } = parseArgs({ options: { write: { type: 'boolean', default: false } } });
const document = join(projectRoot, 'docs', 'protocol.md');
const [begin, end] = ['<!-- transcript -->', '<!-- end of the transcript -->'];

const names = new Map<string, string>();
const counts = new Map<string, number>();

/** The same id gets the same short name everywhere; what differs from run to run gets one at all. */
function stable(key: string, text: string): string {
  return text.replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, (id) => {
    let name = names.get(id);
    if (name === undefined) {
      const kind = /url|image/.test(key) ? 'file' : key.replace(/_id$/, '') || 'id';
      const number = (counts.get(kind) ?? 0) + 1;
      counts.set(kind, number);
      name = `${kind}-${number}`;
      names.set(id, name);
    }
    return name;
  });
}

function readable(key: string, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => readable(key, item));
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, readable(k, v)]));
  }
  if (typeof value !== 'string') return value;
  if (/token/.test(key)) return '…';
  if (key === 'timestamp') return '2026-01-01T00:00:00.000Z';
  if (/base64|^chunk$/.test(key)) return `${value.slice(0, 12)}… (${value.length} characters)`;
  return stable(key, value).replace(/http:\/\/127\.0\.0\.1:\d+/, 'http://127.0.0.1:3000');
}

/** Frames as they went over the line; of a run of progress only its first and last. */
function print(frames: readonly Recorded[]): string {
  const isProgress = ({ frame }: Recorded) => frame['event'] === 'task_progress';
  const lines: string[] = [];
  frames.forEach((one, i) => {
    const before = frames[i - 1];
    const after = frames[i + 1];
    if (isProgress(one) && before && isProgress(before) && after && isProgress(after)) {
      if (lines.at(-1) !== '  …') lines.push('  …');
      return;
    }
    lines.push(`${one.from === 'client' ? '→' : '←'} ${JSON.stringify(readable('', one.frame))}`);
  });
  return ['```text', ...lines, '```'].join('\n');
}

const event = (name: string) => (frame: Record<string, unknown>) => {
  if (frame['event'] === 'error' && name !== 'error') throw new Error(JSON.stringify(frame));
  return frame['event'] === name;
};
const type = (name: string) => (frame: Record<string, unknown>) => {
  if (frame['type'] === 'error' && name !== 'error') throw new Error(JSON.stringify(frame));
  return frame['type'] === name;
};
const lastAudio = (frame: Record<string, unknown>) =>
  event('tts_audio')(frame) && (frame['data'] as { is_last?: boolean }).is_last === true;

async function post(url: string, body: unknown): Promise<Record<string, unknown>> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return (await response.json()) as Record<string, unknown>;
}

/** What the user of the transcript says, as a WAV file. */
async function spoken(config: Config, text: string): Promise<Uint8Array<ArrayBuffer>> {
  const voice = createSynthesiser(config, createLog('silent'));
  const { pcm, sampleRate } = await voice.speak(text, { signal: new AbortController().signal });
  await voice.close?.();
  return new Uint8Array(wavFile(pcm, sampleRate));
}

async function echoMimic(url: string, speech: Uint8Array<ArrayBuffer>): Promise<string[]> {
  const http = new EchoMimicClient({ baseUrl: url });
  const { file_id: file } = await http.upload(new Blob([speech]), { name: 'speech.wav' });
  const video = await SocketClient.connect(`${url}/ws`);
  video.send({ event: 'request_connection', data: { mode: 'video' } });
  const ack = await video.next(event('connection_ack'), 'the acknowledgement');
  const { session_id } = ack['data'] as { session_id: string };
  const audio_url = http.fileUrl(file);
  video.send({ event: 'audio_uploaded', data: { session_id, audio_url } });
  await video.next(event('task_result'), 'the video', 300_000);
  video.send({ event: 'text_message', data: { session_id, text: 'Tell me a long story.' } });
  await video.next(event('task_progress'), 'progress');
  video.send({ event: 'interrupt', data: { session_id } });
  const { seq } = await video.next(event('reply_interrupted'), 'the interruption');
  video.socket.terminate();

  const again = await SocketClient.connect(`${url}/ws`);
  const { resume_token } = ack['data'] as { resume_token: string };
  const data = { session_id, resume_token, last_seq: seq };
  again.send({ event: 'request_connection', data });
  await again.next(event('connection_ack'), 'the acknowledgement');
  again.send({ event: 'stop_session', data: { session_id } });
  await again.closed;

  const voice = await SocketClient.connect(`${url}/ws?mode=voice`);
  const second = await voice.next(event('connection_ack'), 'the acknowledgement');
  const id = (second['data'] as { session_id: string }).session_id;
  const text = 'Hello there. How are you today?';
  voice.send({ event: 'text_message', data: { session_id: id, text } });
  await voice.next(lastAudio, 'the reply');
  const half = Math.floor(speech.length / 2);
  for (const [piece, is_last] of [
    [speech.subarray(0, half), false],
    [speech.subarray(half), true],
  ] as const) {
    const chunk = Buffer.from(piece).toString('base64');
    voice.send({ event: 'audio_stream_chunk', data: { chunk, is_last, format: 'wav' } });
  }
  await voice.next(lastAudio, 'the reply');
  voice.send({ event: 'audio_uploaded', data: { session_id: id, audio_url: 'not-a-file' } });
  await voice.next(event('error'), 'a refusal');
  voice.send({ event: 'stop_session', data: { session_id: id } });
  await voice.closed;
  return [
    '#### EchoMimic clients: a video from uploaded speech, an interruption, a lost line',
    print(video.frames),
    'The line broke here, and the client came back:',
    print(again.frames),
    '#### EchoMimic clients: voice, typed and recorded in pieces',
    print(voice.frames),
  ];
}

async function lifeEcho(
  url: string,
  speech: readonly Uint8Array[],
  hears: boolean,
): Promise<string[]> {
  const account = await post(`${url}/api/auth/register`, {
    username: 'transcript',
    password: 'a password of the transcript',
  });
  const token = encodeURIComponent(String(account['access_token']));
  const client = await SocketClient.connect(`${url}/ws/conversation/evening?token=${token}`);
  const send = (kind: string, data: Record<string, unknown>) =>
    client.send({
      type: kind,
      conversation_id: 'evening',
      data,
      timestamp: new Date().toISOString(),
    });
  const answered = async () => {
    for (;;) {
      const { data } = await client.next(type('agent_response'), 'the answer');
      const { index, total } = data as { index: number; total: number };
      if (index === total - 1) return;
    }
  };
  await client.next(type('connect'), 'the connection');
  await answered();
  send('text', { text: 'I grew up by the sea.' });
  await answered();
  if (hears) {
    const [first, second] = speech.map((wav) => Buffer.from(wav).toString('base64'));
    send('transcribe_only', { audio_base64: first });
    await client.next(type('transcript'), 'the transcript');
    send('recording_started', { voice_session_id: 'v1' });
    const segment = { voice_session_id: 'v1', duration: 1 };
    // In the wrong order, as a phone on a bad line may send them.
    send('audio_segment', { ...segment, audio_base64: second, segment_index: 1, is_last: true });
    send('audio_segment', { ...segment, audio_base64: first, segment_index: 0, is_last: false });
    await answered();
  }
  send('end_conversation', {});
  await client.closed;
  return ['#### Life-echo clients: a conversation', print(client.frames)];
}

const folder = await mkdtemp(join(tmpdir(), 'echomimic-transcript-'));
const listener = 'pocketsphinx_continuous';
const hears = spawnSync(listener, ['-help']).error === undefined;
const stack = await startStack({
  log: createLog('silent'),
  settings: {
    DATA_DIR: folder,
    PORT: String(await freePort()),
    LOG_LEVEL: 'warn',
    ...(hears
      ? { ASR: 'command', ASR_COMMAND: `${listener} -infile {input} -logfn /dev/null` }
      : {}),
  },
});
try {
  await stack.workersReady;
  const url = stack.config.baseUrl;
  const speech = await spoken(stack.config, 'Hello how are you today?');
  const answers = [
    await spoken(stack.config, 'Good morning.'),
    await spoken(stack.config, 'Tell me about your day.'),
  ];
  const heading =
    `Recorded with \`npm run transcript -- --write\`: bundled weights and role, dialogue \`echo\`, ` +
    `TTS \`flite\`, ASR ${hears ? 'PocketSphinx through `command`' : '`parrot`'}. Ids have short ` +
    'names here, tokens are left out, and of a run of progress only the first and last are shown.';
  const parts = [
    heading,
    ...(await echoMimic(url, speech)),
    ...(await lifeEcho(url, answers, hears)),
  ];
  if (values.write) {
    const text = await readFile(document, 'utf8');
    const [before, after] = [text.split(begin)[0], text.split(end)[1]];
    if (after === undefined) throw new Error(`${document} has no place for the transcript`);
    await writeFile(document, `${before}${begin}\n\n${parts.join('\n\n')}\n\n${end}${after}`);
  } else {
    console.log(parts.join('\n\n'));
  }
} finally {
  await stack.stop();
  await rm(folder, { recursive: true, force: true });
}
