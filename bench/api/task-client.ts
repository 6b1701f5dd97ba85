import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { upload } from '../../scripts/temp-files.js';
import { EchoMimicClient } from '../../src/client/index.js';
import { projectRoot } from '../../src/paths.js';
import { keys } from '../../src/queue/keys.js';
import type { Redis } from '../../src/queue/redis.js';
import { type TaskUpdate, isEnd } from '../../src/queue/update.js';
import type { Service } from './service.js';

const portrait = join(projectRoot, 'weights', 'bundled', 'samples', 'portrait.png');

/** A task that ended well; times in milliseconds since its push. */
export interface DoneTask {
  readonly taken: number;
  readonly whole: number;
  readonly attempt: number;
}

interface OpenTask {
  readonly pushed: number;
  taken?: number;
  readonly hear: (update: TaskUpdate) => void;
  readonly done: (task: DoneTask) => void;
  readonly fail: (error: Error) => void;
}

/** Pushes tasks as any client of Redis does, and hears what becomes of them. */
export class TaskClient {
  readonly #service: Service;
  readonly #client: Redis;
  readonly #files: { ref_image_id: string; audio_id: string };
  readonly #open = new Map<string, OpenTask>();

  private constructor(service: Service, files: { ref_image_id: string; audio_id: string }) {
    this.#service = service;
    this.#client = service.connect();
    this.#files = files;
  }

  /** All its tasks show the bundled portrait with this sound, a WAV file. */
  static async open(service: Service, sound: Uint8Array<ArrayBuffer>): Promise<TaskClient> {
    const { url, config } = service;
    const http = new EchoMimicClient({ baseUrl: url });
    const client = new TaskClient(service, {
      ref_image_id: await upload(http, portrait),
      audio_id: (await http.upload(new Blob([sound]), { name: 'sound.wav' })).file_id,
    });
    const subscriber = service.connect();
    subscriber.on('message', (_channel: string, text: string) => client.#hear(text));
    await subscriber.subscribe(config.progressChannel);
    return client;
  }

  #hear(text: string): void {
    const now = performance.now();
    const update = JSON.parse(text) as TaskUpdate;
    const task = this.#open.get(update.task_id);
    if (task === undefined) return;
    task.taken ??= now - task.pushed;
    task.hear(update);
    if (!isEnd(update)) return;
    this.#open.delete(update.task_id);
    const { taken, pushed } = task;
    if (update.status === 'failed') task.fail(new Error(`a task failed: ${update.error}`));
    else task.done({ taken, whole: now - pushed, attempt: update.attempt ?? 0 });
  }

  /** Resolves with a task that completes; rejects when it fails. */
  async run(
    gpuId: number,
    options: Readonly<Record<string, unknown>>,
    hear: (update: TaskUpdate) => void = () => {},
  ): Promise<DoneTask> {
    const task_id = randomUUID();
    const ended = new Promise<DoneTask>((done, fail) => {
      this.#open.set(task_id, { pushed: performance.now(), hear, done, fail });
    });
    const task = { task_id, session_id: 'bench', ...this.#files, ...options };
    await this.#client.rpush(keys.queue(this.#service.config, gpuId), JSON.stringify(task));
    return ended;
  }
}
