import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { piecesUntil, timeLimit, unlessAborted } from '../../src/abort.js';

t.test('waiting ends with the signal', async (t) => {
  const controller = new AbortController();
  t.equal(await unlessAborted(Promise.resolve(1), controller.signal), 1);
  await t.rejects(unlessAborted(Promise.reject(new Error('failed')), controller.signal), /failed/);
  let isClosed = false;
  async function* source() {
    try {
      yield 1;
      await sleep(20);
      yield 2;
    } finally {
      isClosed = true;
    }
  }
  const waiting = unlessAborted(new Promise(() => undefined), controller.signal);
  const heard: number[] = [];
  const reading = (async () => {
    for await (const one of piecesUntil(source(), controller.signal)) {
      heard.push(one);
      controller.abort(new Error('enough'));
    }
  })();
  await t.rejects(reading, /enough/);
  await t.rejects(waiting, /enough/);
  t.same(heard, [1]);
  await sleep(50);
  t.ok(isClosed, 'the source is told');
});

t.test('a time limit survives the garbage collection', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const caller = new AbortController();
  const late = () => new Error('late');
  const aborted = ({ signal }: { signal: AbortSignal }) =>
    unlessAborted(new Promise(() => undefined), signal);
  const waiting = aborted(timeLimit(caller.signal, 20, late));
  collect();
  await t.rejects(waiting, /late/);

  const long = timeLimit(caller.signal, 60_000, late);
  caller.abort(new Error('enough'));
  await t.rejects(aborted(long), /enough/);
  t.notOk(long.limit.aborted);
  long.end();
});
