import fastify from 'fastify';
import type { Kysely } from 'kysely';
import type { Test } from 'tap';
import { SocketClient } from '../../scripts/socket-client.js';
import type { Config } from '../../src/config.js';
import type { Dialogue } from '../../src/dialogue/dialogue.js';
import { CodedError } from '../../src/errors.js';
import { createLog } from '../../src/log.js';
import { connectRedis } from '../../src/queue/redis.js';
import { type DataServices, openData, openSessionServices } from '../../src/services.js';
import { type LifeEchoOptions, createLifeEcho } from '../../src/session/life-echo/index.js';
import { SessionManager } from '../../src/session/core/manager.js';
import type { SessionServices } from '../../src/session/services.js';
import { registerSockets } from '../../src/session/socket/transport.js';
import { unlessAborted } from '../../src/abort.js';
import type { Recogniser, RecogniseOptions, Recording } from '../../src/speech/speech.js';
import { openDatabase } from '../../src/store/database.js';
import type { Database, User } from '../../src/store/schema.js';
import { openTempFiles } from '../../src/tempfile/open.js';
import { textsOfWav, wavOfText } from '../fakes/openai/voice.js';
import { signIn } from '../helpers/account.js';
import { watchFrames } from '../helpers/conform.js';
import { type RunningRedis, startRedis } from '../helpers/redis.js';

/**
 * Understands the WAVs of `spoken()` at once. `hold:x ...` is understood when the test says so,
 * `fail ...` never.
 */
export class ScriptedRecogniser implements Recogniser {
  readonly name = 'scripted';
  readonly heard: string[] = [];
  readonly mimes: string[] = [];
  running = 0;
  mostAtOnce = 0;
  readonly #held = new Map<string, () => void>();

  release(name: string): void {
    this.#held.get(name)?.();
  }

  holds(name: string): boolean {
    return this.#held.has(name);
  }

  async recognise(recording: Recording, { signal }: RecogniseOptions): Promise<string | undefined> {
    const text = textsOfWav(recording.data)?.join(' ') ?? '';
    this.heard.push(text);
    this.mimes.push(recording.mime);
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.running);
    try {
      const held = /^hold:(\S+) (.*)$/.exec(text);
      if (held !== null) {
        await unlessAborted(
          new Promise<void>((resolve) => this.#held.set(held[1] as string, resolve)),
          signal,
        );
        return held[2];
      }
      if (text.startsWith('fail')) throw new CodedError('ASR_FAILED', `the service said: ${text}`);
      if (text.startsWith('crash')) throw new Error('a secret detail');
      if (text.startsWith('wordless')) return undefined;
      return text.startsWith('silence') ? '' : text;
    } finally {
      this.running--;
    }
  }
}

/** A recording that says `text` to the scripted recogniser, in Base64. */
export function spoken(text: string): string {
  return wavOfText(text, { sampleRate: 16_000 }).toString('base64');
}

type Frame = Record<string, unknown>;
type Data = Record<string, unknown>;

/** A life-echo client. */
export class LifeEchoClient {
  readonly socket: SocketClient;
  readonly id: string;

  constructor(socket: SocketClient, id: string) {
    this.socket = socket;
    this.id = id;
  }

  send(type: string, data: Data = {}): void {
    const timestamp = new Date().toISOString();
    this.socket.send({ type, conversation_id: this.id, data, timestamp });
  }

  segment(voiceSession: string, index: number, text: string, isLast = false): void {
    this.send('audio_segment', {
      voice_session_id: voiceSession,
      segment_index: index,
      audio_base64: spoken(text),
      is_last: isLast,
      duration: 1,
    });
  }

  /** The next answer whose text fits. */
  async answer(expected: string): Promise<Data> {
    const fits = (frame: Frame) =>
      frame['type'] === 'agent_response' && (frame['data'] as Data)['text'] === expected;
    return (await this.socket.next(fits, `the answer ${expected}`, 10_000))['data'] as Data;
  }

  async error(code: string): Promise<string> {
    const fits = (frame: Frame) =>
      frame['type'] === 'error' && (frame['data'] as Data)['code'] === code;
    const frame = await this.socket.next(fits, `the error ${code}`, 10_000);
    return (frame['data'] as { message: string }).message;
  }

  async next(type: string): Promise<Data> {
    const frame = await this.socket.next((one) => one['type'] === type, type, 10_000);
    return frame['data'] as Data;
  }

  /** The data of all frames of a type that came until now. */
  all(type: string): Data[] {
    return this.socket.received
      .filter((frame) => frame['type'] === type)
      .map((frame) => frame['data'] as Data);
  }
}

export interface LifeEchoServer {
  readonly url: string;
  readonly config: Config;
  /** The test's own connection. */
  readonly db: Kysely<Database>;
  readonly data: DataServices;
  readonly redis: RunningRedis;
  readonly sessions: SessionManager;
  readonly services: SessionServices;
  readonly recogniser: ScriptedRecogniser;
  user(more?: Partial<User>): Promise<{ user: User; token: string }>;
  /** Connects; a conversation whose opening is over unless `isFresh`. */
  connect(id: string, token: string, isFresh?: boolean): Promise<LifeEchoClient>;
  close(): Promise<void>;
}

export interface LifeEchoServerOptions extends LifeEchoOptions {
  readonly settings?: Record<string, string>;
  readonly dialogue?: Dialogue;
}

export async function startLifeEcho(
  t: Test,
  options: LifeEchoServerOptions = {},
): Promise<LifeEchoServer> {
  const log = createLog('silent');
  const redis = await startRedis(t);
  const config = redis.config({
    WS_FRAMES_PER_SECOND: '1000',
    TURNS_PER_MINUTE: '1000',
    ...options.settings,
  });
  const connection = connectRedis(config, log);
  const db = await openDatabase(config, log);
  const data = await openData(config, log, connection);
  const store = await openTempFiles(config);
  const recogniser = new ScriptedRecogniser();
  const services = openSessionServices(config, log, store, connection, data, {
    recogniser,
    ...(options.dialogue === undefined ? {} : { dialogue: options.dialogue }),
  });
  const sessions = new SessionManager(services);
  sessions.start();
  const app = fastify();
  await registerSockets(app, {
    config,
    log,
    counts: sessions.counts,
    takePass: (pass) => sessions.takePass(pass),
    routes: [
      {
        url: '/ws/conversation/:id',
        dialect: createLifeEcho(services, sessions, { openingPauseMs: 5, ...options }),
      },
    ],
    stop: () => sessions.stop(),
  });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  let closing: Promise<void> | undefined;
  const close = () => (closing ??= app.close());
  t.teardown(async () => {
    await close();
    await services.close();
    await data.close();
    await db.destroy();
    connection.disconnect();
  });
  const connect = async (id: string, token: string, isFresh = false) => {
    const socket = await SocketClient.connect(
      `${url}/ws/conversation/${id}?token=${encodeURIComponent(token)}`,
    );
    watchFrames(t, 'life-echo', socket);
    const client = new LifeEchoClient(socket, id);
    if (!isFresh) {
      await client.next('connect');
      const isOver = ({ type, data }: Frame) =>
        type === 'agent_response' &&
        (data as { index: number }).index + 1 === (data as { total: number }).total;
      await socket.next(isOver, 'the end of the opening', 10_000);
    }
    return client;
  };
  const user = (more: Partial<User> = {}) => signIn(db, config, more);
  return { url, config, db, data, redis, sessions, services, recogniser, user, connect, close };
}

/** What was said in a conversation, oldest first. */
export async function messages(server: LifeEchoServer, id: string): Promise<string[]> {
  const rows = await server.services.conversations.messages(id, { limit: 100 });
  return rows.map(({ speaker, text }) => `${speaker}: ${text}`);
}

/** The texts of the segments of a conversation; `*` marks those that no answer has taken up. */
export async function segments(server: LifeEchoServer, id: string): Promise<string[]> {
  const rows = await server.db
    .selectFrom('segments')
    .selectAll()
    .where('conversation_id', '=', id)
    .orderBy('created_at')
    .execute();
  return rows.map((row) => `${row.transcript_text}${row.processed ? '' : '*'}`);
}

/** What a user has used today, in its unit. */
export async function used(server: LifeEchoServer, user: User): Promise<Record<string, number>> {
  const { kinds } = await server.services.quota.usage(user);
  return Object.fromEntries(Object.entries(kinds).map(([kind, { used }]) => [kind, used]));
}
