/**
 * Times the first sound of a reply: from the last frame of what the user says to the first
 * tts_audio, with the echo dialogue, flite, and a recogniser that answers at once.
 *
 *   node dist/bench/first-audio.js [--turns 200] [--warm-up 20] [--seconds 2]
 *
 * With uploaded recordings and with recordings in chunks, each without an account and with one
 * (whose quota is reserved and whose conversation is kept); turns one after the other. Our own share
 * is the whole less what flite took for the first sentence.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { SocketClient } from '../scripts/socket-client.js';
import { EchoMimicClient } from '../src/client/index.js';
import { buildApp } from '../src/app.js';
import { loadConfig } from '../src/config.js';
import { createLog } from '../src/log.js';
import { wavFile } from '../src/media/wav.js';
import { PrivateRedis, freePort } from '../src/queue/private-redis.js';
import { connectRedis } from '../src/queue/redis.js';
import { createSynthesiser } from '../src/speech/index.js';
import { percentile } from './report/statistics.js';
import type { Recogniser, SpeakOptions, Speech, Synthesiser } from '../src/speech/speech.js';

const { values } = parseArgs({
  options: {
    turns: { type: 'string', default: '200' },
    'warm-up': { type: 'string', default: '20' },
    seconds: { type: 'string', default: '2' },
  },
});
const turns = Number(values.turns);
const warmUp = Number(values['warm-up']);

const words = 'I would like to know what the weather will be like in the mountains tomorrow.';
const instant: Recogniser = { name: 'instant', recognise: async () => words };

/** Knows how long the sentence took that was asked for first. */
class TimedSynthesiser implements Synthesiser {
  readonly name = 'timed';
  readonly #real: Synthesiser;
  #first: number | undefined;

  constructor(real: Synthesiser) {
    this.#real = real;
  }

  async speak(text: string, options: SpeakOptions): Promise<Speech> {
    const start = performance.now();
    const speech = await this.#real.speak(text, options);
    this.#first ??= performance.now() - start;
    return speech;
  }

  /** Milliseconds; forgets them. */
  take(): number {
    const ms = this.#first ?? Number.NaN;
    this.#first = undefined;
    return ms;
  }

  close = async () => this.#real.close?.();
}

interface Turn {
  readonly total: number;
  readonly flite: number;
}

const isEvent = (name: string, isLast?: boolean) => (frame: Record<string, unknown>) => {
  if (frame['event'] === 'error') throw new Error(JSON.stringify(frame));
  const data = frame['data'] as { is_last?: boolean };
  return frame['event'] === name && (isLast === undefined || data.is_last === isLast);
};

/** When the frame that the client saw last of this kind came, of those from `from` on. */
function arrivalOf(client: SocketClient, from: number): number {
  const found = client.frames.slice(from).find(({ frame }) => frame['event'] === 'tts_audio');
  if (found === undefined) throw new Error('no tts_audio');
  return found.at;
}

const folder = await mkdtemp(join(tmpdir(), 'first-audio-'));
const log = createLog('warn');
const redisServer = await PrivateRedis.start({ folder, program: 'redis-server', log });
const port = await freePort();
const config = loadConfig({
  ...{ DATA_DIR: folder, LOG_LEVEL: 'warn', PORT: String(port) },
  ...{ BASE_URL: `http://127.0.0.1:${port}`, WS_FRAMES_PER_SECOND: '10000' },
  ...{ REDIS_HOST: redisServer.host, REDIS_PORT: String(redisServer.port) },
});
const redis = connectRedis(config, log);
const synthesiser = new TimedSynthesiser(createSynthesiser(config, log));
const app = await buildApp({
  ...{ config, log, redis },
  services: { recogniser: instant, synthesiser },
});
await app.listen({ host: config.host, port });

/** A tone: nobody listens to it. */
const samples = Int16Array.from({ length: 16_000 * Number(values.seconds) }, (_, i) =>
  Math.round(8000 * Math.sin(i / 12)),
);
const pcm = Buffer.from(samples.buffer);
const recording = new Uint8Array(wavFile(pcm, 16_000));

const ways = {
  audio_uploaded: async (client: SocketClient) => {
    const http = new EchoMimicClient({ baseUrl: config.baseUrl });
    const { file_id: id } = await http.upload(new Blob([recording]), { name: 'speech.wav' });
    return () => client.send({ event: 'audio_uploaded', data: { audio_url: id } });
  },
  audio_stream_chunk: async (client: SocketClient) => {
    const step = 3200;
    const last = pcm.length - step;
    const send = (at: number) => {
      const chunk = pcm.subarray(at, at + step).toString('base64');
      const data = { chunk, is_last: at >= last, format: 'pcm' };
      client.send({ event: 'audio_stream_chunk', data });
    };
    for (let at = 0; at < last; at += step) send(at);
    // what came before was spoken long before the last piece
    await new Promise((resolve) => setTimeout(resolve, 50));
    return () => send(last);
  },
};

async function newToken(): Promise<string> {
  const response = await fetch(`${config.baseUrl}/api/auth/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      username: `listener-${randomUUID().slice(0, 8)}`,
      password: randomUUID(),
    }),
  });
  return ((await response.json()) as { access_token: string }).access_token;
}

async function measure(
  prepare: (client: SocketClient) => Promise<() => void>,
  token?: string,
): Promise<Turn[]> {
  const client = await SocketClient.connect(`${config.baseUrl}/ws`);
  const account = token === undefined ? {} : { token, conversation_id: randomUUID() };
  client.send({ event: 'request_connection', data: { mode: 'voice', ...account } });
  await client.next(isEvent('connection_ack'), 'connection_ack');
  const measured: Turn[] = [];
  for (let turn = 0; turn < warmUp + turns; turn++) {
    const sendLast = await prepare(client);
    synthesiser.take();
    const from = client.frames.length;
    sendLast();
    await client.next(isEvent('tts_audio', true), 'the end of the reply');
    const total = arrivalOf(client, from) - (client.frames[from]?.at ?? 0);
    if (turn >= warmUp) measured.push({ total, flite: synthesiser.take() });
  }
  client.send({ event: 'stop_session', data: {} });
  await client.closed;
  return measured;
}

function spread(numbers: readonly number[]): string {
  return [0.5, 0.95].map((share) => percentile(numbers, share).toFixed(1).padStart(7)).join(' ');
}

console.log(
  `${turns} turns after ${warmUp}, ${availableParallelism()} cores, load ${loadavg()[0]?.toFixed(1)}`,
);
console.log('ms                          p50     p95');
for (const [name, prepare] of Object.entries(ways)) {
  for (const token of [undefined, await newToken()]) {
    const measured = await measure(prepare, token);
    console.log(`${name}${token === undefined ? '' : ', with an account'}`);
    console.log(`  total               ${spread(measured.map(({ total }) => total))}`);
    console.log(`  flite               ${spread(measured.map(({ flite }) => flite))}`);
    console.log(
      `  our own share       ${spread(measured.map(({ total, flite }) => total - flite))}`,
    );
  }
}

await app.close();
redis.disconnect();
await redisServer.stop();
await rm(folder, { recursive: true, force: true });
