import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { type ApiReport, readAnyReport } from '../../bench/report/api.js';
import { compareApiReports } from '../../bench/report/compare.js';
import { writeReport } from '../../bench/report/write.js';
import { projectRoot } from '../../src/paths.js';
import { temporaryFolder } from '../helpers/folder.js';

t.setTimeout(120_000);

const bench = (args: string[], env: Record<string, string> = {}) =>
  promisify(execFile)(process.execPath, [join(projectRoot, 'dist', 'bench', 'main.js'), ...args], {
    cwd: projectRoot,
    env: { ...process.env, ...env },
  });

void t.test('the service is measured, and nothing is left', async (t) => {
  const [folder, temporary] = [await temporaryFolder(t), await temporaryFolder(t)];
  const path = join(folder, 'api.json');
  const few = ['--sizes', '0.01', '--at-once', '2', '--devices', '1', '--tasks', '1'];
  const fewer = ['--sessions', '2', '--turns', '1', '--watchers', '2', '--updates', '1'];
  const { stdout } = await bench(['api', ...few, ...fewer, '--runs', '1', '--out', path], {
    TMPDIR: temporary,
  });
  t.strictSame(await readdir(temporary), []);
  const report = (await readAnyReport(path)) as ApiReport;
  t.strictSame(
    report.rows.map(({ what, unit, count }) => [what.split(/[:,]| of | opened/)[0], unit, count]),
    [
      ['upload 0.01 MiB', 'MB/s', 1],
      ['download 0.01 MiB', 'MB/s', 1],
      ['task', 'ms', 1],
      ['task', 'ms', 1],
      ['tasks', 'per s', 1],
      ['sessions', 'per s', 1],
      ['session', 'ms', 2],
      ['turn', 'ms', 1],
      ['turn', 'ms', 1],
      ['progress', 'ms', 1],
      ['progress', 'ms', 2],
    ],
  );
  for (const { what, p50 } of report.rows) t.ok(p50 > 0, what);
  const [taken, overhead] = report.rows.filter(({ what }) => what.startsWith('task:'));
  t.ok(taken!.max < overhead!.max, 'a task is taken before it ends');
  t.match(report.versions.redis, /^\d+\.\d+/);
  t.match(stdout, /simulated devices of 1 ms a frame/);
  const { stdout: compared } = await bench(['compare', path, path]);
  t.match(compared, /upload 0\.01 MiB, 2 at once, MB\/s.*no difference can be claimed/);

  const fast = structuredClone(report);
  for (const one of [report, fast]) {
    const p50 = one === fast ? 20 : 10;
    Object.assign(one.rows[0]!.runs, { samples: [p50, p50, p50, p50], min: p50, max: p50, p50 });
  }
  fast.settings.sessions = 3;
  fast.rows.pop();
  const { rows, warnings } = compareApiReports(report, fast);
  t.match(rows[0], { ratio: 2, verdict: 'more', unit: 'MB/s' });
  t.ok(warnings.some((one) => one.startsWith('the settings differs')));
  t.ok(warnings.some((one) => one.startsWith('only A has: progress')));
  const other = join(folder, 'other.json');
  await writeReport(other, { ...report, kind: undefined });
  await t.rejects(readAnyReport(other), { code: 'BAD_REQUEST' });
});
