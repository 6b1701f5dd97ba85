import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { settingNames } from '../src/config.js';
import { projectRoot } from '../src/paths.js';

t.test('docs/configuration.md lists exactly the settings that exist', async (t) => {
  const text = await readFile(join(projectRoot, 'docs', 'configuration.md'), 'utf8');
  const documented = text
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .flatMap((line) =>
      [...line.split('|')[1]!.matchAll(/`([A-Z0-9_]+)`/g)].map((match) => match[1]!),
    );
  t.same(documented.sort(), [...settingNames].sort());
});
