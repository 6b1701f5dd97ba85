import { percentile } from '../report/statistics.js';

/** How long a device works on a clip. */
export type Duration = 'fixed' | 'exponential' | 'speech';

export interface Scenario {
  readonly devices: number;
  /** Mean seconds that a device works on a clip. */
  readonly seconds: number;
  /** `speech`: evenly between a half and one and a half of the mean. */
  readonly duration: Duration;
  /** Clips per second, asked for at random (Poisson). */
  readonly rate: number;
  /**
   * `each`: a queue for each device, the shortest is chosen, equal ones take turns, as the server
   * does; `one`: a queue for all.
   */
  readonly queue: 'each' | 'one';
  readonly clips: number;
  readonly seed: number;
}

export interface Outcome {
  /** Seconds from being asked for to being begun. */
  readonly mean: number;
  readonly p50: number;
  readonly p95: number;
  /** Share of the time that the devices work. */
  readonly utilisation: number;
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The first tenth of the clips, which find the devices idle, is not counted. */
const warmUp = 0.1;

/** Plays a scenario clip by clip. A clip that was given to a device keeps its place there. */
export function simulate(scenario: Scenario): Outcome {
  const { devices, seconds, duration, rate, queue, clips, seed } = scenario;
  const random = randomNumbers(seed);
  const exponential = (mean: number) => -mean * Math.log(1 - random());
  const work = {
    fixed: () => seconds,
    exponential: () => exponential(seconds),
    speech: () => seconds * (0.5 + random()),
  }[duration];
  /** When the clips of each device end that were not over when it was last looked at. */
  const ends: number[][] = Array.from({ length: devices }, () => []);
  const freeAt = new Float64Array(devices);
  const waits: number[] = [];
  let [now, turn, busy, begin] = [0, 0, 0, 0];
  for (let clip = 0; clip < clips; clip++) {
    now += exponential(1 / rate);
    let best = -1;
    for (let i = 0; i < devices; i++) {
      const device = (turn + i) % devices;
      const list = ends[device]!;
      while (list.length > 0 && list[0]! <= now) list.shift();
      const isBetter =
        best < 0 ||
        (queue === 'one' ? freeAt[device]! < freeAt[best]! : list.length < ends[best]!.length);
      if (isBetter) best = device;
    }
    turn = (best + 1) % devices;
    const start = Math.max(now, freeAt[best]!);
    const end = start + work();
    freeAt[best] = end;
    ends[best]!.push(end);
    if (clip < warmUp * clips) begin = now;
    else {
      waits.push(start - now);
      busy += end - start;
    }
  }
  return {
    mean: waits.reduce((sum, wait) => sum + wait, 0) / waits.length,
    p50: percentile(waits, 0.5),
    p95: percentile(waits, 0.95),
    utilisation: busy / (devices * (now - begin)),
  };
}

/** Mean wait in a queue for `c` devices whose clips take exponentially long (M/M/c, Erlang C). */
export function erlangWait(devices: number, seconds: number, rate: number): number {
  const offered = rate * seconds;
  let term = 1;
  let sum = 1;
  for (let k = 1; k < devices; k++) sum += term *= offered / k;
  const all = (term * offered) / devices / (1 - offered / devices);
  const share = all / (sum + all);
  return (share * seconds) / (devices - offered);
}

/** Mean wait for one device whose clips all take equally long (M/D/1, Pollaczek-Khinchine). */
export function fixedWait(seconds: number, rate: number): number {
  const load = rate * seconds;
  return (load * seconds) / (2 * (1 - load));
}
