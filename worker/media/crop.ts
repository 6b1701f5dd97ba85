/** Pixels as rows of `channels` bytes each. */
export interface Pixels {
  width: number;
  height: number;
  channels: number;
  data: Uint8Array;
}

/** Left and top edge inside, right and bottom edge outside, like slices. */
export interface Rect {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
}

export interface CropPlan {
  /** The face, in whole pixels. */
  box: Rect;
  /** The face with a margin of 0.1 on each side: what the mask fills. */
  mask: Rect;
  /** The face with a margin of 0.5 on each side, clipped to the image. */
  rect: Rect;
  /** The centred square of the rectangle's shorter side: what is cut out. */
  square: Rect;
}

const MASK_MARGIN = 0.1;
const CROP_MARGIN = 0.5;

/** numpy's round: halves go to the even neighbour. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

function clip(rect: Rect, width: number, height: number): Rect {
  return {
    x0: Math.max(0, rect.x0),
    y0: Math.max(0, rect.y0),
    x1: Math.min(width, rect.x1),
    y1: Math.min(height, rect.y1),
  };
}

function dilate(box: Rect, ratio: number): Rect {
  const x = Math.trunc((box.x1 - box.x0) * ratio);
  const y = Math.trunc((box.y1 - box.y0) * ratio);
  return { x0: box.x0 - x, y0: box.y0 - y, x1: box.x1 + x, y1: box.y1 + y };
}

/** `crop_and_pad` of the official repository, which never pads: the square of the shorter side. */
function squareOf(rect: Rect, width: number, height: number): Rect {
  let side = Math.min(rect.x1 - rect.x0, rect.y1 - rect.y0);
  const x0 = Math.max(0, Math.floor((rect.x0 + rect.x1) / 2) - Math.floor(side / 2));
  const y0 = Math.max(0, Math.floor((rect.y0 + rect.y1) / 2) - Math.floor(side / 2));
  side = Math.min(side, width - x0, height - y0);
  return { x0, y0, x1: x0 + side, y1: y0 + side };
}

/**
 * What the official script cuts and masks for a face at `box` (pixels, fractions allowed), or null
 * when the box does not leave a picture of at least 2x2 inside the image. One difference: a mask
 * that reaches over the upper or left edge is clipped there; the script's negative slice start
 * would leave the mask empty.
 */
export function planFaceCrop(box: Rect, width: number, height: number): CropPlan | null {
  const rounded: Rect = {
    x0: roundHalfEven(box.x0),
    y0: roundHalfEven(box.y0),
    x1: roundHalfEven(box.x1),
    y1: roundHalfEven(box.y1),
  };
  const rect = clip(dilate(rounded, CROP_MARGIN), width, height);
  if (!(rect.x1 - rect.x0 >= 2 && rect.y1 - rect.y0 >= 2)) return null;
  return {
    box: rounded,
    mask: clip(dilate(rounded, MASK_MARGIN), width, height),
    rect,
    square: squareOf(rect, width, height),
  };
}

/** No face: the centred square of the whole picture, all of it masked. */
export function planWholeImage(width: number, height: number): { square: Rect; mask: Rect } {
  const whole = { x0: 0, y0: 0, x1: width, y1: height };
  return { square: squareOf(whole, width, height), mask: whole };
}

/** The mask inside `square`: 255 where `mask` is, 0 elsewhere, one byte a pixel. */
export function paintMask(mask: Rect, square: Rect): Pixels {
  const side = square.x1 - square.x0;
  const data = new Uint8Array(side * side);
  const from = Math.min(side, Math.max(0, mask.x0 - square.x0));
  const to = Math.min(side, Math.max(from, mask.x1 - square.x0));
  for (let y = Math.max(0, mask.y0 - square.y0); y < Math.min(side, mask.y1 - square.y0); y++) {
    data.fill(255, y * side + from, y * side + to);
  }
  return { width: side, height: side, channels: 1, data };
}

interface Taps {
  first: Int32Array;
  second: Int32Array;
  firstWeight: Int32Array;
  secondWeight: Int32Array;
}

/** Source positions and 11-bit weights along one axis, as OpenCV computes them. */
function bilinearTaps(source: number, target: number): Taps {
  const taps: Taps = {
    first: new Int32Array(target),
    second: new Int32Array(target),
    firstWeight: new Int32Array(target),
    secondWeight: new Int32Array(target),
  };
  const scale = source / target;
  for (let i = 0; i < target; i++) {
    const position = Math.fround((i + 0.5) * scale - 0.5);
    let index = Math.floor(position);
    let fraction = Math.fround(position - index);
    if (index < 0) [index, fraction] = [0, 0];
    if (index >= source - 1) [index, fraction] = [source - 1, 0];
    taps.first[i] = index;
    taps.second[i] = Math.min(index + 1, source - 1);
    taps.firstWeight[i] = roundHalfEven(Math.fround(1 - fraction) * 2048);
    taps.secondWeight[i] = roundHalfEven(fraction * 2048);
  }
  return taps;
}

/**
 * Cuts `rect` out of the image and resizes it like OpenCV's `cv2.resize` (INTER_LINEAR, 8 bits): two
 * taps a side at half-pixel centres, no smoothing when shrinking, fixed-point arithmetic.
 */
export function cropAndResize(image: Pixels, rect: Rect, width: number, height: number): Pixels {
  const { channels, data } = image;
  const columns = bilinearTaps(rect.x1 - rect.x0, width);
  const rows = bilinearTaps(rect.y1 - rect.y0, height);
  const out = new Uint8Array(width * height * channels);
  const line = (y: number, into: Int32Array): void => {
    const base = ((rect.y0 + y) * image.width + rect.x0) * channels;
    for (let x = 0; x < width; x++) {
      const a = base + columns.first[x]! * channels;
      const b = base + columns.second[x]! * channels;
      const wa = columns.firstWeight[x]!;
      const wb = columns.secondWeight[x]!;
      for (let c = 0; c < channels; c++) {
        into[x * channels + c] = data[a + c]! * wa + data[b + c]! * wb;
      }
    }
  };
  const upper = new Int32Array(width * channels);
  const lower = new Int32Array(width * channels);
  for (let y = 0; y < height; y++) {
    line(rows.first[y]!, upper);
    line(rows.second[y]!, lower);
    const wu = rows.firstWeight[y]!;
    const wl = rows.secondWeight[y]!;
    for (let i = 0; i < upper.length; i++) {
      const sum = ((wu * (upper[i]! >> 4)) >> 16) + ((wl * (lower[i]! >> 4)) >> 16);
      out[y * upper.length + i] = (sum + 2) >> 2;
    }
  }
  return { width, height, channels, data: out };
}
