import type { Test } from 'tap';
import { type Config, loadConfig } from '../../src/config.js';
import { type Log, createLog } from '../../src/log.js';
import { dashscopeRecogniser, dashscopeSynthesiser } from '../../src/speech/dashscope/index.js';
import type { SynthesiserLimits } from '../../src/speech/dashscope/synthesiser.js';
import {
  type DashscopeFake,
  type DashscopeFakeOptions,
  startDashscopeFake,
} from '../fakes/dashscope/index.js';
import { until } from '../helpers/until.js';

interface Started {
  readonly fake: DashscopeFake;
  readonly config: Config;
  readonly log: Log;
  readonly logged: string[];
}

/** A fake, and what a client of it needs; nothing is tried again unless a setting says so. */
async function start(
  t: Test,
  options: DashscopeFakeOptions,
  settings: Record<string, string>,
): Promise<Started> {
  const fake = await startDashscopeFake(t, options);
  const config = loadConfig({ ...fake.settings, PROVIDER_RETRIES: '0', ...settings });
  const logged: string[] = [];
  return {
    fake,
    config,
    log: createLog('debug', { write: (line) => void logged.push(line) }),
    logged,
  };
}

export async function startRecogniser(
  t: Test,
  options: DashscopeFakeOptions = {},
  settings: Record<string, string> = {},
) {
  const started = await start(t, options, settings);
  return { ...started, recogniser: dashscopeRecogniser(started.config, started.log) };
}

export async function startSynthesiser(
  t: Test,
  options: DashscopeFakeOptions = {},
  settings: Record<string, string> = {},
  limits: Partial<SynthesiserLimits> = {},
) {
  const started = await start(t, options, settings);
  const { fake, config, log } = started;
  const synthesiser = dashscopeSynthesiser(config, log, limits);
  t.teardown(() => synthesiser.close?.());
  const speak = (words: string, more: { voice?: string; rate?: number; pitch?: number } = {}) =>
    synthesiser.speak(words, { signal: new AbortController().signal, ...more });
  /** Ends when the server has seen every socket close. */
  const allClosed = () => until(() => fake.sockets.open === 0, 'the sockets to close', 5000);
  return { ...started, synthesiser, speak, allClosed };
}

/** What the work fails with. */
export async function failure(work: Promise<unknown>): Promise<Error & { code?: string }> {
  return work.then(
    () => new Error('no failure'),
    (error: Error) => error,
  );
}
