import { fork } from 'node:child_process';
import { on, once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { createLog } from '../../src/log.js';
import { projectRoot } from '../../src/paths.js';
import { type ChildMessage, Keeper } from '../../worker/keeper.js';
import { temporaryFolder } from '../helpers/app.js';
import { until } from '../helpers/redis.js';
import { isGone } from '../helpers/stack.js';

const fixture = join(projectRoot, 'dist', 'test', 'worker', 'fixtures', 'child.js');

void t.test('keeper', async (t) => {
  const folder = await temporaryFolder(t);
  let number = 0;
  const keep = (
    behaviour: string,
    more: { startMs?: number; stopMs?: number; beatMs?: number } = {},
  ) => {
    const file = join(folder, `log-${number++}`);
    const exits: number[] = [];
    const reasons: string[] = [];
    const keeper = new Keeper({
      name: behaviour,
      module: fixture,
      args: [file, behaviour],
      environment: {},
      log: createLog('silent'),
      startMs: 20_000,
      stopMs: 20_000,
      onExit: async (how) => {
        exits.push(Date.now());
        reasons.push(how);
      },
      ...more,
    });
    t.teardown(() => keeper.stop());
    const lines = () =>
      existsSync(file)
        ? readFileSync(file, 'utf8')
            .trim()
            .split('\n')
            .map((line) => line.split(' '))
        : [];
    return { keeper, lines, exits, reasons };
  };

  await t.test('starts it, and again when it is killed, and stops it', async (t) => {
    const { keeper, lines, exits } = keep('good');
    await keeper.start();
    const first = keeper.pid as number;
    process.kill(first, 'SIGKILL');
    await until(() => lines().length === 2, 'a second start');
    t.equal(exits.length, 1, 'its owner heard of the end before');
    const second = Number(lines()[1]?.[1]);
    t.not(second, first);
    await keeper.stop();
    t.ok(isGone(second));
    t.equal(exits.length, 2);
  });

  await t.test('kills one that hangs', async (t) => {
    const { keeper, lines, reasons } = keep('beats', { beatMs: 20 });
    await keeper.start();
    const first = keeper.pid as number;
    process.kill(first, 'SIGSTOP');
    await until(() => lines().length === 2, 'a second start');
    t.ok(isGone(first));
    process.kill(keeper.pid as number, 'SIGKILL');
    await until(() => reasons.length === 2, 'its end');
    t.same(reasons, ['it hung', 'it was ended by SIGKILL']);
    await keeper.stop();
  });

  await t.test('one whose keeper is gone ends in its own time', async (t) => {
    const child = fork(fixture, [join(folder, 'alone'), 'beats']);
    t.teardown(() => child.kill('SIGKILL'));
    for await (const [{ type }] of on(child, 'message') as AsyncIterable<[ChildMessage]>) {
      if (type === 'beat') break;
    }
    child.disconnect();
    t.same(await once(child, 'exit'), [0, null]);
  });

  await t.test('never two at once, ever later', async (t) => {
    const { keeper, lines } = keep('crashes');
    await keeper.start();
    await until(() => lines().filter(([what]) => what === 'start').length >= 4, 'four starts');
    await keeper.stop();
    const events = lines().map(([what]) => what);
    for (const [i, what] of events.entries()) t.equal(what, i % 2 === 0 ? 'start' : 'exit');
    const waits: number[] = [];
    for (let i = 1; i + 1 < 7; i += 2)
      waits.push(Number(lines()[i + 1]?.[2]) - Number(lines()[i]?.[2]));
    t.ok((waits[2] as number) > (waits[0] as number), waits.join(' '));
  });

  await t.test('a first start that fails is final and says why', async (t) => {
    const failing = keep('fails');
    await t.rejects(failing.keeper.start(), {
      code: 'MODEL_MISSING',
      message: 'there is no model',
    });
    const dying = keep('dies');
    await t.rejects(dying.keeper.start(), { code: 'INTERNAL', message: /ended while it started/ });
    const silent = keep('silent', { startMs: 800 });
    await t.rejects(silent.keeper.start(), { message: /was not ready within 0.8 s/ });
    await new Promise((resolve) => setTimeout(resolve, 500));
    for (const { lines } of [failing, dying, silent]) {
      t.ok(lines().filter(([what]) => what === 'start').length <= 1, 'not started again');
    }
  });

  await t.test('one that does not end is killed', async (t) => {
    const { keeper } = keep('stubborn', { stopMs: 300 });
    await keeper.start();
    const pid = keeper.pid;
    await keeper.stop();
    t.ok(isGone(pid));
  });
});
