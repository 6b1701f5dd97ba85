import closeWithGrace from 'close-with-grace';
import { crashSignals } from '../src/alive.js';
import { codeOf } from '../src/errors.js';
import type { Log } from '../src/log.js';

/**
 * Runs a long-lived command until Ctrl-C: starts its parts, lets `ready` say that they are there,
 * and stops them, also when the signal comes in the middle of the start.
 */
export async function serve<Parts extends { stop(): Promise<void> }>(
  open: () => { readonly log: Log; readonly starting: Promise<Parts> },
  ready: (parts: Parts) => Promise<void>,
): Promise<void> {
  let parts: Parts | undefined;
  let stopping = false;
  try {
    const { log, starting } = open();
    closeWithGrace({ delay: 120_000, logger: log, skip: crashSignals }, async ({ signal }) => {
      stopping = true;
      if (signal !== undefined)
        console.log('\nStopping: running tasks are finished or handed back.');
      parts ??= await starting.catch(() => undefined);
      await parts?.stop();
    });
    parts = await starting;
    await ready(parts);
  } catch (error) {
    if (!stopping) {
      console.error(`${codeOf(error)}: ${(error as Error).message}`);
      await parts?.stop();
      process.exit(1);
    }
  }
}
