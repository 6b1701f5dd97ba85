import { stat } from 'node:fs/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { hashFile } from './hash.js';

// A thread of the importer: size and SHA-256 of each file that it is given.
const results: { bytes: number; sha256: string }[] = [];
for (const path of workerData as string[]) {
  results.push({ bytes: (await stat(path)).size, sha256: await hashFile(path) });
}
parentPort!.postMessage(results);
