import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { type ErrorCode, errorCodes } from '../../src/errors.js';
import { projectRoot } from '../../src/paths.js';
import { settings } from '../../src/config/settings.js';

void t.test('docs/limits.md names the settings, defaults and codes that exist', async (t) => {
  const text = await readFile(join(projectRoot, 'docs', 'limits.md'), 'utf8');
  const rows = text
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .filter((cells) => cells.length === 6 && cells[1] !== 'what');
  t.ok(rows.length > 40);
  const documented = new Set<string>();
  const codes = new Set<string>();
  for (const [, what, value = '', setting = '', answer = ''] of rows) {
    const names = [...setting.matchAll(/`(\w+)`/g)].map((match) => String(match[1]));
    for (const name of names) {
      documented.add(name);
      const schema = (settings.properties as Record<string, { default?: unknown }>)[name];
      t.ok(schema, `${what}: ${name}`);
      if (typeof schema?.default === 'number') {
        t.match(value, new RegExp(`\\b${schema.default}\\b`), `${name} is ${schema.default}`);
      }
    }
    for (const [, code, status] of answer.matchAll(/`([A-Z_]+)` (\d+)/g)) {
      codes.add(String(code));
      t.equal(errorCodes[code as ErrorCode]?.status, Number(status), `${what}: ${code}`);
    }
  }
  // Whatever the names of a setting or code say to be a limit stands in the table.
  const limits = Object.keys(settings.properties).filter((name) =>
    /^MAX_|_PER_|_LIMIT$|^CONNECTIONS|^WS_MAX|ATTEMPTS$|^QUOTAS$/.test(name),
  );
  t.same(
    limits.filter((name) => !documented.has(name)),
    [],
  );
  const refusals = Object.keys(errorCodes).filter(
    (code) => errorCodes[code as ErrorCode].status === 429 || /TOO_|LIMITED|_FULL$/.test(code),
  );
  t.same(
    refusals.filter((code) => !codes.has(code)),
    [],
  );
});
