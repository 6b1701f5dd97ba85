import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { type ErrorCode, errorCodes, retryAfterOf } from '../../src/errors.js';
import { projectRoot } from '../../src/paths.js';

t.test('docs/errors.md has every code with its status, a cause and what to do', async (t) => {
  const text = await readFile(join(projectRoot, 'docs', 'errors.md'), 'utf8');
  const rows = text
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .map(([, code = '', status, retry, cause = '', advice = '']) => ({
      ...{ code: code.replaceAll('`', ''), status: Number(status) },
      ...{ retry: retry === '' ? undefined : Number(retry), cause, advice },
    }));
  const codes = Object.keys(errorCodes) as ErrorCode[];
  t.same(
    rows.map(({ code, status, retry }) => ({ code, status, retry })),
    codes.map((code) => ({ code, status: errorCodes[code].status, retry: retryAfterOf(code) })),
    'the same codes in the same order',
  );
  for (const { code, cause, advice } of rows) t.ok(cause.length > 10 && advice !== '', code);
});
