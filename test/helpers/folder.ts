import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

/** A folder of the test's own, removed when it ends. */
export async function temporaryFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'echomimic-test-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
