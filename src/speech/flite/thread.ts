import { parentPort, workerData } from 'node:worker_threads';
import { readWav } from '../../media/wav.js';
import { Command, outputPath } from './host.js';

/** Runs flite for the pool: one text in, one sound out. */
export interface ThreadData {
  readonly module: WebAssembly.Module;
}

export interface ThreadJob {
  readonly id: number;
  readonly text: string;
  readonly voice: string;
  /** Features of flite's voices, such as `duration_stretch`. */
  readonly features: Readonly<Record<string, number>>;
}

export type ThreadAnswer =
  | { readonly id: number; readonly pcm: ArrayBuffer; readonly sampleRate: number }
  | { readonly id: number; readonly error: string };

const { module } = workerData as ThreadData;
/** Made ahead of its text: that takes as long as speaking two words. */
let prepared: Command | undefined = new Command(module);

parentPort?.on('message', (job: ThreadJob) => {
  try {
    const { pcm, sampleRate } = run(job);
    parentPort?.postMessage({ id: job.id, pcm, sampleRate } satisfies ThreadAnswer, [pcm]);
  } catch (error) {
    const { message } = error as Error;
    parentPort?.postMessage({ id: job.id, error: message } satisfies ThreadAnswer);
  }
  prepared ??= new Command(module);
});

function run({ text, voice, features }: ThreadJob): { pcm: ArrayBuffer; sampleRate: number } {
  const settings = Object.entries(features).flatMap(([name, value]) => [
    '--setf',
    `${name}=${value.toFixed(3)}`,
  ]);
  // flite takes the argument after -t as it is, whatever it begins with
  const args = ['flite', '-voice', voice, ...settings, '-t', text, '-o', outputPath];
  const command = prepared ?? new Command(module);
  prepared = undefined;
  const { code, file, said } = command.run(args);
  const sound = code === 0 ? readWav(file) : undefined;
  if (sound === undefined) throw new Error(`flite ended with ${code} and said "${said.trim()}"`);
  return { pcm: new Uint8Array(sound.pcm).buffer, sampleRate: sound.sampleRate };
}
