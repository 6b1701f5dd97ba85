import type { Peaks } from '../engine/options.js';
import type { RooflineReport, Timing } from '../report/schema.js';
import { orDash, percent, short, table } from '../report/table.js';
import { type ClipSizes, type NetworkCalls, growthOf } from './clip.js';

/** The counts of one call beside its time, where there is one, and what the hardware could do. */
export function timingOf(
  device: string,
  calls: NetworkCalls,
  callMs: number | null,
  { gflops, gbps }: Peaks,
): Timing {
  const each = (total: number) => total / calls.calls;
  const flops = each(calls.flops);
  const bytes = each(calls.weightBytes + calls.activationBytes);
  const speed = callMs === null ? null : flops / (callMs / 1000);
  const peak = gflops === undefined ? undefined : gflops * 1e9;
  const slope = gbps === undefined ? undefined : (gbps * 1e9 * flops) / bytes;
  const roof = peak === undefined || slope === undefined ? undefined : Math.min(peak, slope);
  const shareOf = (most: number | undefined) =>
    speed === null || most === undefined ? null : speed / most;
  return {
    device,
    network: calls.network,
    stage: calls.stage,
    calls: calls.calls,
    flops,
    matrixFlops: each(calls.matrixFlops),
    weightBytes: each(calls.weightBytes),
    activationBytes: each(calls.activationBytes),
    leastBytes: each(calls.leastBytes),
    callMs,
    flopsPerSecond: speed,
    shareOfPeak: shareOf(peak),
    shareOfRoof: shareOf(roof),
  };
}

/** Milliseconds that one call takes at best on hardware of these peaks, and what limits it. */
function roofOf(timing: Timing, { gflops, gbps }: Peaks): string {
  if (gflops === undefined && gbps === undefined) return orDash(null);
  const compute = gflops === undefined ? 0 : timing.flops / (gflops * 1e6);
  const memory =
    gbps === undefined ? 0 : (timing.weightBytes + timing.activationBytes) / (gbps * 1e6);
  return `${short(Math.max(compute, memory))} ${compute >= memory ? 'arithmetic' : 'memory'}`;
}

export function rooflineTable({ networks, peakGflops, peakGbps, growth }: RooflineReport): string {
  const peaks = { gflops: peakGflops ?? undefined, gbps: peakGbps ?? undefined };
  const body = table(
    [
      ...['one call of', 'calls', 'GFLOP', 'matrix', 'weights MB', 'activations MB', 'least MB'],
      ...['FLOP/byte', 'ms', 'GFLOP/s', 'of peak', 'of roof', 'ms at the roof'],
    ],
    networks.map((one) => [
      `${one.device} ${one.network}`,
      String(one.calls),
      short(one.flops / 1e9),
      percent(one.matrixFlops / one.flops),
      ...[one.weightBytes, one.activationBytes, one.leastBytes].map((n) => short(n / 1e6)),
      short(one.flops / (one.weightBytes + one.activationBytes)),
      orDash(one.callMs),
      orDash(one.flopsPerSecond, (n) => short(n / 1e9)),
      orDash(one.shareOfPeak, percent),
      orDash(one.shareOfRoof, percent),
      roofOf(one, peaks),
    ]),
  );
  const parts = Object.values(growth).map((flops) => short(flops / 1e9));
  return [
    body,
    'bytes: as if every operator read and wrote memory; least: weights, inputs and outputs once',
    `a clip costs ${parts[0]} GFLOP once, ${parts[1]} per window of a step, ${parts[2]} per decoded frame`,
  ].join('\n');
}

export function rooflineReport(
  networks: readonly Timing[],
  calls: readonly NetworkCalls[],
  sizes: ClipSizes,
  { gflops, gbps }: Peaks,
): RooflineReport {
  return {
    seconds: sizes.frames / sizes.fps,
    peakGflops: gflops ?? null,
    peakGbps: gbps ?? null,
    networks: [...networks],
    growth: growthOf(calls),
  };
}
