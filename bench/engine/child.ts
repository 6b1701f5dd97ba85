/** One engine in a process of its own: takes orders over IPC, one at a time; see process.ts. */
import { Engine, deviceMemoryInUse } from '../../native/index.js';
import { codeOf } from '../../src/errors.js';
import { loadConfig } from '../../src/config.js';
import { createLog } from '../../src/log.js';
import { type VideoEncoder, chooseEncoder, closeFaceDetector } from '../../worker/media/index.js';
import { type VideoRequest, makeVideo } from '../../worker/pipeline/video.js';
import type { Answers, Order, Reply, Sample } from './process.js';

let engine: Engine | undefined;
let encoder: VideoEncoder | undefined;
/** Most memory that was seen in use on the engine's GPU; null on the CPU. */
let peakDeviceBytes: number | null = null;
/** The engine keeps what it once took, so its peak is seen even where it is short. */
const sampleMs = 20;

function watchMemory(device: string): void {
  const sample = () => {
    peakDeviceBytes = Math.max(peakDeviceBytes ?? 0, deviceMemoryInUse(device));
  };
  sample();
  setInterval(sample, sampleMs).unref();
}

function loaded(): Engine {
  if (engine === undefined) throw new Error('no model is loaded');
  return engine;
}

/** As a worker chooses it. */
async function chosenEncoder({ size }: VideoRequest): Promise<VideoEncoder> {
  const { device, defaults } = loaded().info();
  const { width, height, fps } = defaults;
  const frame = { width: size ?? width, height: size ?? height, fps };
  const { videoEncoder: wanted } = loadConfig();
  return chooseEncoder({ wanted, device: device.id, ...frame }, createLog('warn'));
}

/** Numbers between 0 and 1, always the same. */
function numbers(shape: readonly number[]) {
  const count = shape.reduce((all, n) => all * n, 1);
  const data = Float32Array.from({ length: count }, (_, i) => ((i * 2654435761) >>> 0) / 2 ** 32);
  return { shape: [...shape], data };
}

const work: { [K in keyof Answers]: (order: Extract<Order, { kind: K }>) => Promise<Answers[K]> } =
  {
    load: async ({ options }) => {
      const { device = 'cpu' } = options;
      if (device !== 'cpu') watchMemory(device);
      engine = await Engine.load(options);
      return engine.info();
    },
    render: async ({ options }): Promise<Sample> => {
      const start = performance.now();
      let firstFrameMs: number | null = null;
      const { frames, timings } = await loaded().render(options, {
        onFrames: () => {
          firstFrameMs ??= performance.now() - start;
        },
      });
      const wallMs = performance.now() - start;
      return { wallMs, firstFrameMs, frames, timings, video: null };
    },
    video: async ({ request }): Promise<Sample> => {
      encoder ??= await chosenEncoder(request);
      const start = performance.now();
      const { frames, timings, milliseconds } = await makeVideo(loaded(), { ...request, encoder });
      const wallMs = performance.now() - start;
      const video = { ...milliseconds, encoder: encoder.name };
      return { wallMs, firstFrameMs: null, frames, timings, video };
    },
    network: async ({ network, shapes, runs }) => {
      const inputs = Object.fromEntries(
        Object.entries(shapes).map(([name, shape]) => [name, numbers(shape)]),
      );
      const times: number[] = [];
      for (let i = 0; i <= runs; i++) {
        const start = performance.now();
        await loaded().run(network, inputs);
        if (i > 0) times.push(performance.now() - start);
      }
      return times;
    },
  };

async function answer(order: Order): Promise<Reply> {
  try {
    const value = await (work[order.kind] as (order: Order) => Promise<Answers[Order['kind']]>)(
      order,
    );
    const peakHostBytes = process.resourceUsage().maxRSS * 1024;
    return { value, peakHostBytes, peakDeviceBytes };
  } catch (error) {
    return { code: codeOf(error), message: (error as Error).message };
  }
}

process.on('message', (order: Order) => {
  void answer(order).then((reply) => {
    if (process.connected) process.send!(reply);
  });
});
process.once('disconnect', () => {
  void Promise.all([engine?.dispose(), closeFaceDetector()]).finally(() => process.exit());
});
