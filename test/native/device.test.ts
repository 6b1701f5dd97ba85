import t from 'tap';
import { Engine, type LoadOptions, type RenderOptions } from '../../native/index.js';
import { smallClip, testModel } from './clip.js';

type HostDevice = NonNullable<LoadOptions['hostDevice']>;

/** An engine with the loop of GPUs, the host being the device. */
const onHost = (changes: Partial<HostDevice> = {}): Promise<Engine> =>
  Engine.load({
    model: testModel,
    threads: 2,
    hostDevice: {
      standardGraphs: false,
      windows: 1,
      images: 1,
      outOfMemory: [],
      lostAt: 0,
      ...changes,
    },
  });

interface Made {
  frames: Buffer;
  latents: Float32Array[];
}

async function make(engine: Engine, changes: Partial<RenderOptions> = {}): Promise<Made> {
  const chunks: Uint8Array[] = [];
  const latents: Float32Array[] = [];
  await engine.render(smallClip(changes), {
    onFrames: ({ data }) => void chunks.push(data),
    onLatents: ({ data }) => void latents.push(data),
  });
  return { frames: Buffer.concat(chunks), latents };
}

const lanes = await Engine.load({ model: testModel, threads: 2 });
t.teardown(() => lanes.dispose());

const noise = Float32Array.from({ length: 4 * 9 * 64 }, (_, i) => 2 * Math.sin(i * i));
/** Windows that wrap around, fewer frames than a window, guidance, given noise, one frame. */
const clips: Partial<RenderOptions>[] = [
  {},
  { cfg: 3, steps: 3 },
  { frames: 9, noise },
  { frames: 1 },
  { frames: 5, contextOverlap: 0 },
];

t.test('the loop of GPUs makes what the CPU makes, to the last bit', async (t) => {
  const engine = await onHost();
  for (const clip of clips) t.same(await make(engine, clip), await make(lanes, clip));
  await engine.dispose();
});
