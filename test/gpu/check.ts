import type { LoadOptions } from '../../native/index.js';

/** One number or word that a check found, and what it had to be. */
export interface Figure {
  readonly what: string;
  readonly value: number | string;
  readonly unit?: string;
  readonly least?: number;
  readonly most?: number;
  /** Of a word, or where no two numbers tell it: whether it is as it has to be. */
  readonly isGood?: boolean;
}

export interface Finding {
  readonly figures: readonly Figure[];
  /** Why there is nothing to check on this machine. */
  readonly doesNotApply?: string;
}

/** What is tested, and on what. */
export interface Context {
  /** The device under test, `cuda:0`. */
  readonly device: string;
  /** Who runs float32, and float16. */
  readonly exact: NonNullable<LoadOptions['provider']>;
  readonly half: NonNullable<LoadOptions['provider']>;
  /** The bundled model in float32 and float16. */
  readonly models: { readonly exact: string; readonly half: string };
  /** Golden folders, as `npm run golden` takes them. */
  readonly golden: readonly string[];
  /** For what the checks make; the report is written there too. */
  readonly folder: string;
  /** Length and side of the clips that are compared, in seconds and pixels. */
  readonly seconds: number;
  readonly size: number;
  readonly say: (what: string) => void;
}

export interface Check {
  readonly name: string;
  /** What it shows, for the report. */
  readonly what: string;
  /** Checks that have to pass before this one makes sense. */
  readonly needs?: readonly string[];
  readonly run: (context: Context) => Promise<Finding>;
}

export function isWithin({ value, least, most, isGood }: Figure): boolean {
  if (isGood !== undefined) return isGood;
  if (typeof value === 'string') return true;
  return !Number.isNaN(value) && value >= (least ?? -Infinity) && value <= (most ?? Infinity);
}

export type Verdict = 'passed' | 'failed' | 'does not apply' | 'not run';

export interface Result {
  readonly name: string;
  readonly what: string;
  readonly verdict: Verdict;
  readonly seconds: number;
  readonly figures: readonly Figure[];
  /** Why it failed, was not run, or does not apply. */
  readonly reason?: string;
}

/**
 * Runs checks one after the other. A check that throws has failed; one whose needs did not pass is
 * not run, which is no success either.
 */
export async function runChecks(checks: readonly Check[], context: Context): Promise<Result[]> {
  const results: Result[] = [];
  for (const { name, what, needs = [], run } of checks) {
    const missing = needs.filter((need) =>
      results.some((one) => one.name === need && one.verdict !== 'passed'),
    );
    const start = performance.now();
    const done = (verdict: Verdict, figures: readonly Figure[], reason?: string) => {
      const seconds = (performance.now() - start) / 1000;
      results.push({
        name,
        what,
        verdict,
        seconds,
        figures,
        ...(reason === undefined ? {} : { reason }),
      });
      context.say(`${name}: ${verdict}${reason === undefined ? '' : ` (${reason})`}`);
    };
    if (missing.length > 0) {
      done('not run', [], `${missing.join(', ')} did not pass`);
      continue;
    }
    context.say(`${name}: ${what}`);
    try {
      const { figures, doesNotApply } = await run(context);
      if (doesNotApply !== undefined) done('does not apply', figures, doesNotApply);
      else if (figures.length === 0) done('failed', [], 'nothing was looked at');
      else done(figures.every(isWithin) ? 'passed' : 'failed', figures);
    } catch (error) {
      const { code, message } = error as { code?: string; message?: string };
      done('failed', [], `${code === undefined ? '' : `${code}: `}${message ?? String(error)}`);
    }
  }
  return results;
}

/** Whether the machine is accepted: everything that applies was run and passed. */
export const isAccepted = (results: readonly Result[]) =>
  results.some(({ verdict }) => verdict === 'passed') &&
  results.every(({ verdict }) => verdict === 'passed' || verdict === 'does not apply');
