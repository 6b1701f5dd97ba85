import { once } from 'node:events';
import { createServer } from 'node:net';
import { mock } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { CodedError } from '../../src/errors.js';
import { createLog } from '../../src/log.js';
import { meters } from '../../src/observe/meters.js';
import {
  type Tuning,
  isRetryable,
  resilient,
  retryAfterMs,
  retryable,
} from '../../src/provider/resilience.js';
import { refusal } from '../helpers/media.js';

/** Time that only `mock.timers.tick` moves. */
function clock(t: Test, api: 'Date' | 'setTimeout'): void {
  mock.timers.enable({ apis: [api] });
  t.teardown(() => mock.timers.reset());
}

const log = createLog('silent');
/** 1 while a service gets no calls. */
async function circuitOf(service: string): Promise<number | undefined> {
  const { values } = await meters.circuitOpen.get();
  return values.find(({ labels }) => labels.service === service)?.value;
}

const never = new AbortController().signal;
const overloaded = () => retryable(new CodedError('ASR_UNAVAILABLE', 'overloaded'));
const refused = () => new CodedError('ASR_FAILED', 'the audio is no audio');

function service(
  settings: { timeoutMs?: number; retries?: number } = {},
  tuning: Tuning = { backoffMs: 1 },
) {
  return resilient('asr:test', { timeoutMs: 5000, retries: 2, ...settings }, log, tuning);
}

/** Work that does one thing after the other, and how often it was asked. */
function script(...steps: (() => unknown)[]) {
  const calls: AbortSignal[] = [];
  const work = async (signal: AbortSignal): Promise<unknown> => {
    const step = steps[Math.min(calls.length, steps.length - 1)];
    calls.push(signal);
    return step?.();
  };
  return { calls, work };
}
const fail = (make: () => unknown) => () => {
  throw make();
};
/** Work that never ends by itself, and does not look at its signal. */
const hang = () => new Promise<never>(() => undefined);

void t.test('what may pass is tried again, as often as allowed', async (t) => {
  const passing = script(fail(overloaded), fail(overloaded), () => 'words');
  t.equal(await service().run(passing.work, never), 'words');
  t.equal(passing.calls.length, 3);

  const lasting = script(fail(overloaded));
  t.equal((await refusal(service().run(lasting.work, never))).message, 'overloaded');
  t.equal(lasting.calls.length, 3, 'one call and two retries');

  const once = script(fail(overloaded));
  await refusal(service({ retries: 0 }).run(once.work, never));
  t.equal(once.calls.length, 1, 'no retries when none are wanted');
});

void t.test('a refusal is final, and so is a bug', async (t) => {
  const refusing = script(fail(refused));
  t.equal((await refusal(service().run(refusing.work, never))).code, 'ASR_FAILED');
  t.equal(refusing.calls.length, 1);
  const broken = script(fail(() => new TypeError('a bug')));
  await t.rejects(service().run(broken.work, never), new TypeError('a bug'));
  t.equal(broken.calls.length, 1);
});

void t.test('a service decides how long we wait', async (t) => {
  const busy = script(
    fail(() => retryable(new CodedError('ASR_UNAVAILABLE', 'busy'), 120)),
    () => 'words',
  );
  const started = performance.now();
  t.equal(await service().run(busy.work, never), 'words');
  t.ok(performance.now() - started >= 115, 'not earlier than it asked');

  const long = script(fail(() => retryable(new CodedError('ASR_UNAVAILABLE', 'closed'), 60_000)));
  t.equal((await refusal(service({ timeoutMs: 1000 }).run(long.work, never))).message, 'closed');
  t.equal(long.calls.length, 1, 'nobody is kept waiting for longer than a timeout');

  t.equal(retryAfterMs('2'), 2000);
  t.ok(Math.abs((retryAfterMs(new Date(Date.now() + 9000).toUTCString()) ?? 0) - 9000) < 1500);
  t.equal(retryAfterMs('Thu, 01 Jan 1970 00:00:00 GMT'), 0);
  for (const header of [null, undefined, '', 'soon', '-1'])
    t.notOk(retryAfterMs(header), `${header}`);
});

void t.test('an attempt that takes too long is given up', async (t) => {
  const slow = script(hang);
  const error = await refusal(service({ timeoutMs: 60 }).run(slow.work, never));
  t.equal(error.code, 'PROVIDER_TIMEOUT');
  t.match(error.message, /speech recognition service \(test\) had not answered after 0.06 s/);
  t.equal(slow.calls.length, 1, 'the caller has waited long enough');
  t.equal(slow.calls[0]?.aborted, true, 'and the work is told');
});

void t.test('the caller can leave at any moment', async (t) => {
  const reason = new Error('the user speaks again');
  const controller = new AbortController();
  const stuck = script(hang);
  const working = service().run(stuck.work, controller.signal);
  controller.abort(reason);
  await t.rejects(working, reason);
  t.equal(stuck.calls[0]?.aborted, true);

  await t.rejects(service().run(stuck.work, controller.signal), reason);
  t.equal(stuck.calls.length, 1, 'an aborted caller starts nothing');

  const waiting = new AbortController();
  const busy = script(fail(() => retryable(new CodedError('ASR_UNAVAILABLE', 'busy'), 1000)));
  const between = service().run(busy.work, waiting.signal);
  setTimeout(() => waiting.abort(reason), 20);
  const first = Promise.race([between, sleep(800)]);
  await t.rejects(first, reason, 'a wait between attempts ends at once');
});

void t.test('what outlives the call follows the caller, not the clock', async (t) => {
  clock(t, 'setTimeout');
  const controller = new AbortController();
  const stream = script(() => 'opened');
  await service({ timeoutMs: 30_000 }).run(stream.work, controller.signal);
  mock.timers.tick(60_000);
  t.equal(stream.calls[0]?.aborted, false);
  controller.abort();
  t.equal(stream.calls[0]?.aborted, true);
});

void t.test('a service that keeps failing gets a rest, then one call that tries', async (t) => {
  clock(t, 'Date');
  const openMs = 60_000;
  const one = service({ retries: 0 }, { threshold: 3, openMs });
  const down = script(fail(overloaded));
  for (let i = 0; i < 3; i++) await refusal(one.run(down.work, never));
  const open = await refusal(one.run(down.work, never));
  t.equal(open.code, 'ASR_UNAVAILABLE');
  t.match(open.message, /failed 3 times in a row/);
  t.equal(down.calls.length, 3, 'the open circuit calls nobody');
  t.equal(isRetryable(open), false);
  t.equal(await circuitOf('asr:test'), 1, 'which is told');

  mock.timers.tick(openMs);
  await refusal(one.run(down.work, never));
  t.equal(down.calls.length, 4, 'one call tries');
  await refusal(one.run(down.work, never));
  t.equal(down.calls.length, 4, 'and has opened it again');

  mock.timers.tick(openMs);
  let finish = (_: string) => {};
  const trying = one.run(() => new Promise<string>((resolve) => (finish = resolve)), never);
  t.equal((await refusal(one.run(down.work, never))).code, 'ASR_UNAVAILABLE');
  t.equal(down.calls.length, 4, 'nobody else calls or waits while it tries');
  finish('words');
  t.equal(await trying, 'words');
  t.equal(await one.run(async () => 'more words', never), 'more words');
  t.equal(await circuitOf('asr:test'), 0);
});

void t.test('only the service is counted, neither refusals nor callers who leave', async (t) => {
  const one = service({ retries: 0, timeoutMs: 40 }, { threshold: 3, openMs: 60_000 });
  for (let i = 0; i < 5; i++) await refusal(one.run(script(fail(refused)).work, never));
  for (let i = 0; i < 5; i++) {
    const controller = new AbortController();
    const leaving = one.run(script(hang).work, controller.signal);
    controller.abort();
    await t.rejects(leaving);
  }
  const down = script(fail(overloaded));
  await refusal(one.run(down.work, never));
  await refusal(one.run(down.work, never));
  await refusal(one.run(script(fail(refused)).work, never));
  await refusal(one.run(down.work, never));
  t.equal(down.calls.length, 3, 'a refusal shows that it lives, and the count starts anew');
  for (let i = 0; i < 2; i++) await refusal(one.run(script(hang).work, never));
  t.equal((await refusal(one.run(down.work, never))).message.includes('in a row'), true);
  t.equal(down.calls.length, 3, 'timeouts count');
});

void t.test('a caller who leaves the trying call decides nothing', async (t) => {
  clock(t, 'Date');
  const openMs = 60_000;
  const one = service({ retries: 0 }, { threshold: 2, openMs });
  const down = script(fail(overloaded));
  for (let i = 0; i < 2; i++) await refusal(one.run(down.work, never));
  mock.timers.tick(openMs);
  const controller = new AbortController();
  const leaving = one.run(hang, controller.signal);
  controller.abort();
  await t.rejects(leaving);
  await refusal(one.run(down.work, never));
  t.equal(down.calls.length, 3, 'the next call tries');
  t.match((await refusal(one.run(down.work, never))).message, /in a row/);
});

void t.test('a line that breaks is told as such and tried again', async (t) => {
  const server = createServer((socket) => void socket.once('data', () => socket.destroy())).listen(
    0,
    '127.0.0.1',
  );
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const address = `http://127.0.0.1:${port}/`;
  let calls = 0;
  const call = (signal: AbortSignal) => (calls++, fetch(address, { signal }));
  const cut = await refusal(service().run(call, never));
  t.equal(cut.code, 'ASR_UNAVAILABLE');
  t.match(cut.message, /could not be reached \(UND_ERR_SOCKET|ECONNRESET\)/);
  t.equal(calls, 3);

  server.close();
  await once(server, 'close');
  const gone = await refusal(
    resilient('tts:far', { timeoutMs: 5000, retries: 0 }, log).run(call, never),
  );
  t.equal(gone.code, 'TTS_UNAVAILABLE');
  t.match(gone.message, /speech synthesis service \(far\) could not be reached \(ECONNREFUSED\)/);
});
