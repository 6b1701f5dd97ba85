import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import type { Test } from 'tap';
import { type Stack, startStack } from '../../scripts/stack.js';
import { createLog } from '../../src/log.js';
import { PrivateRedis } from '../../src/queue/private-redis.js';
import type { TaskUpdate } from '../../src/queue/update.js';
import { upload } from '../helpers/app.js';
import { picture, tone } from '../helpers/samples.js';
import { ownSettings } from '../helpers/stack.js';
import { until } from '../helpers/until.js';
import { type ApiProxy, startApiProxy } from './api-proxy.js';
import { Gate, type Stage, stages } from './gates.js';
import { type RedisProxy, startRedisProxy } from './redis-proxy.js';

/** One task that is held at one stage. */
export interface Held {
  readonly stage: Stage;
  readonly taskId: string;
}

const log = createLog(process.env['TEST_LOG_LEVEL'] ?? 'silent');
/**
 * Lengths of the sound, by which the ffmpeg below knows whom to hold. The film of the longer one is
 * larger than what is written of it before its end.
 */
const seconds: Readonly<Partial<Record<Stage, number>>> = { rendering: 0.51, muxing: 3.52 };

/**
 * A whole service, redis-server, API and one worker process per stage, whose lines to Redis and to
 * the API go through proxies, and whose ffmpeg can be held.
 */
export class Rig {
  readonly gates = new Map<Stage, Gate>(stages.map((stage) => [stage, new Gate()]));
  readonly heard: TaskUpdate[] = [];
  readonly uploads = new Set<string>();
  redis!: PrivateRedis;
  redisProxy!: RedisProxy;
  apiProxy!: ApiProxy;
  stack!: Stack;
  /** Straight to Redis: what the test itself does is no part of the faults. */
  client!: Redis;
  #holds!: string;
  #image = new Map<Stage, string>();
  #audio = new Map<Stage, string>();
  #round = 0;

  /** `prepare` is told the data folder before anything runs. */
  static async start(
    t: Test,
    more: Record<string, string>,
    prepare: (folder: string) => Promise<void> = async () => undefined,
  ): Promise<Rig> {
    const rig = new Rig();
    const settings = await ownSettings(t);
    const folder = settings['DATA_DIR'] as string;
    await prepare(folder);
    rig.#holds = join(folder, 'holds');
    await mkdir(rig.#holds);
    rig.redis = await PrivateRedis.start({
      ...{ folder: join(folder, 'redis'), program: 'redis-server', log },
    });
    t.teardown(() => rig.redis.stop());
    rig.redisProxy = await startRedisProxy(t, rig.redis.port, {
      request: (chunk) => rig.#gateFor(chunk, 'finishing', '"status":"completed"'),
      answer: (chunk) => rig.#gateFor(chunk, 'claimed', '"status":"processing"'),
    });
    const port = Number(settings['PORT']);
    rig.apiProxy = await startApiProxy(t, port, (message) => rig.#transferGate(message));
    rig.stack = await startStack({
      log,
      settings: {
        ...settings,
        ...{ BASE_URL: rig.apiProxy.url, PUBLIC_BASE_URL: `http://127.0.0.1:${port}` },
        ...{ REDIS_HOST: '127.0.0.1', REDIS_PORT: String(rig.redisProxy.port) },
        ...{ WORKER_DEVICES: `sim:${stages.length}`, SIM_FRAME_MS: '2' },
        PATH: `${rig.#slowFfmpeg(folder)}:${process.env['PATH']}`,
        ...more,
      } as Record<string, string>,
    });
    t.teardown(() => rig.stack.stop());
    rig.client = rig.#connect(t);
    const subscriber = rig.#connect(t);
    subscriber.on('message', (_channel, text: string) =>
      rig.heard.push(JSON.parse(text) as TaskUpdate),
    );
    await subscriber.subscribe('task_progress');
    await rig.stack.workersReady;
    for (const stage of stages) {
      // Pictures of their own: by them a download is known.
      rig.#image.set(stage, await rig.#upload(await picture(64 + 2 * rig.#image.size)));
      rig.#audio.set(stage, await rig.#upload(tone(seconds[stage] ?? 0.4)));
    }
    return rig;
  }

  get url(): string {
    return this.stack.config.clientUrl;
  }

  #connect(t: Test): Redis {
    const redis = new Redis({ port: this.redis.port, maxRetriesPerRequest: null });
    redis.on('error', () => undefined);
    t.teardown(() => redis.disconnect());
    return redis;
  }

  async #upload(content: Uint8Array<ArrayBuffer>): Promise<string> {
    const { body } = await upload(this.url, content);
    const id = body.file_id as string;
    this.uploads.add(id);
    return id;
  }

  /** An ffmpeg that waits before it begins, or before it hears of the last frame. */
  #slowFfmpeg(folder: string): string {
    const bin = join(folder, 'bin');
    mkdirSync(bin);
    const real = execFileSync('which', ['ffmpeg'], { encoding: 'utf8' }).trim();
    const hold = (stage: Stage) => join(this.#holds, stage);
    /** Of the sound beside the film, 16 bits at 16 kHz. */
    const bytes = (stage: Stage) => Math.round(32_000 * (seconds[stage] ?? 0));
    const script = `#!/bin/sh
hold() {
  [ -e "$1" ] || return 0
  : > "$1.reached"
  while [ -e "$1" ]; do sleep 0.05; done
}
sound=none
case "$*" in
  *rawvideo*) for one in "$@"; do
      [ -f "\${one#file:}" ] && sound=$(stat -c %s "\${one#file:}") && break
    done ;;
esac
case $sound in
  ${bytes('rendering')}) hold '${hold('rendering')}'; exec '${real}' "$@" ;;
  ${bytes('muxing')}) { cat; hold '${hold('muxing')}'; } | '${real}' "$@" ;;
  *) exec '${real}' "$@" ;;
esac
`;
    writeFileSync(join(bin, 'ffmpeg'), script, { mode: 0o755 });
    return bin;
  }

  #gateFor(chunk: Buffer, stage: Stage, mark: string): Gate | undefined {
    return chunk.includes(this.#name(stage)) && chunk.includes(mark)
      ? this.gates.get(stage)
      : undefined;
  }

  async #transferGate({ method, url = '' }: IncomingMessage): Promise<Gate | undefined> {
    if (url.includes(this.#image.get('downloading') ?? '-')) return this.gates.get('downloading');
    if (method !== 'POST') return undefined;
    const token = await this.client.hget(`task:${this.#name('uploading')}`, 'token');
    const videoId = new URLSearchParams(url.split('?')[1]).get('file_id');
    return token?.endsWith(`:${videoId}`) === true ? this.gates.get('uploading') : undefined;
  }

  #name(stage: Stage): string {
    return `${this.#round}-${stage}`;
  }

  /** Pushes one task for each stage, each on a device of its own, until all are held there. */
  async holdAll(): Promise<Held[]> {
    this.#round++;
    for (const gate of this.gates.values()) gate.close();
    for (const stage of ['rendering', 'muxing'] as const) {
      writeFileSync(join(this.#holds, stage), '');
      rmSync(join(this.#holds, `${stage}.reached`), { force: true });
    }
    const steady = stages.filter((stage) => stage !== 'claimed' && stage !== 'finishing');
    for (const stage of steady) await this.#push(stage);
    for (const stage of steady) await this.#reached(stage);
    // Their lines to Redis are held, so nobody renews their leases: these two come last.
    for (const stage of ['finishing', 'claimed'] as const) {
      await this.#push(stage);
      await this.#reached(stage);
    }
    return stages.map((stage) => ({ stage, taskId: this.#name(stage) }));
  }

  async #push(stage: Stage): Promise<void> {
    const task = {
      ...{ task_id: this.#name(stage), session_id: 's', seed: this.#round },
      ...{ ref_image_id: this.#image.get(stage), audio_id: this.#audio.get(stage) },
    };
    await this.client.rpush(`task_queue_gpu_${stages.indexOf(stage)}`, JSON.stringify(task));
  }

  async #reached(stage: Stage): Promise<void> {
    const what = `${this.#name(stage)} is held`;
    if (stage !== 'rendering' && stage !== 'muxing') return this.gates.get(stage)?.reached(what);
    await until(() => existsSync(join(this.#holds, `${stage}.reached`)), what, 60_000);
    const status = stage === 'rendering' ? 'inference' : 'merging_audio';
    await until(
      async () => (await this.client.hget(`task:${this.#name(stage)}`, 'status')) === status,
      what,
    );
  }

  release(...some: Stage[]): void {
    for (const stage of some.length > 0 ? some : stages) {
      rmSync(join(this.#holds, stage), { force: true });
      this.gates.get(stage)?.open();
    }
  }

  pid(stage: Stage): number {
    return this.stack.pids.workers[stages.indexOf(stage)] as number;
  }

  state(taskId: string): Promise<Record<string, string>> {
    return this.client.hgetall(`task:${taskId}`);
  }

  async end(taskId: string): Promise<Record<string, string>> {
    let state: Record<string, string> = {};
    await until(
      async () => {
        state = await this.state(taskId);
        return /completed|failed/.test(state['status'] ?? '');
      },
      `the end of ${taskId}: ${JSON.stringify(state)}`,
      60_000,
    );
    return state;
  }

  /** How the task ended, in the words of whoever listened. */
  ends(taskId: string): TaskUpdate[] {
    return this.heard.filter(
      ({ task_id, status }) => task_id === taskId && /completed|failed/.test(status),
    );
  }

  /** Waits until nothing is left but what belongs to somebody. */
  async settled(): Promise<void> {
    const { client } = this;
    const statuses = async () => client.mget(stages.map((_, gpu) => `gpu_status:${gpu}`));
    await until(
      async () => (await statuses()).every((status) => status === 'idle'),
      'every device idle',
      60_000,
    );
    await until(
      async () => {
        const keys = await client.keys('task_queue_gpu_*');
        return (
          keys.every((key) => /:(suspects|dead)$/.test(key)) &&
          (await client.keys('task_lease:*')).length === 0
        );
      },
      'no entry and no lease left',
      30_000,
    );
    await until(async () => (await this.strays()).length === 0, 'no file left', 20_000).catch(
      async (error: Error) => {
        throw new Error(`${error.message}: ${(await this.strays()).join(' ')}`);
      },
    );
  }

  /** Files that belong to nobody. */
  async strays(): Promise<string[]> {
    const { client } = this;
    const { dataFolder, tempFiles, hostName } = this.stack.config;
    const owned = new Set(this.uploads);
    for (const key of await client.keys('session_files:*')) {
      for (const id of await client.smembers(key)) owned.add(id);
    }
    for (const key of await client.keys('task:*')) {
      const id = await client.hget(key, 'video_file_id');
      if (id !== null) owned.add(id);
    }
    const strays = (await readdir(tempFiles.folder)).filter((id) => !owned.has(id));
    const workers = new Set(this.stack.pids.workers.map((pid) => `${hostName}.${pid}`));
    for (const worker of await readdir(join(dataFolder, 'work'))) {
      if (!workers.has(worker)) strays.push(worker);
      else strays.push(...(await readdir(join(dataFolder, 'work', worker))));
    }
    return strays;
  }
}
