import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import type { Test } from 'tap';
import { type Stack, startStack } from '../../scripts/stack.js';
import { isAlive } from '../../src/alive.js';
import { createLog } from '../../src/log.js';
import { freePort } from '../../src/queue/private-redis.js';
import type { TaskUpdate } from '../../src/queue/update.js';
import { temporaryFolder, upload } from './app.js';
import { until } from './redis.js';

/** Settings of a whole service of the test's own, in its own folder and on its own ports. */
export async function ownSettings(t: Test): Promise<Record<string, string>> {
  const port = String(await freePort());
  return {
    DATA_DIR: await temporaryFolder(t),
    PORT: port,
    BASE_URL: `http://127.0.0.1:${port}`,
    LOG_LEVEL: process.env['TEST_LOG_LEVEL'] ?? 'silent',
    TASK_LEASE_SECONDS: '3',
  };
}

/** The whole service in real processes, and a client of it. */
export class Service {
  readonly heard: TaskUpdate[] = [];
  readonly client: Redis;

  private constructor(
    readonly stack: Stack,
    readonly settings: Record<string, string>,
  ) {
    this.client = this.connect();
  }

  static async start(t: Test, settings: Record<string, string>): Promise<Service> {
    const stack = await startStack({ log: createLog(settings['LOG_LEVEL'] ?? 'silent'), settings });
    t.teardown(() => stack.stop());
    const service = new Service(stack, settings);
    const subscriber = service.connect();
    subscriber.on('message', (_channel: string, text: string) =>
      service.heard.push(JSON.parse(text) as TaskUpdate),
    );
    t.teardown(() => {
      service.client.disconnect();
      subscriber.disconnect();
    });
    await subscriber.subscribe('task_progress');
    return service;
  }

  private connect(): Redis {
    const { host, port } = this.stack.config.redis;
    const redis = new Redis({ host, port });
    redis.on('error', () => undefined);
    return redis;
  }

  get url(): string {
    return this.stack.config.baseUrl;
  }

  async upload(content: Uint8Array<ArrayBuffer>, name?: string): Promise<string> {
    const { body } = await upload(this.url, content, name);
    if (body.file_id === undefined) throw new Error(`upload refused: ${body.message}`);
    return body.file_id;
  }

  async push(task: Record<string, unknown> | string): Promise<void> {
    const raw = typeof task === 'string' ? task : JSON.stringify(task);
    await this.client.rpush('task_queue_gpu_0', raw);
  }

  of(taskId: string): TaskUpdate[] {
    return this.heard.filter(({ task_id }) => task_id === taskId);
  }

  /** The update that ends a task. */
  async end(taskId: string, ms = 120_000): Promise<TaskUpdate> {
    const last = () =>
      this.of(taskId).find(({ status }) => status === 'completed' || status === 'failed');
    await until(() => last() !== undefined, `the end of ${taskId}`, ms);
    return last() as TaskUpdate;
  }

  async download(id: string): Promise<Buffer> {
    const response = await fetch(`${this.url}/api/tempfile/download/${id}`);
    if (!response.ok) throw new Error(`download answered ${response.status}`);
    return Buffer.from(await response.arrayBuffer());
  }

  /** What lies in the folders of the temp files and of the workers' tasks. */
  async files(): Promise<{ stored: string[]; work: string[] }> {
    const { dataFolder, tempFiles } = this.stack.config;
    const work: string[] = [];
    for (const worker of await readdir(join(dataFolder, 'work')).catch(() => [])) {
      work.push(...(await readdir(join(dataFolder, 'work', worker))));
    }
    return { stored: await readdir(tempFiles.folder), work };
  }

  /** Workers remove what a task left when its end has been told. */
  async tidied(): Promise<void> {
    await until(async () => (await this.files()).work.length === 0, 'no worker keeps a file');
  }
}

/** Whether a process is gone. */
export function isGone(pid: number | undefined): boolean {
  return pid === undefined || !isAlive(pid);
}
