import { signal } from '@preact/signals';
import {
  ApiError,
  EchoMimicClient,
  type Failures,
  type OperatorStatus,
  type Throughput,
} from '../../../src/client/index.js';
import { type Failure, failureOf } from '../failure.js';
import { oneOf, stored } from '../stored.js';

const statusMs = 2000;
const failuresMs = 5000;
const throughputMs = 10_000;

/** Kept for as long as this tab is open, and no longer. */
export const token = stored<string | undefined>(
  'operator-token',
  undefined,
  (value): value is string | undefined => typeof value === 'string',
  () => sessionStorage,
);
export const hours = stored<1 | 6 | 24>('operator-hours', 1, oneOf(1, 6, 24));

export const operator = new EchoMimicClient({ operatorToken: () => token.value }).operator;

export const status = signal<OperatorStatus | undefined>();
export const throughput = signal<Throughput['points'] | undefined>();
export const failures = signal<Failures | undefined>();
/** Why nothing new is known, and since when; what was known stays. */
export const away = signal<{ readonly failure: Failure; readonly since: number } | undefined>();
/** The server wants a token: none was given, or the one that was does not fit. */
export const isLocked = signal(false);

interface Part {
  readonly ms: number;
  readonly ask: (signal: AbortSignal) => Promise<void>;
}

const parts: readonly Part[] = [
  {
    ms: statusMs,
    ask: async (signal) => void (status.value = await operator.status({ signal })),
  },
  {
    ms: throughputMs,
    ask: async (signal) => {
      const { points } = await operator.throughput(hours.peek() * 60, { signal });
      throughput.value = points;
    },
  },
  {
    ms: failuresMs,
    ask: async (signal) => void (failures.value = await operator.failures(50, { signal })),
  },
];

/** Asks everything now. */
let askAll = (): void => undefined;
export const refresh = (): void => askAll();

/** Keeps all of it up to date while the page is seen; returns what ends that. */
export function watch(): () => void {
  const over = new AbortController();
  const { signal: gone } = over;
  const timers = new Set<ReturnType<typeof setTimeout>>();
  let round = 0;
  const keep = async (part: Part, mine: number): Promise<void> => {
    try {
      await part.ask(gone);
      if (mine !== round) return;
      away.value = undefined;
      isLocked.value = false;
    } catch (error) {
      if (gone.aborted || mine !== round) return;
      tell(error);
      if (isLocked.value) return;
    }
    const timer = setTimeout(() => {
      timers.delete(timer);
      void keep(part, mine);
    }, part.ms);
    timers.add(timer);
  };
  const stop = () => {
    round++;
    for (const timer of timers) clearTimeout(timer);
    timers.clear();
  };
  askAll = () => {
    stop();
    for (const part of parts) void keep(part, round);
  };
  const onVisibility = () => (document.visibilityState === 'visible' ? askAll() : stop());
  document.addEventListener('visibilitychange', onVisibility);
  onVisibility();
  return () => {
    stop();
    over.abort();
    document.removeEventListener('visibilitychange', onVisibility);
  };
}

function tell(error: unknown): void {
  if (error instanceof ApiError && error.status === 401) {
    isLocked.value = true;
    away.value = undefined;
    return;
  }
  away.value = { failure: failureOf(error), since: away.value?.since ?? Date.now() };
}
