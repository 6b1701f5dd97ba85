import { signal } from '@preact/signals';
import { ApiError, type NewTask, type TaskUpdate } from '../../../src/client/index.js';
import { server } from '../server.js';

export type Settings = Omit<NewTask, 'image_id' | 'audio_id'>;

/** `forgotten`: the server knows nothing of it any more. */
export type RenderStatus = TaskUpdate['status'] | 'forgotten';

/** One video that this browser had made, or has made now. */
export interface Render {
  readonly id: string;
  readonly createdAt: number;
  readonly portrait: string;
  readonly audio: string;
  readonly imageId: string;
  readonly audioId: string;
  readonly settings: Settings;
  readonly seconds?: number | undefined;
  readonly thumbnail?: string | undefined;
  readonly status: RenderStatus;
  readonly percentage: number;
  readonly seq: number;
  readonly position?: number | undefined;
  readonly code?: string | undefined;
  readonly error?: string | undefined;
  readonly videoId?: string | undefined;
  /** Its video is not there any more. */
  readonly isExpired?: boolean | undefined;
  /** Where its inference was first heard of; says how fast it is. */
  readonly from?: { readonly at: number; readonly percentage: number } | undefined;
}

const prefix = 'render:';
const mostKept = 60;
/** Browsers open few lines to one server: so many are listened to, the others are asked about. */
const mostWatched = 2;
const askMs = 4000;

/** Each under a name of its own, so that tabs do not write over each other's. */
export const renders = signal<readonly Render[]>(readAll());
/** Whether news of renders come; not while the server is away. */
export const isAway = signal(false);

const watched = new Map<string, AbortController>();
let asking: ReturnType<typeof setInterval> | undefined;

export const isOver = ({ status }: Pick<Render, 'status'>): boolean =>
  status === 'completed' || status === 'failed' || status === 'forgotten';

export function addRender(render: Render): void {
  keep(render);
  for (const old of renders.value.filter(isOver).slice(mostKept)) forget(old.id);
  follow();
}

export function markExpired(id: string): void {
  change(id, { isExpired: true });
}

/** Takes a render off the list. */
export function forget(id: string): void {
  watched.get(id)?.abort();
  renders.value = renders.value.filter((render) => render.id !== id);
  storage(() => localStorage.removeItem(prefix + id));
}

/** Hears of every render that is not over yet. */
export function follow(): void {
  const waiting = renders.value.filter((render) => !isOver(render)).reverse();
  for (const { id } of waiting) {
    if (watched.size >= mostWatched) break;
    if (!watched.has(id)) void watch(id);
  }
  asking ??= setInterval(() => void ask(), askMs);
  if (waiting.length === 0) {
    clearInterval(asking);
    asking = undefined;
  }
}

async function watch(id: string): Promise<void> {
  const abort = new AbortController();
  watched.set(id, abort);
  try {
    hear(
      await server.tasks.watch(id, hear, {
        signal: abort.signal,
        onLine: (isThere) => (isAway.value = !isThere),
      }),
    );
    watched.delete(id);
    follow();
  } catch (error) {
    watched.delete(id);
    // One that is refused is asked about from time to time, like those that nobody listens to.
    if (!abort.signal.aborted) lose(id, error);
  }
}

async function ask(): Promise<void> {
  for (const { id } of renders.value.filter((render) => !isOver(render))) {
    if (watched.has(id)) continue;
    try {
      hear(await server.tasks.get(id));
    } catch (error) {
      lose(id, error);
    }
  }
  follow();
}

function lose(id: string, error: unknown): void {
  const isGone = error instanceof ApiError && error.code === 'TASK_NOT_FOUND';
  if (isGone) change(id, { status: 'forgotten' });
}

export function hear(update: TaskUpdate): void {
  const { status, percentage, position, code, error, video_file_id: videoId, seq = 0 } = update;
  const render = renders.value.find(({ id }) => id === update.task_id);
  // Its end counts whatever its number: a Redis that lost some counts from there again.
  if (render === undefined || (seq < render.seq && !isOver(update))) return;
  const isNew = status === 'inference' && render.from === undefined;
  change(render.id, {
    ...{ status, percentage, position, code, error, videoId, seq },
    ...(isNew ? { from: { at: Date.now(), percentage } } : {}),
  });
}

function change(id: string, news: Partial<Render>): void {
  const render = renders.value.find((one) => one.id === id);
  if (render === undefined) return;
  const next = { ...render, ...news };
  renders.value = renders.value.map((one) => (one.id === id ? next : one));
  // How far it is, the server says again after a reload.
  if (next.status !== render.status || next.isExpired !== render.isExpired) keep(next);
}

function keep(render: Render): void {
  const others = renders.value.filter(({ id }) => id !== render.id);
  renders.value = [render, ...others].sort((a, b) => b.createdAt - a.createdAt);
  const { from: _, ...kept } = render;
  storage(() => localStorage.setItem(prefix + render.id, JSON.stringify(kept)));
}

/** What is not allowed, or full, holds for this page alone. */
function storage<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

function readAll(): Render[] {
  const names = storage(() => Object.keys(localStorage)) ?? [];
  return names
    .filter((name) => name.startsWith(prefix))
    .flatMap((name) => storage(() => read(localStorage.getItem(name))) ?? [])
    .sort((a, b) => b.createdAt - a.createdAt);
}

function read(text: string | null): Render[] {
  const value = JSON.parse(text ?? 'null') as Partial<Render> | null;
  const isRender =
    typeof value?.id === 'string' &&
    typeof value.status === 'string' &&
    typeof value.createdAt === 'number' &&
    typeof value.settings === 'object';
  return isRender ? [value as Render] : [];
}

addEventListener('storage', ({ key }) => {
  if (key !== null && !key.startsWith(prefix)) return;
  const here = new Map(renders.value.map((render) => [render.id, render]));
  // What another tab knows of a task that goes on is no newer than what is heard here.
  renders.value = readAll().map((render) => {
    const known = here.get(render.id);
    return known !== undefined && known.seq >= render.seq && !render.isExpired ? known : render;
  });
  follow();
});
