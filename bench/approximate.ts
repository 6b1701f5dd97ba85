/**
 * The approximate mode for CPUs beside the exact one, in one run: how much faster, and how far away.
 *
 *   npm run bench -- approximate [--model NAME_OR_FOLDER] [--seconds 4] [--runs 3] [--threads N]
 *
 * Both make the same clips of the bundled portraits and words, in turn. "mouth follows speech" is the
 * correlation of the open mouth's dark area with the opening that the words ask for, "mouth as exact"
 * with that of the exact clip; both know faces that are framed as the bundled ones. Another seed
 * shows how far apart two clips are that are equally right.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Engine, type RenderOptions } from '../native/index.js';
import { decodeAudio } from '../src/media/audio.js';
import { projectRoot } from '../src/paths.js';
import { closeFaceDetector, preparePortrait } from '../worker/media/index.js';
import { modelFolderOf, numberOf } from './engine/options.js';
import { correlation, darkAreas, openingOf, psnr } from './likeness.js';
import { percentile } from './report/statistics.js';
import { short, table } from './report/table.js';

const samples = join(projectRoot, 'weights', 'bundled', 'samples');
const sampleRate = 16_000;

interface Clip {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly width: number;
  readonly height: number;
  readonly data: Buffer;
}

async function render(engine: Engine, options: RenderOptions): Promise<Clip> {
  const chunks: Buffer[] = [];
  const [start, cpuStart] = [performance.now(), process.cpuUsage()];
  const { width, height } = await engine.render(options, {
    onFrames: ({ data }) => void chunks.push(Buffer.from(data)),
  });
  const cpu = process.cpuUsage(cpuStart);
  return {
    seconds: (performance.now() - start) / 1000,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    ...{ width, height },
    data: Buffer.concat(chunks),
  };
}

/** What is compared: the first one is the measure of the others. */
const kinds = [
  { name: 'exact', precision: 'exact', change: {}, timed: true },
  { name: 'approximate', precision: 'approximate', change: {}, timed: true },
  { name: '  windows as exact', precision: 'approximate', change: 'overlap', timed: true },
  { name: '  numbers as exact', precision: 'exact', change: { contextOverlap: 0 }, timed: true },
  { name: 'exact, another seed', precision: 'exact', change: { seed: 2 }, timed: false },
] as const;

const header = [
  ...['clip', 'seconds', 'of CPUs', 'faster', 'PSNR, dB', 'worst frame'],
  ...['mouth follows speech', 'mouth as exact'],
];

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: 'string' },
      seconds: { type: 'string', default: '4' },
      runs: { type: 'string', default: '3' },
      threads: { type: 'string' },
    },
  });
  const seconds = numberOf('seconds', values.seconds, { least: 0.5 })!;
  const runs = numberOf('runs', values.runs, { least: 1, whole: true })!;
  const threads = numberOf('threads', values.threads, { least: 1, whole: true });
  const common = {
    model: modelFolderOf(values.model),
    ...(threads === undefined ? {} : { threads }),
  };
  const engines = {
    exact: await Engine.load({ ...common, device: 'cpu', precision: 'exact' }),
    approximate: await Engine.load({ ...common, device: 'cpu', precision: 'approximate' }),
  };
  const { defaults, int8 } = engines.approximate.info();
  const { fps, width: size, contextOverlap } = defaults;
  if (!int8) console.log('This CPU has no fast 8-bit products: only the windows differ.\n');
  const audio = (await decodeAudio(join(samples, 'speech.wav'))).slice(0, seconds * sampleRate);
  const frames = Math.round((audio.length / sampleRate) * fps);
  const wanted = openingOf(audio, frames, fps);
  const rows: string[][] = [];
  for (const portrait of ['portrait.png', 'portrait-2.png']) {
    const { image, faceMask } = await preparePortrait(join(samples, portrait), { size });
    const options = { image, faceMask, audio, frames, seed: 1 };
    const one = ({ precision, change }: (typeof kinds)[number]) =>
      render(engines[precision], {
        ...options,
        ...(change === 'overlap' ? { contextOverlap } : change),
      });
    if (rows.length === 0) for (const kind of kinds.slice(0, 2)) await one(kind);
    const made: Clip[][] = kinds.map(() => []);
    for (let run = 0; run < runs; run++) {
      for (const [i, kind] of kinds.entries()) {
        if (kind.timed || run === 0) made[i]!.push(await one(kind));
      }
    }
    const exact = made[0]!;
    const exactMouth = darkAreas(exact[0]!);
    for (const [i, { name, timed }] of kinds.entries()) {
      const clips = made[i]!;
      const { data } = clips[0]!;
      const bytes = data.length / frames;
      const worst = Array.from({ length: frames }, (_, frame) => {
        const part = (clip: Buffer) => clip.subarray(frame * bytes, (frame + 1) * bytes);
        return psnr(part(data), part(exact[0]!.data));
      });
      const mouth = darkAreas(clips[0]!);
      const middle = (value: (clip: Clip) => number) => percentile(clips.map(value), 0.5);
      const ratios = clips.map((clip, run) => exact[run]!.cpuSeconds / clip.cpuSeconds);
      const dash = (text: string, said: boolean) => (said ? text : '-');
      rows.push([
        `${portrait}: ${name}`,
        dash(short(middle((clip) => clip.seconds)), timed),
        dash(short(middle((clip) => clip.cpuSeconds)), timed),
        dash(percentile(ratios, 0.5).toFixed(2), timed && i > 0),
        dash(psnr(data, exact[0]!.data).toFixed(1), i > 0),
        dash(Math.min(...worst).toFixed(1), i > 0),
        correlation(mouth, wanted).toFixed(3),
        dash(correlation(mouth, exactMouth).toFixed(4), i > 0),
      ]);
    }
  }
  console.log(`${frames} frames of ${size} pixels, ${runs} runs, medians\n`);
  console.log(table(header, rows));
  await closeFaceDetector();
  await Promise.all(Object.values(engines).map((engine) => engine.dispose()));
}

await main();
