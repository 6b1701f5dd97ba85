import { wavFile } from '../../src/media/wav.js';
import type { ApiReport, Measure } from '../report/api.js';
import { type Service, inLanes } from './service.js';
import { TaskClient } from './task-client.js';

const frames = 12;

/** A second of a tone. */
function tone(): Uint8Array<ArrayBuffer> {
  const samples = Buffer.alloc(2 * 16_000);
  for (let i = 0; i < 16_000; i++) samples.writeInt16LE(Math.round(8000 * Math.sin(i / 12)), 2 * i);
  return new Uint8Array(wavFile(samples, 16_000));
}

/**
 * What a task costs beside the engine: pushed by a client of Redis until its result is heard. The
 * simulated engine lets a known time pass, which is taken off.
 */
export async function measureTasks(
  service: Service,
  { devices, frameMs, tasks, runs }: ApiReport['settings'],
): Promise<Measure[]> {
  const client = await TaskClient.open(service, tone());
  const one = (gpuId: number) => client.run(gpuId, { frames_num: frames });
  await inLanes(devices, devices, one); // the first one of each worker
  const [taken, overhead, rate]: [number[][], number[][], number[][]] = [[], [], []];
  for (let run = 0; run < runs; run++) {
    const alone = await inLanes(tasks, 1, () => one(0));
    taken.push(alone.map((task) => task.taken));
    overhead.push(alone.map((task) => task.whole - frames * frameMs));
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
