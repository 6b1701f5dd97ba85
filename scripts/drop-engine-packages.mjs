// Removes what only workers need from node_modules, for the image of the API.
import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { enginePackages } from './files.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
for (const name of enginePackages) {
  rmSync(join(root, 'node_modules', name), { recursive: true, force: true });
}
