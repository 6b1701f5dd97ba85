import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gpus } from '../../../native/index.js';
import { driverGpus } from '../../../native/driver.js';
import { addonPaths } from '../../../native/load.js';
import { projectRoot } from '../../../src/paths.js';
import type { Check, Figure } from '../check.js';

const driverVersionFile = '/proc/driver/nvidia/version';

function run(program: string, args: readonly string[]) {
  return spawnSync(program, args, { cwd: projectRoot, encoding: 'utf8', maxBuffer: 1e8 });
}

/** The end of what a program said, where it failed. */
const tail = ({ stdout, stderr, error }: ReturnType<typeof run>) =>
  (error?.message ?? `${stdout}${stderr}`).trim().slice(-1500);

export const driver: Check = {
  name: 'driver',
  what: "NVIDIA's driver is loaded and shows GPUs",
  run: async () => {
    const names = driverGpus();
    const version = existsSync(driverVersionFile)
      ? /Kernel Module\s+(?:for \S+\s+)?([\d.]+)/.exec(readFileSync(driverVersionFile, 'utf8'))?.[1]
      : undefined;
    const visible = process.env['CUDA_VISIBLE_DEVICES'];
    return {
      figures: [
        { what: 'driver', value: version ?? 'none', isGood: version !== undefined },
        { what: 'GPUs', value: names.join(', ') || 'none', isGood: names.length > 0 },
        ...(visible === undefined ? [] : [{ what: 'CUDA_VISIBLE_DEVICES', value: visible }]),
      ],
    };
  },
};

export const build: Check = {
  name: 'build',
  what: 'the engine builds with CUDA on this machine',
  needs: ['driver'],
  run: async () => {
    const built = run(process.execPath, [join('scripts', 'build-addon.mjs'), '--cuda']);
    if (built.status !== 0) throw new Error(tail(built));
    const nvcc = /release ([\d.]+)/.exec(run('nvcc', ['--version']).stdout ?? '')?.[1];
    return {
      figures: [
        { what: 'addon', value: 'build/cuda', isGood: existsSync(addonPaths.cuda) },
        { what: 'CUDA toolkit', value: nvcc ?? 'nvcc is not on PATH' },
      ],
    };
  },
};

export const devices: Check = {
  name: 'devices',
  what: 'the engine lists every GPU that the driver shows to this process',
  needs: ['build'],
  run: async ({ device }) => {
    const listed = gpus();
    const hidden = process.env['CUDA_VISIBLE_DEVICES'] !== undefined;
    const shown = driverGpus().length;
    return {
      figures: [
        {
          what: 'listed',
          value: listed.devices.length,
          ...(hidden ? { least: 1 } : { least: shown, most: shown }),
        },
        ...listed.devices.map(({ id, name, memoryBytes, computeCapability = '?', cores }) => ({
          what: id,
          value: `${name}, ${(memoryBytes / 2 ** 30).toFixed(1)} GiB, sm_${computeCapability.replace('.', '')}, ${cores} multiprocessors`,
        })),
        {
          what: 'under test',
          value: device,
          isGood: listed.devices.some(({ id }) => id === device),
        },
        ...(listed.reason === undefined ? [] : [{ what: 'reason', value: listed.reason }]),
      ],
    };
  },
};

/** What `twins` says of each kernel: how many numbers it compared, and how many differ. */
export function readTwins(output: string): Figure[] {
  return [...output.matchAll(/^(.+): (?:(\d+) numbers|\d+), (\d+) differ$/gm)].map(
    ([, name, numbers, differ]) => ({
      what: `${name}${numbers === undefined ? '' : `, ${numbers} numbers`}, differ`,
      value: Number(differ),
      most: 0,
    }),
  );
}

export const kernels: Check = {
  name: 'kernels',
  what: 'every kernel computes on the GPU what the CPU engine computes, to the last bit; copies of the second stream see finished results',
  needs: ['devices'],
  run: async () => {
    const figures: Figure[] = [];
    for (const seed of ['1', '12345', String(Date.now())]) {
      const twins = run(join(projectRoot, 'build', 'cuda', 'Release', 'twins'), ['200', seed]);
      if (twins.status !== 0) throw new Error(`seed ${seed}: ${tail(twins)}`);
      const found = readTwins(twins.stdout);
      // the same kernels with each seed: one line with the worst will do
      for (const figure of found) {
        const known = figures.findIndex(
          ({ what }) => what.split(',')[0] === figure.what.split(',')[0],
        );
        if (known === -1) figures.push(figure);
        else if (Number(figure.value) > Number(figures[known]!.value)) figures[known] = figure;
      }
    }
    return { figures };
  },
};
