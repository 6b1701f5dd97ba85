import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { loadConfig, settingNames } from '../../src/config.js';
import { addEnvironmentFile } from '../../src/config/environment.js';
import { projectRoot } from '../../src/paths.js';
import { settingGroups, settings } from '../../src/config/settings.js';
import { staleConfigFiles } from '../../scripts/config-files.js';

t.test('docs/configuration.md and .env.example say what the settings say', async (t) => {
  t.same(staleConfigFiles(false), [], 'otherwise: npm run config -- --write');
  const grouped = Object.values(settingGroups).flatMap((members) => Object.keys(members));
  t.same(grouped.sort(), [...settingNames].sort(), 'every setting is in one group');
  for (const [name, facts] of Object.entries(settings.properties)) {
    t.ok((facts as { description?: string }).description, `${name} is described`);
  }
});

t.test('.env.example holds the defaults', async (t) => {
  const path = join(projectRoot, '.env.example');
  const lines = (await readFile(path, 'utf8'))
    .split('\n')
    .map((line) => line.replace(/^#(?=[A-Z])/, ''));
  const copy = join(t.testdir(), 'env');
  await writeFile(copy, lines.join('\n'));
  const environment = { ENV_FILE: copy };
  addEnvironmentFile(environment);
  t.same(Object.keys(environment).sort(), [...settingNames].sort());
  t.same(loadConfig(environment), loadConfig({}));
});
