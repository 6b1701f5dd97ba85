import type { Config } from '../config.js';
import type { Log } from '../log.js';
import { Repeated } from '../repeated.js';
import type { TempFileStore } from './store.js';

/** Removes temp files whose time is over, and what no process writes any more. */
export function tempFileSweep(store: TempFileStore, { tempFiles }: Config, log: Log): Repeated {
  const period = Math.min(Math.max(tempFiles.expiryMs / 10, 1000), 600_000);
  const sweep = async () => {
    const count = await store.sweep();
    if (count > 0) log.info({ count }, 'removed expired and abandoned temp files');
  };
  return new Repeated(period, sweep, (err) => log.error({ err }, 'sweep of the temp files failed'));
}
