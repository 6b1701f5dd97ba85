import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { CodedError } from '../errors.js';
import type { Log } from '../log.js';

export interface PrivateRedisOptions {
  /** Where the append-only file lies. */
  readonly folder: string;
  readonly program: string;
  /** When what was written is sure to be on the disk. */
  readonly fsync?: 'always' | 'everysec';
  /** Taken when it is free, so that clients with default settings find us. */
  readonly preferredPort?: number;
  readonly log: Log;
}

const host = '127.0.0.1';
/**
 * Runs the server until file descriptor 3 closes, which also happens when we are killed: then the
 * server is told to end, and nothing of ours stays behind.
 */
const guard = `"$0" "$@" & server=$!
echo "pid $server"
(cat <&3 >/dev/null; kill "$server") 2>/dev/null &
exec 3<&-
wait "$server"`;
const notFound = 127;
const startMs = 20_000;
const stopMs = 10_000;

/** Our own redis-server on the loopback interface; it comes back, with its data, when it dies. */
export class PrivateRedis {
  readonly host = host;
  readonly port: number;
  readonly #options: PrivateRedisOptions;
  #child: ChildProcess | undefined;
  #lifeline: Writable | undefined;
  #pid: number | undefined;
  #stopping = false;
  #restarts = 0;

  private constructor(options: PrivateRedisOptions, port: number) {
    this.#options = options;
    this.port = port;
  }

  static async start(options: PrivateRedisOptions): Promise<PrivateRedis> {
    await mkdir(options.folder, { recursive: true, mode: 0o700 });
    await stopLeftover(options);
    const { preferredPort } = options;
    const port =
      preferredPort !== undefined && (await isFree(preferredPort))
        ? preferredPort
        : await freePort();
    const redis = new PrivateRedis(options, port);
    await redis.#launch();
    return redis;
  }

  get pid(): number | undefined {
    return this.#pid;
  }

  async #launch(): Promise<void> {
    const { folder, program, fsync = 'everysec', log } = this.#options;
    const child = spawn(
      '/bin/sh',
      [
        ...['-c', guard, program, '--bind', host, '--port', String(this.port)],
        ...['--dir', folder, '--appendonly', 'yes', '--appendfsync', fsync, '--save', ''],
        ...['--maxmemory-policy', 'noeviction', '--daemonize', 'no', '--loglevel', 'warning'],
      ],
      { stdio: ['ignore', 'pipe', 'pipe', 'pipe'], detached: true },
    );
    this.#child = child;
    this.#pid = undefined;
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        output = (output + chunk.toString()).slice(-2000);
        this.#pid ??= Number(/^pid (\d+)$/m.exec(output)?.[1] ?? NaN) || undefined;
      });
    }
    const lifeline = child.stdio[3] as Writable;
    lifeline.on('error', () => undefined);
    this.#lifeline = lifeline;
    const ended = new Promise<number | null>((resolve) => {
      child.once('error', () => resolve(null));
      child.once('exit', (code) => {
        lifeline.end();
        resolve(code);
      });
    });
    const answered = await Promise.race([this.#answers(), ended.then(() => false)]);
    if (!answered) {
      lifeline.end();
      const code = await Promise.race([ended, sleep(stopMs, undefined, { ref: false })]);
      if (code === notFound) {
        throw new CodedError(
          'REDIS_SERVER_MISSING',
          `"${program}" is not installed: install it (Debian, Ubuntu: apt install redis-server; ` +
            'macOS: brew install redis), or name a running server with REDIS_HOST and REDIS_PORT',
        );
      }
      throw new CodedError('REDIS_UNAVAILABLE', `redis-server did not start: ${output.trim()}`);
    }
    await writeFile(
      join(folder, 'server.json'),
      JSON.stringify({ pid: this.#pid, port: this.port }),
    );
    log.info({ port: this.port, pid: this.#pid, folder }, 'private Redis runs');
    void ended.then(() => this.#restart(child, output));
  }

  #restart(child: ChildProcess, output: string): void {
    if (this.#stopping || this.#child !== child) return;
    const wait = Math.min(100 * 2 ** this.#restarts++, 10_000);
    this.#options.log.error(
      { wait, output: output.trim() },
      'the private Redis died; restarting it',
    );
    setTimeout(() => {
      if (this.#stopping) return;
      this.#launch().then(
        () => (this.#restarts = 0),
        (err: unknown) => {
          this.#options.log.error({ err }, 'the private Redis does not come back');
          this.#restart(this.#child as ChildProcess, '');
        },
      );
    }, wait);
  }

  /** Whether it serves; it answers LOADING while it reads its append-only file. */
  async #answers(): Promise<boolean> {
    const redis = probe(this.port);
    const deadline = Date.now() + startMs;
    try {
      while (Date.now() < deadline && !this.#stopping) {
        const pid = await serverPid(redis).catch(() => undefined);
        if (pid !== undefined && pid === this.#pid) return true;
        await sleep(30);
      }
      return false;
    } finally {
      redis.disconnect();
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    this.#lifeline?.end();
    const timer = setTimeout(() => {
      if (this.#pid !== undefined) process.kill(this.#pid, 'SIGKILL');
    }, stopMs);
    await ended;
    clearTimeout(timer);
    await rm(join(this.#options.folder, 'server.json'), { force: true });
  }
}

function probe(port: number): Redis {
  const redis = new Redis({
    host,
    port,
    lazyConnect: true,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    connectTimeout: 1000,
    commandTimeout: 1000,
    enableReadyCheck: false,
  });
  redis.on('error', () => undefined);
  return redis;
}

async function serverPid(redis: Redis): Promise<number | undefined> {
  if (redis.status !== 'ready') await redis.connect();
  await redis.ping();
  const match = /process_id:(\d+)/.exec(await redis.info('server'));
  return match === null ? undefined : Number(match[1]);
}

/** Where the server that keeps its data in `folder` answers just now; undefined when none does. */
export async function runningServer(
  folder: string,
): Promise<{ pid: number; host: string; port: number } | undefined> {
  let told: { pid?: unknown; port?: unknown };
  try {
    told = JSON.parse(await readFile(join(folder, 'server.json'), 'utf8')) as typeof told;
  } catch {
    return undefined;
  }
  const { pid, port } = told;
  if (typeof pid !== 'number' || typeof port !== 'number') return undefined;
  const redis = probe(port);
  try {
    return (await serverPid(redis)) === pid ? { pid, host, port } : undefined;
  } catch {
    return undefined;
  } finally {
    redis.disconnect();
  }
}

/** A server whose parent was killed still holds the append-only file: it is asked to end. */
async function stopLeftover({ folder, log }: PrivateRedisOptions): Promise<void> {
  const left = await runningServer(folder);
  if (left === undefined) return;
  log.warn({ pid: left.pid, port: left.port }, 'ending the Redis of a run that was killed');
  const redis = probe(left.port);
  await redis
    .connect()
    .then(() => redis.shutdown('NOSAVE'))
    .catch(() => undefined);
  redis.disconnect();
  for (let i = 0; i < 200 && (await accepts(left.port)); i++) await sleep(25);
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

function listenOnce(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, host, () => {
      const address = server.address();
      const taken = typeof address === 'object' && address !== null ? address.port : undefined;
      server.close(() => resolve(taken));
    });
  });
}

export async function isFree(port: number): Promise<boolean> {
  return (await listenOnce(port)) !== undefined;
}

/** A port of the loopback interface that nothing uses just now. */
export async function freePort(): Promise<number> {
  const port = await listenOnce(0);
  if (port === undefined) throw new CodedError('PORT_IN_USE', 'no port is free on 127.0.0.1');
  return port;
}
