import { createRequire } from 'node:module';
import { dirname, join, sep } from 'node:path';
import { parentPort } from 'node:worker_threads';

/**
 * The thread that runs the face detector: TensorFlow.js blocks whatever thread it computes on, and
 * the worker's own must keep renewing its lease. Weights and WASM binaries come from the npm
 * packages; nothing is downloaded.
 */
export interface FaceRequest {
  id: number;
  width: number;
  height: number;
  /** RGB */
  data: Uint8Array;
}

/** Edges in pixels of the picture that was sent. */
export interface RawFace {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
  score: number;
}

export interface FaceReply {
  id: number;
  faces?: RawFace[];
  error?: string;
}

/** The part of face-api used here; its own declarations would pull in all of TensorFlow's. */
interface FaceApi {
  tf: {
    setBackend(name: string): Promise<boolean>;
    ready(): Promise<void>;
    tensor3d(data: Uint8Array, shape: number[], type: 'int32'): { dispose(): void };
  };
  nets: { ssdMobilenetv1: { loadFromDisk(folder: string): Promise<void> } };
  SsdMobilenetv1Options: new (options: { minConfidence: number; maxResults: number }) => object;
  detectAllFaces(
    input: object,
    options: object,
  ): PromiseLike<{ score: number; box: { x: number; y: number; width: number; height: number } }[]>;
}

/** Weaker hints are nobody's face. What counts as one is decided in face.ts. */
const MIN_SCORE = 0.3;
const MAX_FACES = 50;

let loading: Promise<FaceApi> | undefined;

async function load(): Promise<FaceApi> {
  const require = createRequire(import.meta.url);
  const backend = require('@tensorflow/tfjs-backend-wasm') as {
    setWasmPaths(folder: string): void;
  };
  backend.setWasmPaths(dirname(require.resolve('@tensorflow/tfjs-backend-wasm')) + sep);
  const script = '@vladmandic/face-api/dist/face-api.node-wasm.js';
  const api = require(script) as FaceApi;
  if (!(await api.tf.setBackend('wasm'))) throw new Error('the WASM backend did not start');
  await api.tf.ready();
  await api.nets.ssdMobilenetv1.loadFromDisk(join(dirname(require.resolve(script)), '..', 'model'));
  return api;
}

async function detect(request: FaceRequest): Promise<RawFace[]> {
  const api = await (loading ??= load());
  const { width, height, data } = request;
  if (width === 0) return []; // only asked to be ready
  const tensor = api.tf.tensor3d(data, [height, width, 3], 'int32');
  try {
    const options = new api.SsdMobilenetv1Options({
      minConfidence: MIN_SCORE,
      maxResults: MAX_FACES,
    });
    const found = await api.detectAllFaces(tensor, options);
    return found.map(({ score, box }) => ({
      x0: box.x,
      y0: box.y,
      x1: box.x + box.width,
      y1: box.y + box.height,
      score,
    }));
  } finally {
    tensor.dispose();
  }
}

parentPort?.on('message', (request: FaceRequest) => {
  detect(request).then(
    (faces) => parentPort?.postMessage({ id: request.id, faces } satisfies FaceReply),
    (error: unknown) => {
      const text = error instanceof Error ? error.message : String(error);
      parentPort?.postMessage({ id: request.id, error: text } satisfies FaceReply);
    },
  );
});
