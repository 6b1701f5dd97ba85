import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { smallSize, writeCheckpoint } from '../../bench/synthetic/checkpoint.js';
import { Engine } from '../../native/index.js';
import { relativeError } from '../../scripts/golden/relative-error.js';
import { importModel } from '../../weights/import.js';
import type { Manifest } from '../../weights/manifest.js';
import { smallClip, speech } from './clip.js';

const root = t.testdir();
const checkpoint = join(root, 'pretrained_weights');
// head widths of 8 and 16, groups of several channels, three levels
await writeCheckpoint(checkpoint, { ...smallSize, channels: [32, 64, 32], audioLayers: 2 });

/** The same model without the graphs of fused operators. */
async function plainCopy(folder: string): Promise<string> {
  const copy = `${folder}-plain`;
  await cp(folder, copy, { recursive: true });
  const path = join(copy, 'manifest.json');
  const manifest = JSON.parse(await readFile(path, 'utf8')) as Manifest;
  const networks: Record<string, object> = {};
  for (const [name, network] of Object.entries(manifest.networks)) {
    const { cpuFile, ...rest } = network;
    if (cpuFile !== undefined) await rm(join(copy, cpuFile));
    networks[name] = rest;
  }
  const files = manifest.files.filter(({ path }) => !path.endsWith('.cpu.onnx'));
  await writeFile(path, JSON.stringify({ ...manifest, networks, files }));
  return copy;
}

interface Clip {
  readonly latents: Float32Array;
  readonly frames: Buffer;
}

async function render(
  model: string,
  threads: number,
  side = 64,
  precision: 'exact' | 'approximate' = 'exact',
): Promise<Clip> {
  const engine = await Engine.load({ model, threads, precision });
  const frames: Uint8Array[] = [];
  let latents = new Float32Array();
  const pixels = side * side;
  const picture = {
    image: {
      width: side,
      height: side,
      data: Uint8Array.from({ length: 3 * pixels }, (_, i) => (i * 31) % 251),
    },
    faceMask: { width: side, height: side, data: new Uint8Array(pixels).fill(255) },
  };
  await engine.render(smallClip({ ...picture, steps: 1, cfg: 2, audio: speech(0.3) }), {
    onFrames: ({ data }) => void frames.push(Uint8Array.from(data)),
    onLatents: ({ data }) => void (latents = Float32Array.from(data)),
  });
  await engine.dispose();
  return { latents, frames: Buffer.concat(frames) };
}

await t.test('fused operators compute what the standard ones do', async (t) => {
  for (const precision of ['fp32', 'fp16'] as const) {
    const model = join(root, precision);
    await importModel({ folder: checkpoint, out: model, precision });
    const plain = await plainCopy(model);
    // sides that vectors do not divide, too
    for (const side of precision === 'fp32' ? [64, 88] : [64]) {
      const fused = await render(model, 1, side);
      const standard = await render(plain, 1, side);
      const error = relativeError(fused.latents, standard.latents);
      t.ok(error < (precision === 'fp32' ? 1e-4 : 1e-2), `${precision}, ${side}: ${error}`);
      t.equal(fused.frames.length, standard.frames.length);
      if (side !== 64) continue;
      const threaded = await render(model, 2, side);
      t.ok(fused.frames.equals(threaded.frames), 'the same with any number of threads');
      const rough = relativeError(
        (await render(model, 1, side, 'approximate')).latents,
        fused.latents,
      );
      t.ok(rough > 1e-5 && rough < 0.1, `${precision}, approximate: ${rough}`);
    }
  }
});
