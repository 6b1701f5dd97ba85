import { Graph } from '../graph/builder.js';
import type { DataFile } from '../graph/data-file.js';
import { weightOf } from '../graph/weight.js';

export const melSizes = { sampleRate: 16000, window: 400, hop: 160, bands: 80 } as const;

/** Slaney's mel scale: linear below 1 kHz, logarithmic above. */
function melToHz(mel: number): number {
  const step = 200 / 3;
  const corner = 1000 / step;
  return mel < corner ? mel * step : 1000 * Math.exp((Math.log(6.4) / 27) * (mel - corner));
}

function hzToMel(hz: number): number {
  const step = 200 / 3;
  return hz < 1000 ? hz / step : 1000 / step + Math.log(hz / 1000) / (Math.log(6.4) / 27);
}

/** Triangles of equal area over the bins of the transform: `[bands, window / 2 + 1]`. */
export function melFilters(): Float32Array {
  const { sampleRate, window, bands } = melSizes;
  const bins = window / 2 + 1;
  const top = hzToMel(sampleRate / 2);
  const edges = Array.from({ length: bands + 2 }, (_, i) => melToHz((top * i) / (bands + 1)));
  const filters = new Float32Array(bands * bins);
  for (let band = 0; band < bands; band++) {
    const [low, mid, high] = [edges[band]!, edges[band + 1]!, edges[band + 2]!];
    for (let bin = 0; bin < bins; bin++) {
      const hz = (bin * sampleRate) / window;
      const height = Math.min((hz - low) / (mid - low), (high - hz) / (high - mid));
      filters[band * bins + bin] = (Math.max(0, height) * 2) / (high - low);
    }
  }
  return filters;
}

/** Rows of a windowed Fourier transform: cosines, then sines. `[2 (window / 2 + 1), window]` */
function fourierRows(): Float32Array {
  const { window } = melSizes;
  const bins = window / 2 + 1;
  const rows = new Float32Array(2 * bins * window);
  for (let bin = 0; bin < bins; bin++) {
    for (let n = 0; n < window; n++) {
      const hann = 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / window);
      const angle = (2 * Math.PI * ((bin * n) % window)) / window;
      rows[bin * window + n] = hann * Math.cos(angle);
      rows[(bins + bin) * window + n] = hann * Math.sin(angle);
    }
  }
  return rows;
}

/**
 * `pcm` [samples], mono at 16 kHz in -1..1, to `log_mel` [80, samples / 160], Whisper's log-mel
 * spectrogram of the whole clip (its ceiling is the maximum of the clip). Always float32. A clip
 * needs at least 201 samples, because its ends are mirrored.
 */
export function buildMel(data: DataFile): Graph {
  const g = new Graph('mel', data);
  const { window, hop, bands } = melSizes;
  const bins = window / 2 + 1;
  const pcm = g.input('pcm', ['samples']);
  const wave = g.node('Reshape', [pcm, g.ints([1, 1, -1])], {}, 'wave');
  const half = window / 2;
  const padded = g.node(
    'Pad',
    [wave, g.ints([0, 0, half, 0, 0, half])],
    { mode: 'reflect' },
    'mirrored',
  );
  const rows = g.weight('fourier', weightOf([2 * bins, 1, window], fourierRows()));
  const spectrum = g.node('Conv', [padded, rows], { strides: [hop] }, 'spectrum');
  const kept = g.node(
    'Slice',
    [spectrum, g.ints([0]), g.ints([-1]), g.ints([2])],
    {},
    'without_last_frame',
  );
  const parts = g.node('Reshape', [kept, g.ints([2, bins, -1])], {}, 'real_and_imaginary');
  const power = g.node('ReduceSumSquare', [parts, g.ints([0])], { keepdims: 0 }, 'power');
  const filters = g.weight('filters', weightOf([bands, bins], melFilters()));
  const mel = g.node('MatMul', [filters, power], {}, 'mel');
  const floor = g.node('Max', [mel, g.scalar(1e-10)], {}, 'floor');
  const log = g.node('Mul', [g.node('Log', [floor], {}, 'ln'), g.scalar(Math.LOG10E)], {}, 'log10');
  const top = g.node('ReduceMax', [log], { keepdims: 0 }, 'loudest');
  const lowest = g.node('Sub', [top, g.scalar(8)], {}, 'lowest');
  const clamped = g.node('Max', [log, lowest], {}, 'clamped');
  const scaled = g.node(
    'Mul',
    [g.node('Add', [clamped, g.scalar(4)], {}, 'shifted'), g.scalar(0.25)],
    {},
    'scaled',
  );
  g.output('log_mel', scaled, [bands, 'frames']);
  return g;
}
