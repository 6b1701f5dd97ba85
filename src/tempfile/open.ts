import type { Config } from '../config.js';
import { FolderShelf } from './folder.js';
import { TempFileStore } from './store.js';

/** The temp files where the settings want them; throws STORAGE_UNAVAILABLE. */
export async function openTempFiles({ tempFiles, hostName }: Config): Promise<TempFileStore> {
  const { folder, s3, expiryMs } = tempFiles;
  // whoever keeps files in a folder does not pay for the client
  const shelf =
    s3 === undefined
      ? new FolderShelf(folder, hostName)
      : new (await import('./s3.js')).S3Shelf({ ...s3, sweepAfterMs: expiryMs });
  const store = new TempFileStore(shelf, tempFiles);
  await store.open();
  return store;
}
