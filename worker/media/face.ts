import { Worker } from 'node:worker_threads';
import { CodedError } from '../../src/errors.js';
import type { Pixels, Rect } from './crop.js';
import type { FaceReply, FaceRequest, RawFace } from './face-thread.js';
import { shrink } from './image.js';
import { cancelled, throwIfCancelled } from '../../src/media/process.js';

export interface Face {
  /** Edges in pixels of the picture, fractions and edges outside the picture included. */
  box: Rect;
  probability: number;
}

/** The detector's own input size: it would scale anything larger down to this. */
const DETECTOR_SIDE = 512;
const DETECT_TIMEOUT_MS = 60_000;
/** A thread without work gives its memory (about 200 MB) back. */
const IDLE_MS = 120_000;

/**
 * The official crop was tuned on MTCNN's boxes, which take in the whole forehead and the underside
 * of the chin; SSD MobileNet's end closer to the features. These shares of width and height, added
 * on each side, stand in the middle of a flat optimum over 36 renderings of two portraits (mirrored,
 * padded to 1 to 3 times the size): IoU with MTCNN's box 0.85 at least and 0.91 on average, against
 * 0.75 and 0.83 without. Symmetric, so that a mirrored picture gets the mirrored box.
 */
const WIDEN = 0.02;
const HEIGHTEN = 0.06;

/**
 * The official script takes the largest of the faces above 0.8. This detector scores clear faces
 * from 0.66 on, so when none is above 0.8 those above its own default of 0.5 count.
 */
const SURE = 0.8;
const LIKELY = 0.5;

export function likeMtcnn(face: RawFace): Rect {
  const dx = (face.x1 - face.x0) * WIDEN;
  const dy = (face.y1 - face.y0) * HEIGHTEN;
  return { x0: face.x0 - dx, y0: face.y0 - dy, x1: face.x1 + dx, y1: face.y1 + dy };
}

export function selectFace(faces: RawFace[]): RawFace | null {
  const area = (face: RawFace): number => (face.x1 - face.x0) * (face.y1 - face.y0);
  for (const least of [SURE, LIKELY]) {
    const found = faces.filter((face) => face.score > least).sort((a, b) => area(b) - area(a));
    if (found[0] !== undefined) return found[0];
  }
  return null;
}

interface Waiting {
  resolve: (faces: RawFace[]) => void;
  reject: (error: Error) => void;
}

function failed(why: string): CodedError {
  return new CodedError('FACE_DETECTION_FAILED', `the face detector failed: ${why}`);
}

/** One lazily started thread; its failure fails what waits, and the next request starts another. */
class DetectorThread {
  #worker: Worker | undefined;
  #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #idle: NodeJS.Timeout | undefined;

  async ask(picture: Omit<FaceRequest, 'id'>, signal: AbortSignal | undefined) {
    throwIfCancelled(signal);
    const worker = (this.#worker ??= this.#start());
    const id = this.#nextId++;
    clearTimeout(this.#idle);
    worker.ref();
    const timer = setTimeout(() => {
      this.#drop(worker, failed(`no answer within ${DETECT_TIMEOUT_MS / 1000} s`));
    }, DETECT_TIMEOUT_MS);
    let onAbort: (() => void) | undefined;
    try {
      return await new Promise<RawFace[]>((resolve, reject) => {
        this.#waiting.set(id, { resolve, reject });
        onAbort = () => reject(cancelled());
        signal?.addEventListener('abort', onAbort, { once: true });
        worker.postMessage({ id, ...picture } satisfies FaceRequest);
      });
    } finally {
      clearTimeout(timer);
      if (onAbort !== undefined) signal?.removeEventListener('abort', onAbort);
      this.#waiting.delete(id);
      if (this.#waiting.size === 0) this.#rest();
    }
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined) return;
    this.#drop(worker, failed('it was closed'));
    await worker.terminate();
  }

  #start(): Worker {
    const worker = new Worker(new URL('./face-thread.js', import.meta.url), {
      env: {},
      resourceLimits: { maxOldGenerationSizeMb: 512 },
    });
    worker.on('message', (reply: FaceReply) => {
      const waiting = this.#waiting.get(reply.id);
      if (reply.faces !== undefined) waiting?.resolve(reply.faces);
      else waiting?.reject(failed(reply.error ?? 'no reason given'));
    });
    worker.on('error', (error) => this.#drop(worker, failed(error.message)));
    worker.on('exit', (code) => this.#drop(worker, failed(`its thread ended (${code})`)));
    return worker;
  }

  #drop(worker: Worker, error: CodedError): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    clearTimeout(this.#idle);
    for (const { reject } of this.#waiting.values()) reject(error);
    void worker.terminate();
  }

  #rest(): void {
    const worker = this.#worker;
    if (worker === undefined) return;
    worker.unref();
    this.#idle = setTimeout(() => {
      this.#drop(worker, failed('it was idle'));
    }, IDLE_MS).unref();
  }
}

const thread = new DetectorThread();

/** The largest face of the picture, boxed as MTCNN would; null when there is none. */
export async function detectFace(
  image: Pixels,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<Face | null> {
  const small = await shrink(image, DETECTOR_SIDE);
  const { width, height } = small;
  const data = new Uint8Array(small.data);
  const faces = await thread.ask({ width, height, data }, options.signal);
  const face = selectFace(faces);
  if (face === null) return null;
  const box = likeMtcnn(face);
  const sx = image.width / width;
  const sy = image.height / height;
  return {
    box: { x0: box.x0 * sx, y0: box.y0 * sy, x1: box.x1 * sx, y1: box.y1 * sy },
    probability: face.score,
  };
}

/** Loads the detector ahead of the first picture. */
export async function warmFaceDetector(): Promise<void> {
  await thread.ask({ width: 0, height: 0, data: new Uint8Array(0) }, undefined);
}

/** Ends the detector's thread; a later picture starts it again. */
export async function closeFaceDetector(): Promise<void> {
  await thread.close();
}
