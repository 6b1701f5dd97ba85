/**
 * Memory of sessions on which nothing happens: resident, and the part of it that JavaScript holds
 * (its heap and what that refers to), after garbage collection, of an API process with more and
 * more connected clients, and again when they are gone. A fresh process has memory in hand, so what
 * one more session takes is told from the smallest to the largest number.
 *
 *   node dist/bench/idle-sessions.js [--counts 1000,2000,4000]
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { SocketClient } from '../scripts/socket-client.js';
import { childEnvironment } from '../src/config.js';
import { createLog } from '../src/log.js';
import { projectRoot } from '../src/paths.js';
import { PrivateRedis, freePort } from '../src/queue/private-redis.js';

const { values } = parseArgs({
  options: { counts: { type: 'string', default: '1000,2000,4000' } },
});
const counts = values.counts.split(',').map(Number);
const warmUp = 20;
const settleMs = 3000;
const openAtOnce = 10;

/** Runs in the process that is measured. */
const probe = `process.on('message', async (message) => {
  if (message !== 'measure') return;
  for (let i = 0; i < 4; i++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  process.send({ rss, heap: heapUsed + external });
});`;

interface Memory {
  readonly rss: number;
  readonly heap: number;
}

async function messageOf<T>(child: ChildProcess, fits: (message: object) => boolean): Promise<T> {
  for (;;) {
    const [message] = (await once(child, 'message')) as [object];
    if (fits(message)) return message as T;
  }
}

async function measure(child: ChildProcess): Promise<Memory> {
  await sleep(settleMs);
  child.send('measure');
  return messageOf<Memory>(child, (message) => 'rss' in message);
}

async function connect(url: string): Promise<SocketClient> {
  const client = await SocketClient.connect(url);
  client.send({ event: 'request_connection', data: { mode: 'voice' } });
  await client.next(({ event }) => event === 'connection_ack', 'connection_ack');
  return client;
}

const folder = await mkdtemp(join(tmpdir(), 'idle-sessions-'));
const redis = await PrivateRedis.start({
  ...{ folder, program: 'redis-server', log: createLog('warn') },
});
const port = await freePort();
const api = fork(join(projectRoot, 'dist', 'src', 'server.js'), {
  execArgv: ['--expose-gc', '--import', `data:text/javascript,${encodeURIComponent(probe)}`],
  env: childEnvironment({
    ...{ DATA_DIR: folder, LOG_LEVEL: 'warn', PORT: String(port) },
    ...{ BASE_URL: `http://127.0.0.1:${port}`, SESSIONS_PER_ADDRESS: '1000000' },
    ...{ REDIS_HOST: redis.host, REDIS_PORT: String(redis.port) },
  }),
});
await messageOf(api, (message) => (message as { type?: string }).type === 'ready');

const clients: SocketClient[] = [];
async function grow(count: number): Promise<void> {
  while (clients.length < count) {
    const more = Math.min(openAtOnce, count - clients.length);
    clients.push(
      ...(await Promise.all(
        Array.from({ length: more }, () => connect(`http://127.0.0.1:${port}/ws`)),
      )),
    );
  }
}
async function empty(): Promise<void> {
  await Promise.all(clients.splice(0).map((client) => client.close(1000)));
}

const mib = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1).padStart(6)} MiB`;
const kib = (bytes: number) => `${(bytes / 1024).toFixed(1)} KiB`;
async function report(count: number): Promise<Memory> {
  await grow(count);
  const now = await measure(api);
  console.log(`${String(count).padStart(6)}   resident ${mib(now.rss)}   heap ${mib(now.heap)}`);
  return now;
}

// the first sessions also pay for code and pools
await grow(warmUp);
await empty();
await report(0);
const measured: Memory[] = [];
for (const count of counts) measured.push(await report(count));
const [few, many] = [measured.at(0), measured.at(-1)];
const more = Math.max(...counts) - Math.min(...counts);
if (few !== undefined && many !== undefined && more > 0) {
  console.log(
    `one more: resident ${kib((many.rss - few.rss) / more)}, heap ${kib((many.heap - few.heap) / more)}`,
  );
}
await empty();
await report(0);

api.kill('SIGTERM');
await once(api, 'exit');
await redis.stop();
await rm(folder, { recursive: true, force: true });
