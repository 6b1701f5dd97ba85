import { readFile } from 'node:fs/promises';
import { openService } from '../../../bench/api/service.js';
import { TaskClient } from '../../../bench/api/task-client.js';
import { gpus } from '../../../native/index.js';
import { keys } from '../../../src/queue/keys.js';
import type { Check, Context } from '../check.js';
import { speechPath } from '../clip.js';

const tasksPerDevice = 3;

/** The devices that get workers: every GPU; without any, the device under test. */
function workerDevices({ device }: Context): string[] {
  const all = gpus().devices.map(({ id }) => id);
  return all.length > 0 ? all : [device];
}

export const workers: Check = {
  name: 'workers',
  what: 'the whole service with a worker on every GPU: tasks on all of them at once, one worker killed in the middle',
  needs: ['clip-float32'],
  run: async (context) => {
    const devices = workerDevices(context);
    const service = await openService(devices.join(','), {
      ...{ MODEL: context.models.exact, ENGINE_PROVIDER: context.exact },
      TASK_LEASE_SECONDS: '5',
    });
    try {
      const statuses = await service.connect().mget(devices.map((_, id) => keys.gpuStatus(id)));
      const pids = [...service.pids.workers];
      const client = await TaskClient.open(service, new Uint8Array(await readFile(speechPath)));
      const frames_num = 12;
      let killed = false;
      const kill = ({ status }: { status: string }) => {
        if (killed || status !== 'inference') return;
        killed = true;
        process.kill(pids[0]!, 'SIGKILL');
      };
      const start = performance.now();
      const done = await Promise.all(
        devices.flatMap((_, gpuId) =>
          Array.from({ length: tasksPerDevice }, (_, i) =>
            client.run(gpuId, { frames_num, seed: i }, gpuId === 0 ? kill : undefined),
          ),
        ),
      );
      const again = done.filter(({ attempt }) => attempt > 1).length;
      return {
        figures: [
          { what: 'devices', value: devices.join(', ') },
          {
            what: 'gpu_status',
            value: statuses.join(', '),
            isGood: statuses.every((one) => one === 'idle'),
          },
          {
            what: 'processes',
            value: new Set(pids).size,
            ...{ least: devices.length, most: devices.length },
          },
          { what: 'tasks completed', value: done.length, least: tasksPerDevice * devices.length },
          { what: 'tasks tried again after the kill', value: again, ...{ least: 1, most: 1 } },
          {
            what: 'the killed worker’s place',
            value: service.pids.workers[0] === pids[0] ? 'empty' : 'taken by a new one',
            isGood: service.pids.workers[0] !== pids[0],
          },
          { what: 'all tasks', value: performance.now() - start, unit: 'ms' },
        ],
      };
    } finally {
      await service.stop();
    }
  },
};
