import { cropAndResize, paintMask, planFaceCrop, planWholeImage } from './crop.js';
import type { Pixels, Rect } from './crop.js';
import { detectFace } from './face.js';
import { loadImage } from './image.js';
import { throwIfCancelled } from '../../src/media/process.js';

export interface PortraitOptions {
  /** Width and height of the result; the model's. */
  size: number;
  /** Otherwise the whole picture is used. True by default. */
  findFace?: boolean | undefined;
  signal?: AbortSignal | undefined;
  /** Receives the name of each stage as it begins. */
  onStage?: (stage: 'decode' | 'face' | 'crop') => void;
}

export interface Portrait {
  /** RGB, size x size. */
  image: Pixels;
  /** 255 where the face is, size x size. */
  faceMask: Pixels;
  /** Null when no face was found, or looked for: then the whole picture is used and all of it is masked. */
  face: { box: Rect; probability: number } | null;
  /** What was cut out of the upright picture. */
  square: Rect;
}

/** Any accepted picture as the engine wants it: upright, cut around the largest face, with its mask. */
export async function preparePortrait(path: string, options: PortraitOptions): Promise<Portrait> {
  const { size, findFace = true, signal, onStage } = options;
  onStage?.('decode');
  const picture = await loadImage(path, { signal });
  onStage?.('face');
  const found = findFace ? await detectFace(picture, { signal }) : null;
  throwIfCancelled(signal);
  onStage?.('crop');
  const plan = found === null ? null : planFaceCrop(found.box, picture.width, picture.height);
  const face =
    found === null || plan === null ? null : { box: plan.box, probability: found.probability };
  const { square, mask } = plan ?? planWholeImage(picture.width, picture.height);
  const side = square.x1 - square.x0;
  const painted = paintMask(mask, square);
  return {
    image: cropAndResize(picture, square, size, size),
    faceMask: cropAndResize(painted, { x0: 0, y0: 0, x1: side, y1: side }, size, size),
    face,
    square,
  };
}
