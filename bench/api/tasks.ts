import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { upload } from '../../scripts/temp-files.js';
import { wavFile } from '../../src/media/wav.js';
import { projectRoot } from '../../src/paths.js';
import { keys } from '../../src/queue/keys.js';
import { type TaskUpdate, isEnd } from '../../src/task/update.js';
import type { ApiReport, Measure } from '../report/api.js';
import { type Service, inLanes } from './service.js';

const portrait = join(projectRoot, 'weights', 'bundled', 'samples', 'portrait.png');
const frames = 12;

interface Times {
  readonly pushed: number;
  taken?: number;
  end?: (at: number) => void;
  fail?: (error: Error) => void;
}

/**
 * What a task costs beside the engine: pushed by a client of Redis until its result is heard. The
 * simulated engine lets a known time pass, which is taken off.
 */
export async function measureTasks(
  { config, url, connect }: Service,
  { devices, frameMs, tasks, runs }: ApiReport['settings'],
): Promise<Measure[]> {
  const [client, subscriber] = [connect(), connect()];
  const open = new Map<string, Times>();
  subscriber.on('message', (_channel: string, text: string) => {
    const now = performance.now();
    const update = JSON.parse(text) as TaskUpdate;
    const times = open.get(update.task_id);
    if (times === undefined) return;
    times.taken ??= now;
    if (update.status === 'failed') times.fail?.(new Error(`a task failed: ${update.error}`));
    else if (isEnd(update)) times.end?.(now);
  });
  await subscriber.subscribe(config.progressChannel);
  const samples = Buffer.alloc(2 * 16_000);
  for (let i = 0; i < 16_000; i++) samples.writeInt16LE(Math.round(8000 * Math.sin(i / 12)), 2 * i);
  const [ref_image_id, audio_id] = [
    await upload(url, new Uint8Array(await readFile(portrait)), 'portrait.png'),
    await upload(url, new Uint8Array(wavFile(samples, 16_000)), 'tone.wav'),
  ];

  const one = async (gpuId: number) => {
    const task_id = randomUUID();
    const task = { task_id, session_id: 'bench', ref_image_id, audio_id, frames_num: frames };
    const times: Times = { pushed: performance.now() };
    open.set(task_id, times);
    const end = new Promise<number>((resolve, reject) => {
      times.end = resolve;
      times.fail = reject;
    });
    await client.rpush(keys.queue(config, gpuId), JSON.stringify(task));
    const at = await end;
    open.delete(task_id);
    const whole = at - times.pushed;
    return { taken: (times.taken ?? at) - times.pushed, overhead: whole - frames * frameMs };
  };

  await inLanes(devices, devices, one); // the first one of each worker
  const [taken, overhead, rate]: [number[][], number[][], number[][]] = [[], [], []];
  for (let run = 0; run < runs; run++) {
    const alone = await inLanes(tasks, 1, () => one(0));
    taken.push(alone.map((task) => task.taken));
    overhead.push(alone.map((task) => task.overhead));
    const start = performance.now();
    await inLanes(tasks, devices, (i) => one(i % devices));
    rate.push([(1000 * tasks) / (performance.now() - start)]);
  }
  return [
    { what: 'task: from its push until a worker has it', unit: 'ms', runs: taken },
    { what: 'task: from its push to its result, less the engine', unit: 'ms', runs: overhead },
    { what: `tasks of ${frames} frames on ${devices} devices`, unit: 'per s', runs: rate },
  ];
}
