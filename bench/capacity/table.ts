import { type Outcome, type Scenario, simulate } from './simulation.js';

export interface CapacityOptions {
  readonly devices: readonly number[];
  /** Mean seconds of work for a clip. */
  readonly seconds: readonly number[];
  /** Shares of what the devices could do at most. */
  readonly loads: readonly number[];
  /** Clips per hour, in place of shares. */
  readonly perHour: readonly number[];
  readonly clips: number;
  readonly seed: number;
}

export const capacityDefaults: CapacityOptions = {
  devices: [1, 2, 4, 8],
  seconds: [5, 30],
  loads: [0.5, 0.7, 0.9],
  perHour: [],
  clips: 100_000,
  seed: 1,
};

const header = ['GPUs', 'seconds per clip', 'clips per hour', 'busy', 'wait, p50', 'wait, p95'];

/** A table for people and documents, as Markdown. */
export function capacityTable(options: CapacityOptions): string {
  const rows: string[][] = [];
  for (const seconds of options.seconds) {
    for (const devices of options.devices) {
      const most = (3600 * devices) / seconds;
      const rates =
        options.perHour.length > 0 ? options.perHour : options.loads.map((x) => x * most);
      for (const perHour of rates) {
        const scenario: Scenario = {
          ...{ devices, seconds, rate: perHour / 3600, duration: 'speech', queue: 'each' },
          ...{ clips: options.clips, seed: options.seed },
        };
        rows.push([
          String(devices),
          String(seconds),
          perHour.toFixed(0),
          ...cells(perHour < most, scenario),
        ]);
      }
    }
  }
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(header), `|${'---|'.repeat(header.length)}`, ...rows.map(line)].join('\n');
}

function cells(isEnough: boolean, scenario: Scenario): string[] {
  if (!isEnough) return ['100 %', 'grows', 'grows'];
  const { utilisation, p50, p95 }: Outcome = simulate(scenario);
  return [
    `${Math.round(100 * utilisation)} %`,
    ...[p50, p95].map((wait) => `${wait.toFixed(1)} s`),
  ];
}
