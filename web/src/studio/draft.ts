import { batch, computed, signal } from '@preact/signals';
import type { TaskOptions } from '../../../src/client/index.js';
import { askLogin } from '../account/login.js';
import { type Failure, failureOf } from '../failure.js';
import { t } from '../i18n/index.js';
import { server } from '../server.js';
import { stored } from '../stored.js';
import { type Chosen, Unfit, chooseAudio, choosePortrait } from './files.js';
import { type Render, type Settings, addRender } from './renders.js';

/** What stands in the fields: texts, which may be empty or wrong. */
export type Fields = Readonly<Record<'steps' | 'cfg' | 'seed' | 'size' | 'frames', string>>;
export const noFields: Fields = { steps: '', cfg: '', seed: '', size: '', frames: '' };

export interface Range {
  readonly least: number;
  readonly most: number;
  readonly isWhole: boolean;
}
export const ranges: Record<Exclude<keyof Fields, 'size'>, Range> = {
  steps: { least: 1, most: 200, isWhole: true },
  cfg: { least: 0, most: 50, isWhole: false },
  seed: { least: 0, most: Number.MAX_SAFE_INTEGER, isWhole: true },
  frames: { least: 1, most: 1_000_000, isWhole: true },
};

function isFields(value: unknown): value is Fields {
  const fields = value as Partial<Fields> | null;
  return Object.keys(noFields).every((name) => typeof fields?.[name as keyof Fields] === 'string');
}

export const fields = stored<Fields>('studio', noFields, isFields);
export const portrait = signal<Chosen | undefined>();
export const audio = signal<Chosen | undefined>();
export const problems = signal<{ readonly portrait?: Failure; readonly audio?: Failure }>({});
/** What the server renders; undefined until it has said so. */
export const options = signal<TaskOptions | undefined>();
export const failure = signal<Failure | undefined>();
/** What is on its way now, and how far. */
export const sending = signal<
  { readonly what: 'portrait' | 'audio' | 'task'; readonly percentage?: number } | undefined
>();
let abort: AbortController | undefined;

/** The model that most devices have. */
export const model = computed(
  () => [...(options.value?.models ?? [])].sort((a, b) => b.devices - a.devices)[0],
);

/** Whether no device makes pictures by a model. */
export const isBuiltOnSimulation = computed(() => {
  const models = options.value?.models ?? [];
  return models.length > 0 && models.every(({ simulated }) => simulated);
});

/** Why a field is wrong; undefined when it is not. */
export function fieldProblem(name: keyof typeof ranges): string | undefined {
  const text = fields.value[name].trim();
  if (text === '') return undefined;
  const { least, most, isWhole } = ranges[name];
  const value = Number(text);
  const isGood = value >= least && value <= most && (!isWhole || Number.isInteger(value));
  return isGood ? undefined : t().studio.outOfRange(least, most, isWhole);
}

export const hasFiles = computed(() => portrait.value !== undefined && audio.value !== undefined);

export const isReady = computed(
  () =>
    hasFiles.value &&
    sending.value === undefined &&
    Object.keys(ranges).every((name) => fieldProblem(name as keyof typeof ranges) === undefined),
);

const askMs = 4000;

/** Asks what the server renders, again and again until it has a device; returns what ends that. */
export function followOptions(): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isOver = false;
  const ask = async () => {
    try {
      options.value = await server.tasks.options();
    } catch {
      // whatever is done next says so
    }
    const hasDevice = (options.value?.models.length ?? 0) > 0;
    if (!isOver && !hasDevice) timer = setTimeout(() => void ask(), askMs);
  };
  void ask();
  return () => {
    isOver = true;
    clearTimeout(timer);
  };
}

export async function takePortrait(file: File): Promise<void> {
  await take('portrait', () => choosePortrait(file, options.value?.limits));
}

export async function takeAudio(file: Blob, name: string, seconds?: number): Promise<void> {
  await take('audio', () => chooseAudio(file, name, options.value?.limits, seconds));
}

async function take(which: 'portrait' | 'audio', choose: () => Promise<Chosen>): Promise<void> {
  const { [which]: _, ...others } = problems.value;
  try {
    const chosen = await choose();
    problems.value = others;
    replace(which, chosen);
  } catch (error) {
    const why = error instanceof Unfit ? error.failure : failureOf(error);
    problems.value = { ...others, [which]: why };
    replace(which, undefined);
  }
}

export function replace(which: 'portrait' | 'audio', chosen: Chosen | undefined): void {
  const place = which === 'portrait' ? portrait : audio;
  if (place.value?.file !== undefined) URL.revokeObjectURL(place.value.url);
  place.value = chosen;
}

/** The fields as the server wants them. A seed is always named, so that it can be told afterwards. */
export function settingsOf({ steps, cfg, seed, size, frames }: Fields): Settings {
  const number = (text: string) => (text.trim() === '' ? undefined : Number(text));
  const given = {
    ...{ steps: number(steps), cfg: number(cfg), size: number(size), frames_num: number(frames) },
    seed: number(seed) ?? crypto.getRandomValues(new Uint32Array(1))[0],
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

/** Puts the files and settings of a render into the form. */
export function reuse({ settings, ...render }: Render): void {
  const text = (value: number | undefined) => (value === undefined ? '' : String(value));
  batch(() => {
    fields.value = {
      ...{ steps: text(settings.steps), cfg: text(settings.cfg), seed: text(settings.seed) },
      ...{ size: text(settings.size), frames: text(settings.frames_num) },
    };
    problems.value = {};
    failure.value = undefined;
    replace('portrait', {
      ...{ name: render.portrait, fileId: render.imageId, thumbnail: render.thumbnail },
      url: server.fileUrl(render.imageId),
    });
    replace('audio', {
      ...{ name: render.audio, fileId: render.audioId, seconds: render.seconds },
      url: server.fileUrl(render.audioId),
    });
  });
}

export function cancelSending(): void {
  abort?.abort();
}

/** Sends the files and the task; the id of the task, or undefined when that came to nothing. */
export async function render(mayAsk = true): Promise<string | undefined> {
  const [picture, sound] = [portrait.value, audio.value];
  if (picture === undefined || sound === undefined || sending.value !== undefined) return undefined;
  failure.value = undefined;
  abort = new AbortController();
  const { signal } = abort;
  try {
    const settings = settingsOf(fields.value);
    const image_id = await uploaded('portrait', picture, signal);
    const audio_id = await uploaded('audio', sound, signal);
    sending.value = { what: 'task' };
    const made = await server.tasks.create({ image_id, audio_id, ...settings }, { signal });
    addRender({
      ...{ id: made.task_id, createdAt: Date.now(), imageId: image_id, audioId: audio_id },
      ...{ portrait: picture.name, audio: sound.name, settings: { ...settings, seed: made.seed } },
      ...{ thumbnail: picture.thumbnail, seconds: sound.seconds },
      ...{ status: 'queued', percentage: 0, seq: 0, position: made.position },
    });
    return made.task_id;
  } catch (error) {
    sending.value = undefined;
    if (signal.aborted) return undefined;
    const why = failureOf(error);
    if (why.code === 'UNAUTHORIZED' && mayAsk && (await askLogin(t().studio.loginToRender))) {
      return await render(false);
    }
    if (why.code === 'TASK_FILE_NOT_FOUND') forgetUploads();
    failure.value = why;
    return undefined;
  } finally {
    sending.value = undefined;
  }
}

async function uploaded(
  what: 'portrait' | 'audio',
  chosen: Chosen,
  signal: AbortSignal,
): Promise<string> {
  if (chosen.fileId !== undefined || chosen.file === undefined) return chosen.fileId ?? '';
  sending.value = { what, percentage: 0 };
  const { file_id: fileId } = await server.upload(chosen.file, {
    ...{ name: chosen.name, signal },
    onProgress: (sent, total) => (sending.value = { what, percentage: (100 * sent) / total }),
  });
  const place = what === 'portrait' ? portrait : audio;
  if (place.value === chosen) place.value = { ...chosen, fileId };
  return fileId;
}

/** They have expired: those that are here are sent again, others have to be chosen again. */
function forgetUploads(): void {
  for (const place of [portrait, audio]) {
    const chosen = place.value;
    place.value = chosen?.file === undefined ? undefined : { ...chosen, fileId: undefined };
  }
}
