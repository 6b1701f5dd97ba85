import { spawn } from 'node:child_process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { dirname, join } from 'node:path';
import t from 'tap';
import { testModel } from './clip.js';

const folder = dirname(fileURLToPath(import.meta.url));
const program = join(folder, 'fixtures', 'exit.js');

/** What an engine may be doing when its process ends. */
const states = ['loading', 'idle', 'rendering', 'waiting', 'disposing', 'disposed'];
/** How the process ends, with which exit code, and in which states that is tried. */
const ends: Record<string, { code: number; states: string[] }> = {
  exit: { code: 5, states },
  throw: { code: 1, states },
  return: { code: 0, states: ['idle', 'disposed'] },
  worker: { code: 0, states: ['idle', 'rendering', 'waiting'] },
};

function run(state: string, end: string): Promise<{ code: number | null; signal: string | null }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, state, end, testModel], { stdio: 'ignore' });
    const timer = setTimeout(() => child.kill('SIGKILL'), 60000);
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal });
    });
  });
}

t.test('a process ends without a signal whatever its engine is doing', async (t) => {
  for (const state of states) {
    const tried = Object.entries(ends).filter(([, end]) => end.states.includes(state));
    await Promise.all(
      tried.map(async ([end, { code }]) => {
        t.same(await run(state, end), { code, signal: null }, `${state}, ${end}`);
      }),
    );
  }
});

t.test('a terminated thread takes its engine along', async (t) => {
  const { Worker } = await import('node:worker_threads');
  const worker = new Worker(pathToFileURL(program), { argv: ['rendering', 'stay', testModel] });
  await new Promise((resolve) => worker.once('message', resolve));
  t.equal(await worker.terminate(), 1);
});
