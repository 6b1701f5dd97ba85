import { readdir } from 'node:fs/promises';
import type { FastifyInstance } from 'fastify';
import type { Test } from 'tap';
import { SocketClient } from '../../scripts/socket-client.js';
import { buildApp } from '../../src/app.js';
import type { Config } from '../../src/config.js';
import type { Dialogue, ReplyRequest } from '../../src/dialogue/dialogue.js';
import { createLog } from '../../src/log.js';
import { freePort } from '../../src/queue/private-redis.js';
import { connectRedis } from '../../src/queue/redis.js';
import type { SessionServices } from '../../src/session/services.js';
import type { RecogniseOptions, Recogniser, Recording } from '../../src/speech/speech.js';
import { upload } from '../helpers/app.js';
import { watchAnswers, watchFrames } from '../helpers/conform.js';
import { type RunningRedis, startRedis, until } from '../helpers/redis.js';
import { tone } from '../helpers/samples.js';

export interface Frame {
  event: string;
  data: Record<string, unknown>;
  seq?: number;
}

export interface SessionServer {
  readonly app: FastifyInstance;
  readonly url: string;
  readonly config: Config;
  readonly redis: RunningRedis;
  /** Settings with which another process shares Redis and data. */
  readonly settings: Record<string, string>;
  files(): Promise<string[]>;
  upload(content?: Uint8Array<ArrayBuffer>): Promise<string>;
  client(query?: string, headers?: Record<string, string>): Promise<Talker>;
  /** Waits until no session has left anything, in the store or in Redis. */
  empty(): Promise<void>;
}

/** The whole API on a Redis and a data folder of the test's own; flite speaks. */
export async function startSessions(
  t: Test,
  settings: Record<string, string> = {},
  services: Partial<SessionServices> = {},
  shared?: RunningRedis,
): Promise<SessionServer> {
  const redis = shared ?? (await startRedis(t));
  const port = String(await freePort());
  const own = { PORT: port, BASE_URL: `http://127.0.0.1:${port}`, ...settings };
  const config = redis.config(own);
  const log = createLog(process.env['TEST_LOG_LEVEL'] ?? 'silent');
  const connection = connectRedis(config, log);
  const app = await buildApp({ config, log, redis: connection, services });
  t.teardown(async () => {
    await app.close();
    connection.disconnect();
  });
  const url = await app.listen({ host: '127.0.0.1', port: config.port });
  watchAnswers(t, app, url);
  const files = () => readdir(config.tempFiles.folder);
  return {
    ...{ app, url, config, redis, files },
    settings: {
      DATA_DIR: config.dataFolder,
      LOG_LEVEL: 'silent',
      REDIS_HOST: config.redis.host,
      REDIS_PORT: String(config.redis.port),
      ...own,
    },
    upload: async (content = tone(0.5)) => {
      const { body } = await upload(url, content, 'recording.wav');
      if (body.file_id === undefined) throw new Error(`upload refused: ${body.message}`);
      return body.file_id;
    },
    client: (query = '', headers = {}) => Talker.open(t, `${url}/ws${query}`, headers),
    empty: async () => {
      await until(async () => (await files()).length === 0, 'the files are deleted');
      await until(async () => {
        const left = [
          ...(await redis.client.keys('session_files:*')),
          ...(await redis.client.keys('file_owner:*')),
          ...(await redis.client.keys('live_sessions:*')),
          ...(await redis.client.keys('session_tasks:*')),
          ...(await redis.client.keys('session:*')),
        ];
        return left.length === 0;
      }, 'Redis is empty');
    },
  };
}

/** A client of dialect A. */
export class Talker {
  readonly client: SocketClient;
  /** Of connection_ack. */
  ack: Record<string, unknown> = {};

  private constructor(client: SocketClient) {
    this.client = client;
  }

  static async open(t: Test, url: string, headers: Record<string, string> = {}): Promise<Talker> {
    const client = await SocketClient.connect(url, headers);
    watchFrames(t, 'echomimic', client);
    t.teardown(() => client.socket.terminate());
    return new Talker(client);
  }

  get sessionId(): string {
    return String(this.ack['session_id']);
  }

  get frames(): Frame[] {
    return this.client.received as unknown as Frame[];
  }

  of(event: string): Frame[] {
    return this.frames.filter((frame) => frame.event === event);
  }

  send(event: string, data: Record<string, unknown> = {}): void {
    this.client.send({ event, data });
  }

  async connect(request: Record<string, unknown> = {}): Promise<this> {
    this.send('request_connection', { mode: 'voice', ...request });
    return this.connected();
  }

  async connected(): Promise<this> {
    const frame = await this.next('connection_ack');
    this.ack = frame.data;
    return this;
  }

  /** The next frame of this kind; an error, unless that is waited for, fails. */
  async next(event: string, fits: (data: Record<string, unknown>) => boolean = () => true) {
    const frame = (await this.client.next((one) => {
      const { event: name, data } = one as unknown as Frame;
      if (name === 'error' && event !== 'error') throw new Error(JSON.stringify(one));
      return name === event && fits(data);
    }, event)) as unknown as Frame;
    return frame;
  }

  error = (code: string) => this.next('error', (data) => data['code'] === code);
  lastAudio = () => this.next('tts_audio', (data) => data['is_last'] === true);
}

/** Hears what the test says. */
export class ScriptedRecogniser implements Recogniser {
  readonly name = 'scripted';
  readonly heard: Recording[] = [];
  answer: (recording: Recording, options: RecogniseOptions) => Promise<string | undefined> | string;

  constructor(answer: ScriptedRecogniser['answer'] | string = 'Good morning.') {
    this.answer = typeof answer === 'string' ? () => answer : answer;
  }

  async recognise(recording: Recording, options: RecogniseOptions): Promise<string | undefined> {
    this.heard.push(recording);
    return this.answer(recording, options);
  }
}

/** Writes what the test says, when it says so. */
export class ScriptedDialogue implements Dialogue {
  readonly name = 'scripted';
  readonly requests: ReplyRequest[] = [];
  readonly signals: AbortSignal[] = [];
  write: (request: ReplyRequest, signal: AbortSignal) => AsyncIterable<string>;

  constructor(write: ScriptedDialogue['write']) {
    this.write = write;
  }

  reply(request: ReplyRequest, { signal }: { signal: AbortSignal }): AsyncIterable<string> {
    this.requests.push(request);
    this.signals.push(signal);
    return this.write(request, signal);
  }
}

/** A promise and what settles it. */
export function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

/** Bytes behind one of the URLs that a frame carries. */
export async function download(url: unknown): Promise<Buffer> {
  const response = await fetch(String(url));
  if (!response.ok) throw new Error(`download answered ${response.status}`);
  return Buffer.from(await response.arrayBuffer());
}

/** Whether the numbers of frames only ever rise. */
export function inOrder(frames: readonly Frame[]): boolean {
  return frames.every((frame, i) => i === 0 || (frame.seq ?? 0) > (frames[i - 1]?.seq ?? 0));
}
