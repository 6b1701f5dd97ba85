import sharp from 'sharp';

/** In whose language the visible mark is, if there is one. */
export type Mark = 'off' | 'en' | 'zh';

/** A picture with the place where it lies on a frame; RGBA, 8 bits each. */
interface Label {
  readonly width: number;
  readonly height: number;
  readonly left: number;
  readonly top: number;
  readonly rgba: Uint8Array;
}

interface Glyph {
  /** Of a box that is 100 high. */
  readonly width: number;
  /** Strokes as an SVG path: no font has to be installed. */
  readonly path: string;
}

const latin: Record<string, Glyph> = {
  A: { width: 60, path: 'M2 100L30 0L58 100M13 66H47' },
  D: { width: 60, path: 'M6 0V100H26C48 100 57 78 57 50C57 22 48 0 26 0Z' },
  E: { width: 56, path: 'M54 0H6V100H54M6 48H46' },
  G: {
    width: 60,
    path: 'M56 20C48 4 38 0 30 0C12 0 3 20 3 50C3 80 12 100 31 100C44 100 56 92 56 78V56H34',
  },
  I: { width: 12, path: 'M6 0V100' },
  N: { width: 60, path: 'M5 100V0L55 100V0' },
  R: { width: 60, path: 'M6 100V0H34C50 0 56 12 56 26C56 42 48 51 34 51H6M32 51L57 100' },
  T: { width: 60, path: 'M0 0H60M30 0V100' },
  ' ': { width: 30, path: '' },
};
const chinese: Record<string, Glyph> = {
  ...latin,
  生: { width: 100, path: 'M30 4L14 40M24 27H90M18 58H84M2 94H98M53 2V94' },
  成: {
    width: 100,
    path: 'M14 26H94M14 26V54C14 76 11 88 3 97M14 50H44V74C44 83 40 83 31 81M58 2C60 50 72 84 92 95L95 78M87 44C79 66 64 83 42 95M74 3L86 14',
  },
};

/** Letters need less height than characters to be read. */
const labels = {
  en: { text: 'AI GENERATED', glyphs: latin, share: 0.032, least: 8, stroke: 15, gap: 26 },
  zh: { text: 'AI生成', glyphs: chinese, share: 0.05, least: 13, stroke: 9, gap: 18 },
};

/** The label of frames of that size: white on a dark plate, so it reads on any picture. */
async function drawLabel(
  mark: 'en' | 'zh',
  frame: { width: number; height: number },
): Promise<Label> {
  const { text, glyphs, share, least, stroke, gap } = labels[mark];
  const padding = 45;
  let x = padding;
  const strokes = [...text].map((letter) => {
    const { width, path } = glyphs[letter]!;
    const drawn = `<path transform="translate(${x} ${padding})" d="${path}"/>`;
    x += width + gap;
    return drawn;
  });
  const [boxWidth, boxHeight] = [x - gap + padding, 100 + 2 * padding];
  const wanted = Math.max(least, share * Math.min(frame.width, frame.height)) / 100;
  const scale = Math.min(wanted, frame.width / boxWidth, frame.height / boxHeight);
  const width = Math.round(boxWidth * scale);
  const height = Math.round(boxHeight * scale);
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"
    viewBox="0 0 ${boxWidth} ${boxHeight}" preserveAspectRatio="none">
    <rect width="${boxWidth}" height="${boxHeight}" rx="${padding}" fill="#000" fill-opacity="0.6"/>
    <g fill="none" stroke="#fff" stroke-width="${stroke}" stroke-linecap="round"
      stroke-linejoin="round">${strokes.join('')}</g></svg>`;
  const rgba = await sharp(Buffer.from(svg)).ensureAlpha().raw().toBuffer();
  const margin = Math.round(0.02 * Math.min(frame.width, frame.height));
  return {
    ...{ width, height, rgba },
    left: Math.max(0, frame.width - width - margin),
    top: Math.max(0, frame.height - height - margin),
  };
}

/**
 * What puts the mark on frames of that size: RGB24, one after another in a buffer, which is left as
 * it is. Without a mark it gives the frames back.
 */
export async function marker(
  mark: Mark,
  frame: { readonly width: number; readonly height: number },
): Promise<(frames: Buffer) => Buffer> {
  if (mark === 'off') return (frames) => frames;
  const label = await drawLabel(mark, frame);
  const frameBytes = frame.width * frame.height * 3;
  return (frames) => {
    const marked = Buffer.from(frames);
    for (let start = 0; start < marked.length; start += frameBytes) {
      for (let y = 0; y < label.height; y++) {
        let to = start + ((label.top + y) * frame.width + label.left) * 3;
        let from = y * label.width * 4;
        for (let x = 0; x < label.width; x++, from += 4) {
          const alpha = label.rgba[from + 3]! / 255;
          for (let channel = 0; channel < 3; channel++, to++) {
            marked[to] = Math.round(
              marked[to]! * (1 - alpha) + label.rgba[from + channel]! * alpha,
            );
          }
        }
      }
    }
    return marked;
  };
}
