import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chooseDevice, gpus } from '../native/devices.js';
import { driverGpus } from '../native/driver.js';
import type { Config, WorkerDevice } from '../src/config.js';
import { CodedError } from '../src/errors.js';
import type { Log } from '../src/log.js';
import { projectRoot } from '../src/paths.js';
import { Recovery } from '../src/queue/recovery.js';
import { type Redis, connectRedis } from '../src/queue/redis.js';
import { Keeper, beatMs } from './keeper.js';

const startMs = 600_000;
const unref = { ref: false };

/**
 * What WORKER_DEVICES=auto means on this machine: every GPU that the engine can use, or the CPU.
 * `driverFolder` is where the NVIDIA driver lists its GPUs.
 */
export function visibleDevices(
  { engine }: { readonly engine: Pick<Config['engine'], 'provider'> },
  log: Log,
  driverFolder?: string,
): string {
  if (engine.provider === 'cpu') return 'cpu';
  const { devices, reason } = gpus();
  if (reason !== undefined) {
    const installed = driverGpus(driverFolder);
    if (installed.length === 0) log.info({ reason }, 'no GPU is used');
    else log.warn({ gpus: installed }, `a GPU is there (${installed.join(', ')}): ${reason}`);
  }
  const usable = devices.filter(({ id }) => {
    try {
      chooseDevice({ model: '', device: id, provider: engine.provider });
      return true;
    } catch (error) {
      log.warn({ reason: (error as Error).message }, 'a GPU is left out');
      return false;
    }
  });
  return usable.length > 0 ? usable.map(({ id }) => id).join(',') : 'cpu';
}

/** One worker process per device, and the recovery of what they lose. */
export class Supervisor {
  readonly #config: Config;
  readonly #log: Log;
  readonly #redis: Redis;
  readonly #recovery: Recovery;
  readonly keepers: readonly Keeper[];

  /** `environment` is what the workers get; it must lead to the same configuration. */
  constructor(config: Config, environment: Record<string, string>, log: Log) {
    if (config.devices === undefined) {
      throw new CodedError('INTERNAL', 'the devices are to be named: see visibleDevices');
    }
    this.#config = config;
    this.#log = log;
    this.#redis = connectRedis(config, log);
    this.#recovery = new Recovery(this.#redis, config, log);
    this.keepers = config.devices.map((device) => this.#keeper(device, environment));
  }

  #keeper({ id, device }: WorkerDevice, environment: Record<string, string>): Keeper {
    let worker: string | undefined;
    return new Keeper({
      name: `worker ${id} (${device})`,
      module: join(projectRoot, 'dist', 'worker', 'main.js'),
      args: ['--device', device, '--id', String(id)],
      environment,
      log: this.#log,
      startMs,
      stopMs: this.#config.shutdownMs + 20_000,
      beatMs,
      onMessage: (message) => {
        if (message.type === 'hello') worker = message.worker;
      },
      onExit: async (how) => {
        if (worker === undefined) return;
        const gone = worker;
        worker = undefined;
        // A Redis that is away must not hold up the stop; the passes find the task later.
        await Promise.race([
          this.#recovery.workerDied(id, gone, how),
          sleep(5000, undefined, unref),
        ]);
      },
    });
  }

  /** Resolves when every worker is ready. */
  async start(): Promise<void> {
    this.#recovery.start();
    await Promise.all(this.keepers.map((keeper) => keeper.start()));
  }

  async stop(): Promise<void> {
    await Promise.all(this.keepers.map((keeper) => keeper.stop()));
    await this.#recovery.stop();
    this.#redis.disconnect();
  }
}
