import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isAlive } from '../src/alive.js';
import { CodedError } from '../src/errors.js';

/** Makes the data folder ours until the returned function is called; refuses a second server. */
export async function lockDataFolder(folder: string): Promise<() => Promise<void>> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, 'lock');
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const file = await open(path, 'wx', 0o600);
      await file.writeFile(String(process.pid));
      await file.close();
      return () => rm(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const pid = Number(await readFile(path, 'utf8').catch(() => '0'));
      if (pid > 0 && pid !== process.pid && isAlive(pid)) {
        throw new CodedError(
          'DATA_FOLDER_IN_USE',
          `process ${pid} serves from ${folder} already: stop it, or set DATA_DIR (and PORT)`,
        );
      }
      await rm(path, { force: true });
    }
  }
  throw new CodedError('DATA_FOLDER_IN_USE', `${folder} could not be locked`);
}
