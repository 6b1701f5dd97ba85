import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { parts } from '../../native/index.js';
import { temporaryFolder } from '../helpers/folder.js';

const machine = {
  gpu: 'NVIDIA H100 80GB HBM3',
  capability: '9.0',
  driver: '580.65.06',
  tensorrt: '10.9.0',
  runtime: '1.30.0',
};
const key = { network: 'denoiser', digest: 'a1b2', profile: 'sample:1x12x4x64x64' };

/** What TensorRT would do: read the engine that is there, or write one. */
function opener(content = 'engine') {
  const seen: string[] = [];
  const open = (folder: string): void => {
    const file = join(folder, 'graph.engine');
    if (!existsSync(file)) {
      writeFileSync(file, content);
      seen.push('built');
    } else if (readFileSync(file, 'utf8') === content) {
      seen.push('read');
    } else {
      seen.push('broken');
      throw new Error(`TensorRT EP could not deserialize engine from cache: ${file}`);
    }
  };
  return { seen, open };
}

t.test('an engine is built once, and read from then on', async (t) => {
  const root = await temporaryFolder(t);
  const { seen, open } = opener();
  const first = parts.openEngine(root, machine, key, open);
  t.match(first, { built: true, reason: 'there is none yet' });
  t.match(parts.openEngine(root, machine, key, open), { built: false, reason: '' });
  t.same(seen, ['built', 'read']);
  t.match(first.folder, /\/NVIDIA-H100-80GB-HBM3-[0-9a-f]{16}$/);
  const names = readdirSync(first.folder).sort();
  t.match(names, [/^denoiser-[0-9a-f]{16}$/, 'lock', 'machine', 'timing']);
});

t.test('what it was made from and for decides whether it is used', async (t) => {
  const root = await temporaryFolder(t);
  const build = (changes: object, on: object = {}) => {
    const { open } = opener();
    return parts.openEngine(root, { ...machine, ...on }, { ...key, ...changes }, open);
  };
  build({});
  const other = /other sizes or settings/;
  t.match(build({ profile: 'sample:1x12x4x32x32' }), { built: true, reason: other });
  t.match(build({ digest: 'ffff' }), { built: true, reason: /other weights/ });
  t.match(build({ network: 'reference' }), { built: true, reason: 'there is none yet' });
  for (const on of [
    { driver: '590.10' },
    { tensorrt: '10.15.1' },
    { runtime: '1.31.0' },
    { gpu: 'NVIDIA L4' },
    { capability: '8.9' },
  ]) {
    t.match(build({}, on), {
      built: true,
      reason: 'there is none for this GPU with this driver and these versions',
    });
  }
  t.match(build({}), { built: false, reason: '' }, 'and the first one is still there');
});

t.test('a damaged engine is removed and built again', async (t) => {
  const root = await temporaryFolder(t);
  const { seen, open } = opener();
  const { folder } = parts.openEngine(root, machine, key, open);
  const engine = readdirSync(folder).find((name) => name.startsWith('denoiser-'))!;
  writeFileSync(join(folder, engine, 'graph.engine'), 'engi');
  t.match(parts.openEngine(root, machine, key, open), { built: true });
  t.match(parts.openEngine(root, machine, key, open), { built: false });
  t.equal(seen.at(0), 'built');
  t.ok(seen.includes('broken'));
  t.same(seen.slice(-2), ['built', 'read']);
});

t.test('what is incomplete, foreign or left behind is not used', async (t) => {
  const root = await temporaryFolder(t);
  const { open } = opener();
  const { folder } = parts.openEngine(root, machine, key, open);
  const engine = join(
    folder,
    readdirSync(folder).find((name) => name.startsWith('denoiser-'))!,
  );
  rmSync(join(engine, 'key'));
  t.match(parts.openEngine(root, machine, key, open), {
    built: true,
    reason: 'it was not completed',
  });
  writeFileSync(join(engine, 'key'), 'network denoiser\ndigest of somebody else\n');
  t.match(parts.openEngine(root, machine, key, open), {
    built: true,
    reason: 'its key is not that of this network',
  });
  // of a process that is gone: no process has this number
  const left = `${engine}.building-999999999`;
  mkdirSync(left);
  rmSync(join(engine, 'key'));
  parts.openEngine(root, machine, key, open);
  t.notOk(existsSync(left));
});

t.test('a build that fails leaves nothing', async (t) => {
  const root = await temporaryFolder(t);
  const failing = (folder: string): void => {
    writeFileSync(join(folder, 'half.engine'), 'ha');
    throw new Error('TensorRT EP failed to create engine from network for fused node: graph');
  };
  t.throws(() => parts.openEngine(root, machine, key, failing), {
    code: 'ENGINE_FAILED',
    message: /failed to create engine/,
  });
  const { open } = opener();
  const { folder, reason } = parts.openEngine(root, machine, key, open);
  t.equal(reason, 'there is none yet');
  t.equal(readdirSync(folder).filter((name) => name.startsWith('denoiser')).length, 1);
});

t.test('a folder that cannot be written', async (t) => {
  const root = join(await temporaryFolder(t), 'file');
  writeFileSync(root, '');
  t.throws(() => parts.openEngine(root, machine, key, () => {}), {
    code: 'ENGINE_FAILED',
    message: /^engine cache: .*ENGINE_CACHE_DIR/,
  });
});

t.test('of two processes that want the same engine one builds, the other waits', async (t) => {
  const root = await temporaryFolder(t);
  const program = join(dirname(fileURLToPath(import.meta.url)), 'fixtures', 'engine-builder.js');
  const children = [0, 1].map(() =>
    spawn(process.execPath, [program, root, JSON.stringify(machine), JSON.stringify(key)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    }),
  );
  const lines = children.map(() => '');
  children.forEach((child, i) => child.stdout.on('data', (data) => (lines[i] += String(data))));
  const builders = await Promise.race(
    children.map(async (child, i) => {
      await once(child.stdout, 'data');
      return i;
    }),
  );
  // The one that builds goes on when it is told to; the other cannot have begun.
  const [builder, waiter] = [children[builders]!, children[1 - builders]!];
  t.equal(lines[builders], 'building\n');
  t.equal(lines[1 - builders], '');
  const ends = children.map((child) => once(child, 'close'));
  builder.stdin.end('go on\n');
  waiter.stdin.end();
  t.same(
    (await Promise.all(ends)).map(([code]) => code as number),
    [0, 0],
  );
  t.equal(lines[builders], 'building\nbuilt\n');
  t.equal(lines[1 - builders], 'reading\nfound\n');
});
