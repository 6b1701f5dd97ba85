import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { errorCodes } from '../../src/errors.js';
import { decodeAudio } from '../../src/media/audio.js';
import { wavFile } from '../../src/media/wav.js';
import { preparePortrait } from '../../worker/media/index.js';
import { ffmpeg, folder, refusal, sine } from '../helpers/media.js';
import {
  type HostileFile,
  mutated,
  pictureBombs,
  pictures,
  random,
  soundBombs,
} from './hostile-files.js';

const seed = 20_261_122;
const MiB = 1024 * 1024;
const maxSeconds = 20;
const picturesEach = 60;
/** A bomb may not take more than a picture of the largest size accepted does, several times over. */
const maxGrowth = 1200 * MiB;

/** What became of each file; whatever is refused is refused with a code that tells it. */
async function outcomes(
  files: readonly HostileFile[],
  read: (file: HostileFile) => Promise<unknown>,
  atOnce: number,
): Promise<Map<string, string>> {
  const results = new Map<string, string>();
  const left = [...files];
  const work = async () => {
    for (let file = left.pop(); file !== undefined; file = left.pop()) {
      const { code, message } = await refusal(read(file));
      const isClear = code === 'accepted' || (Object.hasOwn(errorCodes, code) && message !== '');
      results.set(
        file.name,
        isClear && !/passwd|root:/.test(message) ? code : `${code}: ${message}`,
      );
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return results;
}

async function soundSources(path: string): Promise<HostileFile[]> {
  const wav = join(path, 'source.wav');
  writeFileSync(wav, wavFile(sine(4800), 16_000));
  return ['mp3', 'ogg', 'm4a', 'flac', 'webm', 'wav'].map((name) => {
    const file = join(path, `source.${name}`);
    if (name !== 'wav') ffmpeg('-i', wav, ...(name === 'webm' ? ['-c:a', 'libopus'] : []), file);
    return { name, data: readFileSync(file) };
  });
}

const mediaCode = /^(accepted|(IMAGE|AUDIO)_[A-Z_]+)$/;

void t.test('hostile pictures end with a code, within memory', async (t) => {
  const path = folder(t);
  const files = [...pictureBombs(), ...mutated(await pictures(), picturesEach, seed)];
  const before = process.memoryUsage.rss();
  let most = 0;
  const results = await outcomes(
    files,
    async ({ name, data }) => {
      const file = join(path, `${random(name.length)(1)}-${name.replace(/\W/g, '_')}`);
      writeFileSync(file, data);
      await preparePortrait(file, { size: 64, findFace: false }).finally(() => {
        most = Math.max(most, process.memoryUsage.rss() - before);
      });
    },
    4,
  );
  t.equal(results.size, files.length);
  for (const [name, code] of results) t.match(code, mediaCode, name);
  for (const { name } of pictureBombs()) {
    if (/gif of many|whose (text|profile)|million chunks/.test(name)) continue;
    t.not(results.get(name), 'accepted', name);
  }
  t.ok(most < maxGrowth, `${Math.round(most / MiB)} MiB more at most`);
});

void t.test('hostile sounds end with a code', async (t) => {
  const path = folder(t);
  const files = [...soundBombs(), ...mutated(await soundSources(path), 7, seed + 1)];
  const results = await outcomes(
    files,
    async ({ name, data }) => {
      const file = join(path, name.replace(/\W/g, '_'));
      writeFileSync(file, data);
      await decodeAudio(file, { maxSeconds });
    },
    4,
  );
  t.equal(results.size, files.length);
  for (const [name, code] of results) t.match(code, mediaCode, name);
  for (const { name } of soundBombs()) {
    if (name === 'wav of odd blocks') continue;
    t.not(results.get(name), 'accepted', name);
  }
  const pictureCount = pictureBombs().length + 4 * picturesEach;
  t.ok(files.length + pictureCount >= 300, 'the whole corpus has at least 300 files');
});
