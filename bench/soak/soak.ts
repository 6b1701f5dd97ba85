import { readFile, readdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SocketClient } from '../../scripts/socket-client.js';
import { type Service, openService } from '../api/service.js';
import { endSessions, nextOf, openSession } from '../api/sessions.js';

/** What must not grow. */
export interface State {
  /** Bytes of the API process. */
  readonly resident: number;
  /** Files, sockets and pipes that the API process has open. */
  readonly handles: number;
  readonly files: number;
  /** Keys in Redis by their kind: ids left out. */
  readonly keys: Readonly<Record<string, number>>;
}

/** A process keeps memory in hand; what is lost for each session adds up to more in the end. */
const residentShare = 1.3;
const residentBytes = 48 * 2 ** 20;
/** Connections that a pool opens or closes. */
const handlesMore = 8;
/** States of tasks end after this; the last ones have to be waited for. */
const stateSeconds = 10;
const settleMs = 60_000;
/** Each of the two workers then lives long enough to be replaced without delay. */
const killMs = 45_000;

/** What grew from one state to another, for people; nothing when nothing did. */
export function grown(before: State, after: State): string[] {
  const found: string[] = [];
  const most = Math.max(before.resident * residentShare, before.resident + residentBytes);
  const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  if (after.resident > most) {
    found.push(`resident memory: ${mib(before.resident)} before, ${mib(after.resident)} after`);
  }
  if (after.handles > before.handles + handlesMore) {
    found.push(`open handles: ${before.handles} before, ${after.handles} after`);
  }
  if (after.files > before.files) {
    found.push(`temp files: ${before.files} before, ${after.files} after`);
  }
  for (const [kind, count] of Object.entries(after.keys)) {
    const known = before.keys[kind] ?? 0;
    if (count > known) found.push(`Redis keys ${kind}: ${known} before, ${count} after`);
  }
  return found;
}

export interface Soaked {
  readonly rounds: number;
  /** Of the API. */
  readonly restarts: number;
  /** Of workers. */
  readonly kills: number;
  readonly before: State;
  readonly after: State;
  readonly grown: readonly string[];
}

/**
 * Mixed sessions, tasks, cancels, killed workers and a restart of the API at half time, for so many
 * seconds, on a service of its own whose devices are simulated; then everything must return to what
 * it was after the first rounds.
 */
export async function soak(
  { seconds, sessions }: { readonly seconds: number; readonly sessions: number },
  say: (what: string) => void = () => undefined,
): Promise<Soaked> {
  const service = await openService('sim:2', {
    ...{ SIM_FRAME_MS: '1', TASK_LEASE_SECONDS: '3', SESSION_GRACE_SECONDS: '1' },
    TASK_STATE_HOURS: String(stateSeconds / 3600),
  });
  try {
    const redis = service.connect();
    const look = () => stateOf(service, redis);
    const settled = async (first?: State): Promise<State> => {
      const deadline = Date.now() + settleMs;
      for (;;) {
        await sleep(1000);
        const state = await look();
        const isBack =
          first === undefined
            ? state.files === 0 && !Object.keys(state.keys).some((kind) => kind.startsWith('task:'))
            : grown(first, state).length === 0;
        if (isBack || Date.now() > deadline) return state;
      }
    };
    // what is made once, and stays
    for (let i = 0; i < 2; i++) await round(service, sessions);
    const before = await settled();
    say(`before: ${JSON.stringify(before)}`);
    const end = performance.now() + 1000 * seconds;
    const half = end - 500 * seconds;
    let rounds = 0;
    let restarts = 0;
    let kills = 0;
    let nextKill = performance.now();
    while (performance.now() < end || restarts === 0) {
      if (restarts === 0 && performance.now() >= half) {
        say(`${rounds} rounds, then another API process`);
        await restartApi(service);
        restarts++;
      }
      rounds++;
      await round(service, sessions);
      if (performance.now() >= nextKill) {
        // a task that it works on, if any, goes to the other one
        const pid = service.pids.workers[kills++ % 2];
        if (pid !== undefined) process.kill(pid, 'SIGKILL');
        nextKill += killMs;
      }
      if (rounds % 10 === 0) say(`${rounds} rounds: ${JSON.stringify(await look())}`);
    }
    const after = await settled(before);
    say(`after: ${JSON.stringify(after)}`);
    return { rounds, restarts, kills, before, after, grown: grown(before, after) };
  } finally {
    await service.stop();
  }
}

/** Stops the API while a session has a video made; what it leaves is for the one that follows. */
async function restartApi(service: Service): Promise<void> {
  const { url, pids } = service;
  const client = await openSession(url, 'video');
  client.send({ event: 'text_message', data: { text: 'Hello.' } });
  await nextOf(client, 'task_submitted');
  process.kill(pids.api!, 'SIGTERM');
  await client.closed;
  const deadline = Date.now() + settleMs;
  const isBack = () =>
    service.pids.api !== undefined && service.pids.api !== pids.api
      ? fetch(`${url}/readyz`).then(
          ({ ok }) => ok,
          () => false,
        )
      : false;
  while (!(await isBack())) {
    if (Date.now() > deadline) throw new Error('no API process took the place of the stopped one');
    await sleep(100);
  }
}

/** Each way to end a session and a task, by as many visitors at the same time. */
async function round(service: Service, sessions: number): Promise<void> {
  await Promise.all(
    Array.from({ length: sessions }, async (_, i) => {
      const client = await openSession(service.url, i % visits.length === 0 ? 'voice' : 'video');
      client.send({ event: 'text_message', data: { text: 'Hello.' } });
      await visits[i % visits.length]!(client);
    }),
  );
}

const visits: readonly ((client: SocketClient) => Promise<void>)[] = [
  async (client) => {
    await nextOf(client, 'tts_audio');
    await endSessions([client]);
  },
  async (client) => {
    await nextOf(client, 'task_result');
    await endSessions([client]);
  },
  async (client) => {
    await nextOf(client, 'task_submitted');
    client.send({ event: 'interrupt', data: {} });
    await nextOf(client, 'reply_interrupted');
    await client.close(1000);
  },
  async (client) => {
    await nextOf(client, 'tts_audio');
    client.socket.terminate();
    await client.closed;
  },
  async (client) => {
    await nextOf(client, 'task_submitted');
    client.socket.terminate();
    await client.closed;
  },
];

async function stateOf(
  { pids, config }: Service,
  redis: ReturnType<Service['connect']>,
): Promise<State> {
  const status = await readFile(`/proc/${pids.api}/status`, 'utf8');
  const keys: Record<string, number> = {};
  for (const key of await redis.keys('*')) {
    // One for each minute in which tasks ended, for two days.
    if (key.startsWith('task_minute:')) continue;
    const kind = key.replace(/[0-9a-f]{8}-[0-9a-f-]{27,}|\d+/g, '*').replace(/:[^:*]*\*.*$/, ':*');
    keys[kind] = (keys[kind] ?? 0) + 1;
  }
  return {
    resident: 1024 * Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]),
    handles: (await readdir(`/proc/${pids.api}/fd`)).length,
    files: (await readdir(config.tempFiles.folder)).length,
    keys,
  };
}
