import { type Claim, WorkerQueue } from '../../src/queue/worker-queue.js';
import { progressUpdate } from '../../src/queue/update.js';
import type { ApiReport, Measure } from '../report/api.js';
import { endSessions, nextOf, openSession } from './sessions.js';
import { type Service, inLanes, log } from './service.js';

interface Watched {
  readonly worker: WorkerQueue;
  readonly claim: Claim;
}

/**
 * From a worker's report of progress to the frame on the socket of the session that watches the
 * task: every session has a task of its own, every task a worker's side of the queue in this
 * process, so that both ends have one clock. The service must have no workers.
 */
export async function measureFanOut(
  { config, url }: Pick<Service, 'config' | 'url'>,
  { watchers, updates, runs }: Pick<ApiReport['settings'], 'watchers' | 'updates' | 'runs'>,
): Promise<Measure[]> {
  const workers = Array.from(
    { length: watchers },
    (_, i) => new WorkerQueue(config, 0, `bench-${i}`, log),
  );
  try {
    await Promise.all(workers.map((worker) => worker.open()));
    const clients = await inLanes(watchers, 20, () => openSession(url, 'video'));
    /** When the frame of a task and progress came. */
    const arrivals = new Map<string, (at: number) => void>();
    const key = (task: unknown, progress: unknown) => `${String(task)} ${String(progress)}`;
    for (const { socket } of clients) {
      socket.on('message', (text: Buffer) => {
        const now = performance.now();
        const { event, data } = JSON.parse(text.toString('utf8')) as {
          event: string;
          data: Record<string, unknown>;
        };
        if (event === 'task_progress')
          arrivals.get(key(data['task_id'], data['percentage']))?.(now);
      });
    }
    await inLanes(watchers, 4, async (i) => {
      clients[i]!.send({ event: 'text_message', data: { text: 'Hi.' } });
      await nextOf(clients[i]!, 'task_submitted');
    });
    const watched = await Promise.all(workers.map(take));

    let progress = 10;
    const told = async ({ worker, claim }: Watched, percent: number): Promise<number> => {
      const name = key(claim.taskId, percent);
      const arrival = new Promise<number>((resolve) => arrivals.set(name, resolve));
      const start = performance.now();
      const update = progressUpdate(claim.entry, 'inference', percent, 'measuring');
      if (!(await worker.report(claim, update))) throw new Error('a task was lost');
      const at = await arrival;
      arrivals.delete(name);
      return at - start;
    };
    // progress has one decimal and never falls
    const next = () => (progress = Math.round(10 * progress + 1) / 10);
    const [single, all]: [number[][], number[][]] = [[], []];
    await told(watched[0]!, next());
    for (let run = 0; run < runs; run++) {
      single.push(await inLanes(updates, 1, (i) => told(watched[i % watchers]!, next())));
      const bursts: number[] = [];
      for (let i = 0; i < updates; i++) {
        const percent = next();
        bursts.push(...(await Promise.all(watched.map((one) => told(one, percent)))));
      }
      all.push(bursts);
    }
    await endSessions(clients);
    return [
      { what: `progress: report to socket, one of ${watchers} watchers`, unit: 'ms', runs: single },
      { what: `progress: report to socket, all ${watchers} at once`, unit: 'ms', runs: all },
    ];
  } finally {
    for (const worker of workers) worker.disconnect();
  }
}

async function take(worker: WorkerQueue): Promise<Watched> {
  const raw = await worker.take();
  const claim = raw === undefined ? undefined : await worker.claim(raw);
  if (claim === undefined) throw new Error('no task to work on');
  return { worker, claim };
}
