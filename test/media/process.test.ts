import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync, chmodSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import {
  confinedAtOnce,
  endOfTool,
  lastLine,
  runTool,
  startTool,
} from '../../src/media/process.js';
import { folder, refusal } from '../helpers/media.js';
import { until } from '../helpers/until.js';

const endless = ['-v', 'error', '-re', '-f', 'lavfi', '-i', 'sine', '-f', 's16le', 'pipe:1'];

void t.test('a tool that does not end is stopped', async (t) => {
  const error = await refusal(runTool('ffmpeg', endless, { timeoutMs: 300, maxOutputBytes: 1e9 }));
  t.equal(error.code, 'MEDIA_TIMEOUT');
});

void t.test('a tool that writes too much is stopped', async (t) => {
  const args = ['-v', 'error', '-f', 'lavfi', '-i', 'sine', '-f', 's16le', 'pipe:1'];
  const error = await refusal(runTool('ffmpeg', args, { timeoutMs: 20_000, maxOutputBytes: 1e6 }));
  t.equal(error.code, 'MEDIA_TOOL_FAILED');
  t.match(error.message, /more than the 1000000 bytes/);
});

void t.test('a tool that crashes is told from one that fails', async (t) => {
  const run = startTool('ffmpeg', endless, { timeoutMs: 20_000 });
  run.kill(new Error('mine'));
  await t.rejects(run.done, { message: 'mine' }, 'the reason of the kill arrives');
  const failed = await startTool('ffprobe', ['-v', 'error', 'file:/none'], { timeoutMs: 20_000 })
    .done;
  t.not(failed.code, 0);
  t.match(failed.stderr, /No such file/);
});

void t.test('a missing tool says what to install', async (t) => {
  const before = process.env['PATH'];
  const dir = folder(t);
  t.teardown(() => (process.env['PATH'] = before));
  process.env['PATH'] = dir;
  const missing = await refusal(runTool('ffprobe', [], { timeoutMs: 1000, maxOutputBytes: 1 }));
  t.equal(missing.code, 'MEDIA_TOOL_MISSING');
  t.match(missing.message, /apt-get install ffmpeg.*brew install ffmpeg/);

  mkdirSync(join(dir, 'ffmpeg'));
  const unusable = await refusal(runTool('ffmpeg', [], { timeoutMs: 1000, maxOutputBytes: 1 }));
  t.match(unusable.code, /^MEDIA_TOOL_/);
});

void t.test('a tool sees none of our secrets', async (t) => {
  const dir = folder(t);
  const before = process.env['PATH'];
  t.teardown(() => (process.env['PATH'] = before));
  writeFileSync(join(dir, 'ffprobe'), `#!/bin/sh\nexec env\n`);
  chmodSync(join(dir, 'ffprobe'), 0o755);
  process.env['PATH'] = `${dir}:${before}`;
  process.env['API_TOKEN'] = 'a-very-secret-token';
  t.teardown(() => delete process.env['API_TOKEN']);
  const { stdout } = await runTool('ffprobe', [], { timeoutMs: 5000, maxOutputBytes: 1e6 });
  t.match(stdout.toString(), /PATH=/);
  t.notMatch(stdout.toString(), 'a-very-secret-token');
});

const isLinux = process.platform === 'linux';

void t.test('a tool that nobody watches any more ends by itself', { skip: !isLinux }, async (t) => {
  const dir = folder(t);
  const before = process.env['PATH'];
  t.teardown(() => (process.env['PATH'] = before));
  writeFileSync(join(dir, 'ffprobe'), '#!/bin/sh\nulimit -t\n', { mode: 0o755 });
  process.env['PATH'] = `${dir}:${before}`;
  const options = { timeoutMs: 20_000, maxOutputBytes: 1e6, confined: true };
  const { stdout } = await runTool('ffprobe', [], options);
  t.equal(stdout.toString().trim(), '40', 'seconds of the processor');
});

void t.test('so many confined tools run at once, the others wait', async (t) => {
  const dir = folder(t);
  const before = process.env['PATH'];
  t.teardown(() => (process.env['PATH'] = before));
  const fifo = join(dir, 'fifo');
  execFileSync('mkfifo', [fifo]);
  writeFileSync(join(dir, 'ffprobe'), `#!/bin/sh\necho begun\nread line < "${fifo}"\n`, {
    mode: 0o755,
  });
  process.env['PATH'] = `${dir}:${before}`;
  const all = confinedAtOnce + 3;
  let [begun, ended, most] = [0, 0, 0];
  const runs = Array.from({ length: all }, async () => {
    const onOutput = () => (most = Math.max(most, ++begun - ended));
    await endOfTool('ffprobe', [], { timeoutMs: 20_000, confined: true, onOutput });
    ended++;
  });
  await until(() => begun === confinedAtOnce, 'those that may run do');
  const writer = await open(fifo, 'r+');
  await writer.write('\n'.repeat(all));
  await Promise.all(runs);
  await writer.close();
  t.same([begun, most], [all, confinedAtOnce]);
});

void t.test('messages carry no folder names', async (t) => {
  t.equal(lastLine('x\nfile:/var/data/tmp/abc: Invalid data\n'), 'abc: Invalid data');
  t.equal(lastLine(''), 'no message');
});
