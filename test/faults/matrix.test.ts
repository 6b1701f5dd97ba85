import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { until } from '../helpers/until.js';
import { type Frame, Talker, download } from '../session/session-helper.js';
import { type Held, Rig } from './rig.js';
import { type Stage, stages } from './gates.js';

t.setTimeout(400_000);

interface Fault {
  readonly name: string;
  /** What happens while each task is held at its stage. */
  readonly strike: (rig: Rig, held: readonly Held[]) => Promise<void> | void;
  /** After everything was let go. */
  readonly repair?: (rig: Rig, held: readonly Held[]) => Promise<void> | void;
  /** Tasks that fail, and with what; all others are completed. */
  readonly fails?: Partial<Record<Stage, { code: string; error?: RegExp }>>;
  /** Attempts that a completed task may have taken. */
  readonly attempts: readonly number[];
  /** Whether a listener may have missed the end while its own line was cut. */
  readonly isDeaf?: boolean;
  /** Without a session, whose task would come in between. */
  readonly isAlone?: boolean;
}

const each = <T>(among: readonly Stage[], value: T): Partial<Record<Stage, T>> =>
  Object.fromEntries(among.map((stage) => [stage, value]));
const workers = (rig: Rig, signal: NodeJS.Signals) => {
  for (const stage of stages) process.kill(rig.pid(stage), signal);
};
const ended = async (rig: Rig, held: readonly Held[]) => {
  for (const { taskId } of held) await rig.end(taskId);
};
const answers = (rig: Rig, status: number) =>
  rig.apiProxy.statuses.filter((one) => one === status).length;
const refusal = (status: number, fails?: Fault['fails']): Fault => ({
  name: `uploads and downloads refused with ${status}`,
  strike: (rig) => void (rig.apiProxy.refuse = status),
  repair: async (rig, held) => {
    const before = answers(rig, status);
    await until(() => answers(rig, status) >= before + 3, 'refusals');
    if (fails !== undefined) await ended(rig, held);
    rig.apiProxy.refuse = undefined;
  },
  ...(fails === undefined ? {} : { fails }),
  attempts: [1],
});

/** Fills the small disk that one of the folders is. */
const filler = (rig: Rig, folder: string) => join(rig.stack.config.dataFolder, folder, '.filler');
const fill = (rig: Rig, folder: string) => {
  let size = 8 * 1024 * 1024;
  while (size >= 1024) {
    try {
      writeFileSync(filler(rig, folder), randomBytes(size), { flag: 'a' });
    } catch {
      size = Math.floor(size / 2);
    }
  }
};
const full = { code: 'STORAGE_FULL', error: /full/ };

const faults: readonly Fault[] = [
  { name: 'nothing', strike: () => undefined, attempts: [1] },
  {
    name: 'SIGKILL of the worker',
    strike: (rig) => workers(rig, 'SIGKILL'),
    // Its last words may have been on the line.
    attempts: [1, 2],
  },
  {
    name: 'SIGKILL of the API',
    strike: (rig) => {
      process.kill(rig.stack.pids.api as number, 'SIGKILL');
      rig.apiProxy.cut();
    },
    attempts: [1],
  },
  {
    name: 'SIGKILL of redis-server',
    strike: async (rig) => {
      const { pid } = rig.redis;
      process.kill(pid as number, 'SIGKILL');
      await until(() => rig.redis.pid !== undefined && rig.redis.pid !== pid, 'Redis is back');
    },
    attempts: [1, 2],
    isDeaf: true,
  },
  {
    name: 'SIGSTOP of the worker past its lease',
    strike: async (rig, held) => {
      workers(rig, 'SIGSTOP');
      for (const { taskId } of held) {
        await until(
          async () => (await rig.client.hget(`task:${taskId}`, 'token')) === '',
          `${taskId} is recovered`,
          30_000,
        );
      }
    },
    repair: (rig) => workers(rig, 'SIGCONT'),
    attempts: [2],
  },
  {
    name: 'every TCP connection dropped',
    strike: (rig) => {
      rig.apiProxy.cut();
      rig.redisProxy.cut();
    },
    attempts: [1, 2],
  },
  {
    name: 'every subscriber cut off, three times',
    strike: async (rig) => {
      for (let i = 0; i < 3; i++) {
        await rig.client.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
        await until(
          async () => /sub=[1-9]/.test(String(await rig.client.client('LIST'))),
          'somebody listens again',
        );
      }
    },
    attempts: [1],
    isDeaf: true,
  },
  refusal(503),
  refusal(507),
  refusal(413, {
    ...each(['claimed', 'downloading'], { code: 'TASK_DOWNLOAD_FAILED', error: /413/ }),
    ...each(['rendering', 'muxing', 'uploading'], { code: 'TASK_UPLOAD_FAILED', error: /413/ }),
  }),
  {
    name: "the disk of the worker's files is full",
    strike: async (rig, held) => {
      // One after the other: what a failed task leaves is room for the next.
      for (const { stage, taskId } of held.toReversed()) {
        fill(rig, 'work');
        rig.release(stage);
        await rig.end(taskId);
        const status = `gpu_status:${stages.indexOf(stage)}`;
        await until(async () => (await rig.client.get(status)) === 'idle', 'its files are gone');
      }
    },
    repair: (rig) => rmSync(filler(rig, 'work')),
    fails: each(['claimed', 'downloading', 'rendering', 'muxing'], full),
    attempts: [1],
    isAlone: true,
  },
  {
    name: 'the disk of the temp files is full for a while',
    strike: (rig) => fill(rig, 'tempfiles'),
    repair: async (rig) => {
      await until(() => answers(rig, 507) > 0, 'a refusal');
      rmSync(filler(rig, 'tempfiles'));
    },
    attempts: [1],
  },
];

/** Someone with a session, who comes back when the line breaks. */
class Visitor {
  readonly #t: Test;
  readonly #rig: Rig;
  #talker: Talker | undefined;

  constructor(t: Test, rig: Rig) {
    this.#t = t;
    this.#rig = rig;
  }

  async #connect(): Promise<Talker> {
    const before = this.#talker;
    if (before?.client.socket.readyState === 1) return before;
    const deadline = Date.now() + 60_000;
    for (;;) {
      try {
        const talker = await Talker.open(this.#t, `${this.#rig.url}/ws`);
        const frames = before?.frames ?? [];
        this.#talker = await talker.connect(
          before === undefined
            ? { mode: 'video' }
            : {
                ...{ session_id: before.sessionId, resume_token: before.ack['resume_token'] },
                last_seq: Math.max(...frames.map(({ seq }) => seq ?? 0)),
              },
        );
        return this.#talker;
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  /** Says something; resolves when the video of the answer waits in a queue. */
  async ask(): Promise<string> {
    const talker = await this.#connect();
    const submitted = () => talker.of('task_submitted');
    const before = submitted().length;
    talker.send('text_message', { text: 'Hello.' });
    await until(() => submitted().length > before, 'the task of a session', 60_000);
    return String(submitted().at(-1)?.data['task_id']);
  }

  /** What became of the task, however often the line breaks before that is told. */
  async outcome(taskId: string): Promise<Frame> {
    for (;;) {
      const talker = await this.#connect();
      const seen = talker.frames.length;
      const end = talker.frames.find(
        ({ event, data }) => /^(task_result|error)$/.test(event) && data['task_id'] === taskId,
      );
      if (end !== undefined) return end;
      await until(
        () => talker.frames.length > seen || talker.client.socket.readyState !== 1,
        'news of a session',
        60_000,
      );
    }
  }
}

/** Small disks of their own, where this user may have them. */
function mountDisks(t: Test, folder: string): boolean {
  const disks = ['work', 'tempfiles'].map((name) => join(folder, name));
  for (const disk of disks) {
    mkdirSync(disk);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', disk], { stdio: 'ignore' });
    } catch {
      return false;
    }
    t.teardown(() => execFileSync('umount', ['-l', disk], { stdio: 'ignore' }));
  }
  return true;
}

void t.test(
  'whatever fails at whichever stage, a task ends once, and nothing is left',
  async (t) => {
    let hasDisks = false;
    const rig = await Rig.start(
      t,
      { TASK_LEASE_SECONDS: '4', TRANSFER_TIMEOUT_SECONDS: '60', SHUTDOWN_SECONDS: '1' },
      async (folder) => void (hasDisks = mountDisks(t, folder)),
    );
    const visitor = new Visitor(t, rig);
    const only = process.env['FAULT'];
    for (const fault of faults) {
      if (only !== undefined && !fault.name.includes(only)) continue;
      const { name, strike, repair, fails = {}, attempts, isDeaf = false, isAlone = false } = fault;
      const skip = name.includes('disk') && !hasDisks && 'this user may not mount a small disk';
      await t.test(name, { skip }, async (t) => {
        const started = Date.now();
        const held = await rig.holdAll();
        const asked = isAlone ? undefined : await visitor.ask();
        await strike(rig, held);
        rig.release();
        await repair?.(rig, held);
        for (const { stage, taskId } of held) {
          const state = await rig.end(taskId);
          const failure = fails[stage];
          const cell = `${name}, while ${stage}`;
          if (failure !== undefined) t.match(state, { status: 'failed', ...failure }, cell);
          else {
            t.match(state, { status: 'completed', video_file_id: /./ }, cell);
            // While a line to Redis is held, nobody renews the lease: that may cost an attempt.
            const expected = /claimed|finishing/.test(stage) ? [1, 2] : attempts;
            const taken = Number(state['attempts']);
            t.ok(
              expected.includes(taken),
              `${cell}: ${taken} attempts of ${expected.join(' or ')}`,
            );
            await download(`${rig.url}/api/tempfile/download/${state['video_file_id']}`);
          }
          if (!isDeaf) await until(() => rig.ends(taskId).length > 0, `${taskId} is heard`);
        }
        if (asked !== undefined) {
          const { event, data } = await visitor.outcome(asked);
          const codes = Object.values(fails).map(({ code }) => code);
          if (event === 'task_result') await download(data['video_url']);
          t.ok(
            event === 'task_result' || codes.includes(String(data['code'])),
            'a session learns it',
          );
        }
        await rig.settled();
        for (const { stage, taskId } of held) {
          const ends = rig.ends(taskId);
          t.ok(ends.length === 1 || (isDeaf && ends.length === 0), `${name}, while ${stage}: once`);
          if (ends[0] !== undefined) {
            t.equal(ends[0].video_file_id, (await rig.state(taskId))['video_file_id']);
          }
        }
        t.comment(`${((Date.now() - started) / 1000).toFixed(1)} s`);
      });
    }
  },
);
