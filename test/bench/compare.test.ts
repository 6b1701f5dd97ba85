import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { compareReports, comparisonTable } from '../../bench/report/compare.js';
import { type Report, type Row, readReport } from '../../bench/report/schema.js';
import { spreadOf } from '../../bench/report/statistics.js';
import { temporaryFolder } from '../helpers/folder.js';

function row(wallMs: number[], changes: Partial<Row> = {}): Row {
  const wall = spreadOf(wallMs);
  const part = (share: number) => spreadOf(wallMs.map((ms) => ms * share));
  return {
    ...{ scope: 'alone', mode: 'engine', device: 'cpu', engine: null, provider: 'cpu' },
    ...{ threads: 2, loadMs: 100, seconds: 1, frames: 24, windows: 3 },
    wallMs: wall,
    framesPerSecond: { p50: 24000 / wall.p50, p95: 24000 / wall.p95 },
    realTimeFactor: { p50: wall.p50 / 1000, p95: wall.p95 / 1000 },
    firstFrameMs: part(0.5),
    stages: {
      ...{ audio: part(0.1), reference: part(0.1), denoise: part(0.6) },
      ...{ window: part(0.2), decode: part(0.2), frame: part(0.01) },
    },
    video: null,
    peakHostBytes: 1e8,
    peakDeviceBytes: null,
    ...changes,
  };
}

function report(rows: Row[], changes: Partial<Report['machine']> = {}): Report {
  return {
    format: 1,
    date: '2026-01-02T03:04:05.678Z',
    machine: {
      ...{ cpu: 'Processor', logicalCores: 2, physicalCores: 2, memoryBytes: 2 ** 34 },
      ...{ platform: 'linux', gpus: [], loadBefore: 0.1, loadAfter: 1.5, ...changes },
    },
    versions: {
      ...{ server: '1.0.0', node: 'v20.0.0', addon: '0'.repeat(64), onnxRuntime: '1.30.0' },
      model: { name: 'small', precision: 'fp32', sha256: '1'.repeat(64) },
    },
    settings: {
      ...{ model: 'small', devices: ['cpu'], engines: 1, seconds: [1], runs: 5, warmUp: 1 },
      ...{ encode: false, steps: 6, cfg: 1, width: 128, height: 128, fps: 24 },
      ...{ contextFrames: 12, contextOverlap: 3, threads: null, provider: 'auto' },
    },
    rows,
    roofline: null,
  };
}

const slow = [1000, 1010, 1020, 1030, 1040];

t.test('runs that lie apart tell a difference', async (t) => {
  const fast = slow.map((ms) => ms / 2);
  const { rows, warnings } = compareReports(report([row(slow)]), report([row(fast)]));
  t.strictSame(warnings, []);
  const whole = rows.find(({ what }) => what === 'whole')!;
  t.equal(whole.ratio, 0.5);
  t.equal(whole.low, 500 / 1040);
  t.equal(whole.high, 520 / 1000);
  t.equal(whole.verdict, 'less');
  t.strictSame(
    rows.map(({ what }) => what),
    ['whole', 'first frame', 'audio', 'reference', 'window', 'frame'],
  );
  const back = compareReports(report([row(fast)]), report([row(slow)]));
  t.equal(back.rows[0]!.verdict, 'more');
  t.match(comparisonTable(back), /whole.*1020.*2\.00.*B is more/);
});

t.test('runs that overlap tell none', async (t) => {
  const like = slow.map((ms) => ms - 35);
  const result = compareReports(report([row(slow)]), report([row(like)]));
  t.equal(result.rows[0]!.verdict, 'overlap');
  t.match(comparisonTable(result), /no difference can be claimed/);
  t.equal(
    compareReports(report([row([1, 2])]), report([row([2, 3])])).rows[0]!.verdict,
    'overlap',
    'ranges that touch overlap',
  );
});

t.test('few runs tell none, however far apart', async (t) => {
  const verdict = (a: number[], b: number[]) =>
    compareReports(report([row(a)]), report([row(b)])).rows[0]!.verdict;
  t.equal(verdict([1000], [1]), 'too few runs');
  t.equal(verdict([1000, 1001, 1002], [1, 2, 3]), 'too few runs');
  t.equal(verdict([1000, 1001, 1002, 1003], [1, 2, 3, 4]), 'less');
});

t.test('what cannot be compared is told', async (t) => {
  const b = report([row(slow, { seconds: 3, frames: 72, windows: 8 })], {
    cpu: 'Other',
    loadBefore: 3,
  });
  b.versions.model.sha256 = '2'.repeat(64);
  b.settings.steps = 4;
  const { rows, warnings } = compareReports(report([row(slow)]), b);
  t.strictSame(rows, []);
  t.equal(warnings.length, 6);
  for (const part of ['processor', 'model', 'steps', 'busy', 'only A', 'only B']) {
    t.ok(
      warnings.some((one) => one.includes(part)),
      part,
    );
  }
});

t.test('only reports are read', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'report.json');
  const whole = report([row(slow)]);
  await writeFile(path, JSON.stringify(whole));
  t.strictSame(await readReport(path), whole);
  await writeFile(path, JSON.stringify({ ...whole, rows: [{ ...row(slow), frames: 0 }] }));
  await t.rejects(readReport(path), { code: 'BAD_REQUEST', message: /rows\/0\/frames/ });
  await writeFile(path, 'not JSON');
  await t.rejects(readReport(path), { code: 'BAD_REQUEST', message: /report\.json/ });
  await t.rejects(readReport(join(folder, 'none')), { code: 'BAD_REQUEST', message: /ENOENT/ });
});
