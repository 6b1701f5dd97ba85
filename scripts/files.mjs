// What set-up, the addon's build and the doctor ask of the machine. Without dependencies, as they are.
import { existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Whether a program of this name lies in a folder of PATH. */
export function onPath(program) {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .some((folder) => folder !== '' && existsSync(join(folder, program)));
}

/** Paths of all files below a folder. */
export function filesUnder(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? filesUnder(path) : [path];
  });
}

/** As package.json says in `engines`; the same in words. */
export const neededNode = 'Node 20 (20.19 or later), 22 (22.12 or later) or newer';

export function isNodeNewEnough(version = process.versions.node) {
  const [major, minor] = version.split('.').map(Number);
  return major === 20 ? minor >= 19 : major === 22 ? minor >= 12 : major > 22;
}

/** System programs and the packages that bring them, per package manager. */
export const programs = [
  { anyOf: ['ffmpeg'], apt: ['ffmpeg'], brew: ['ffmpeg'] },
  { anyOf: ['ffprobe'], apt: ['ffmpeg'], brew: ['ffmpeg'] },
  { anyOf: ['redis-server'], apt: ['redis-server'], brew: ['redis'] },
  { anyOf: ['c++', 'g++', 'clang++'], apt: ['g++'], brew: [] },
  { anyOf: ['cmake', 'python3'], apt: ['cmake'], brew: ['cmake'] },
  { anyOf: ['make', 'ninja'], apt: ['make'], brew: ['ninja'] },
];

/** Folders of node_modules that the engine and the face detector need, and the API never. */
export const enginePackages = ['onnxruntime-node', '@tensorflow', '@vladmandic', 'core-js'];
