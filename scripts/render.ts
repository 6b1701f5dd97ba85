import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Engine } from '../native/index.js';
import { loadConfig } from '../src/config.js';
import { CodedError, codeOf } from '../src/errors.js';
import { createLog } from '../src/log.js';
import { chooseEncoder, closeFaceDetector } from '../worker/media/index.js';
import { loadOptions } from '../worker/pipeline/engine.js';
import { makeVideo } from '../worker/pipeline/video.js';
import { progressBar } from './progress-bar.js';
import { requireModel } from './stack.js';

const usage = `npm run render -- --image PORTRAIT --audio SPEECH --out VIDEO.mp4
  --steps N  --cfg X  --seed N  --frames N  --size PIXELS  --model NAME_OR_FOLDER
  --approximate`;

/** `npm run render`: what a task does, without any server. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      image: { type: 'string' },
      audio: { type: 'string' },
      out: { type: 'string' },
      steps: { type: 'string' },
      cfg: { type: 'string' },
      seed: { type: 'string' },
      frames: { type: 'string' },
      size: { type: 'string' },
      model: { type: 'string' },
      approximate: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  const { image, audio, out } = values;
  if (values.help === true || image === undefined || audio === undefined || out === undefined) {
    console.error(usage);
    process.exitCode = values.help === true ? 0 : 2;
    return;
  }
  for (const path of [image, audio]) {
    if (!existsSync(path)) throw new CodedError('BAD_REQUEST', `there is no file ${path}`);
  }
  const config = loadConfig();
  const model = values.model;
  const { modelFolder } =
    model === undefined
      ? config
      : loadConfig({ MODEL: model.includes('/') ? resolve(model) : model });
  requireModel({ ...config, modelFolder });
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  process.once('SIGTERM', () => stop.abort());
  const outPath = resolve(out);
  const partPath = join(dirname(outPath), `.${basename(outPath)}.${process.pid}.mp4`);
  await mkdir(dirname(outPath), { recursive: true });
  const engine = await Engine.load({
    ...loadOptions({ ...config, modelFolder }),
    ...(values.approximate === true ? { precision: 'approximate' as const } : {}),
  });
  const bar = progressBar();
  try {
    const start = performance.now();
    const { defaults, device } = engine.info();
    const { fps } = defaults;
    const size = number('size', values.size) ?? defaults.width;
    const encoder = await chooseEncoder(
      { wanted: config.videoEncoder, device: device.id, width: size, height: size, fps },
      createLog('warn'),
    );
    const result = await makeVideo(engine, {
      imagePath: resolve(image),
      audioPath: resolve(audio),
      outPath: partPath,
      steps: number('steps', values.steps),
      cfg: number('cfg', values.cfg),
      seed: number('seed', values.seed),
      frames: number('frames', values.frames),
      ...{ size, encoder, mark: config.visibleMark },
      maxAudioSeconds: config.tasks.maxAudioSeconds,
      signal: stop.signal,
      onStage: (stage, percent, message) => {
        const [from, to] = { face_detecting: [0, 5], inference: [5, 97], merging_audio: [97, 100] }[
          stage
        ] as [number, number];
        bar.show(from + ((to - from) * percent) / 100, message);
      },
    });
    await rename(partPath, outPath);
    bar.end();
    const took = ((performance.now() - start) / 1000).toFixed(1);
    console.log(
      `${out}: ${result.seconds.toFixed(1)} s, ${result.frames} frames of ` +
        `${result.width}x${result.height}, seed ${result.seed}, made in ${took} s`,
    );
  } finally {
    bar.end();
    await rm(partPath, { force: true });
    await engine.dispose();
    await closeFaceDetector();
  }
}

function number(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) {
    throw new CodedError('BAD_REQUEST', `--${name} must be a number, not "${text}"`);
  }
  return value;
}

try {
  await main();
} catch (error) {
  console.error(`${codeOf(error)}: ${(error as Error).message}`);
  process.exitCode = 1;
}
