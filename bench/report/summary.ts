import type { Report, Row } from './schema.js';
import { orDash, short, table } from './table.js';

export const nameOf = (row: Row) =>
  `${row.scope} ${row.mode} ${row.device ?? 'all'}${row.engine === null ? '' : `/${row.engine}`}`;

const bytes = (value: number | null) => orDash(value, (n) => short(n / 2 ** 20));

/** What a run measured, for people. */
export function summary({ rows, machine, versions, settings, date }: Report): string {
  const { gpus, cpu, physicalCores, memoryBytes, loadBefore, loadAfter } = machine;
  const { width, height, steps, cfg, runs, warmUp } = settings;
  const head = [
    `${versions.model.name} (${versions.model.precision}), ${width}x${height}, ${steps} steps, cfg ${cfg}; ${runs} runs after ${warmUp}`,
    `${cpu}, ${physicalCores} cores, ${(memoryBytes / 2 ** 30).toFixed(0)} GiB${gpus.length > 0 ? `; ${gpus.join(', ')}` : ''}; ` +
      `Node ${versions.node}, ONNX Runtime ${versions.onnxRuntime}; ${date}; load ${loadBefore.toFixed(1)} before, ${loadAfter.toFixed(1)} after`,
  ];
  const body = table(
    [
      ...['', 's', 'frames', 'p50 ms', 'p95 ms', 'frames/s', 'x real time', 'first ms'],
      ...['audio', 'reference', 'window', 'frame', 'prepare', 'finish', 'RSS MiB', 'GPU MiB'],
      ...['encoder', 'provider'],
    ],
    rows.map((row) => [
      nameOf(row),
      short(row.seconds),
      String(row.frames),
      short(row.wallMs.p50),
      short(row.wallMs.p95),
      short(row.framesPerSecond.p50),
      short(row.realTimeFactor.p50),
      orDash(row.firstFrameMs?.p50),
      ...(['audio', 'reference', 'window', 'frame'] as const).map((stage) =>
        orDash(row.stages?.[stage].p50),
      ),
      orDash(row.video?.prepareMs.p50),
      orDash(row.video?.finishMs.p50),
      bytes(row.peakHostBytes),
      bytes(row.peakDeviceBytes),
      row.encoder ?? '-',
      row.provider ?? '-',
    ]),
  );
  const legend =
    'stages in ms (p50): window is one window of one step, frame one decoded frame; ' +
    'x real time: time to make over time to play; GPU: all that was in use there';
  return [...head, '', body, legend].join('\n');
}
