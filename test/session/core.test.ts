import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import type { SessionEvent } from '../../src/session/events.js';
import { Outlet, type Sink } from '../../src/session/core/outlet.js';
import { PiecewiseRecording } from '../../src/session/core/recording.js';
import { spoken } from '../../src/session/turn/speaking.js';
import { step } from '../../src/session/core/state.js';
import { gate } from './session-helper.js';

const event = (turn: number): SessionEvent => ({ type: 'interrupted', turn });

function listener(): Sink & { heard: [number, number][]; end: string | undefined } {
  const heard: [number, number][] = [];
  return {
    heard,
    end: undefined,
    event(one, seq) {
      heard.push([one.type === 'interrupted' ? one.turn : -1, seq]);
    },
    over(why) {
      this.end = why;
    },
  };
}

t.test('an outlet repeats exactly what was missed', (t) => {
  const outlet = new Outlet(4);
  const first = listener();
  outlet.emit(event(1));
  outlet.open(first);
  outlet.emit(event(2));
  t.same(first.heard, [[2, 2]]);

  const second = listener();
  t.ok(outlet.attach(second, event(0), 1));
  t.equal(first.end, 'replaced');
  t.notOk(outlet.detach(first), 'it has lost the session already');
  outlet.emit(event(3));
  t.same(second.heard, [
    [0, 1],
    [2, 2],
    [3, 3],
  ]);
  t.same(first.heard, [[2, 2]], 'the old one hears nothing more');

  t.ok(outlet.detach(second));
  outlet.emit(event(4));
  const third = listener();
  t.ok(outlet.attach(third, event(0)), 'by default from what was handed over');
  t.same(third.heard, [
    [0, 3],
    [4, 4],
  ]);
  for (let turn = 5; turn < 10; turn++) outlet.emit(event(turn));
  const fourth = listener();
  t.notOk(outlet.attach(fourth, event(0), 4), 'the fifth is forgotten');
  t.same(fourth.heard, [[0, 9]]);
  const fifth = listener();
  t.notOk(outlet.attach(fifth, event(0), 77), 'nobody heard what was never said');
  const sixth = listener();
  t.ok(outlet.attach(sixth, event(0), 9));
  t.same(sixth.heard, [[0, 9]]);
  outlet.close();
  t.equal(sixth.end, 'ended');
  t.end();
});

t.test('a session takes legal steps only', (t) => {
  t.equal(step('ready', 'recording'), 'recording');
  t.equal(step('ended', 'ended'), 'ended');
  t.throws(() => step('ended', 'ready'), /from ended to ready/);
  t.throws(() => step('opening', 'rendering'));
  t.end();
});

t.test('recordings in pieces have limits', async (t) => {
  const limits = { maxBytes: 100, maxSeconds: 1, pauseMs: 50 };
  const plain = new PiecewiseRecording(undefined, limits);
  plain.add(Buffer.from('abc'));
  plain.add(Buffer.from('def'));
  plain.finish();
  plain.add(Buffer.from('late'));
  t.same(await plain.complete, { data: Buffer.from('abcdef'), sampleRate: undefined });

  const rate = async (format: string) => {
    const recording = new PiecewiseRecording(format, limits);
    recording.add(Buffer.alloc(2));
    recording.finish();
    return (await recording.complete).sampleRate;
  };
  t.equal(await rate('pcm'), 16000);
  t.equal(await rate('audio/L16;rate=8000'), 8000);
  t.equal(await rate('pcm;rate=1'), 16000);
  t.equal(await rate('audio/webm;codecs=opus'), undefined);

  const large = new PiecewiseRecording(undefined, limits);
  large.add(Buffer.alloc(101));
  await t.rejects(large.complete, { code: 'FILE_TOO_LARGE' });
  const long = new PiecewiseRecording('pcm;rate=8000', { ...limits, maxBytes: 1e6 });
  long.add(Buffer.alloc(16_001));
  await t.rejects(long.complete, { code: 'AUDIO_TOO_LONG' });
  const empty = new PiecewiseRecording(undefined, limits);
  empty.finish();
  await t.rejects(empty.complete, { code: 'AUDIO_EMPTY' });
  const stalled = new PiecewiseRecording(undefined, limits);
  stalled.add(Buffer.alloc(1));
  // nothing else keeps this process alive for so long
  const alive = setInterval(() => undefined, 1000);
  await t.rejects(stalled.complete, { code: 'RECORDING_ABANDONED' });
  clearInterval(alive);
});

async function* pieces(...texts: (string | Promise<void>)[]): AsyncGenerator<string> {
  for (const one of texts) {
    if (typeof one === 'string') yield one;
    else await one;
  }
}
const speech = { pcm: new Uint8Array(320), sampleRate: 16_000 };

t.test('sentences keep their order, and few are made ahead', async (t) => {
  const { signal } = new AbortController();
  const gates = new Map<string, ReturnType<typeof gate>>();
  const text = Array.from({ length: 8 }, (_, i) => `This is the sentence number ${i}.`).join(' ');
  const speak = async (words: string) => {
    const one = gate();
    gates.set(words, one);
    await one.opened;
    return speech;
  };
  const heard: string[] = [];
  const lasts: boolean[] = [];
  const done = (async () => {
    for await (const sentence of spoken(pieces(text), speak, signal)) {
      heard.push(sentence.text);
      lasts.push(sentence.isLast);
    }
  })();
  const settled = async () => {
    for (let i = 0; i < 20; i++) await sleep(0);
  };
  await settled();
  t.equal(gates.size, 3, 'three are in the making');
  [...gates.values()][1]?.open();
  await settled();
  t.same(heard, [], 'the second waits for the first');
  for (let i = 0; i < 8; i++) {
    [...gates.values()][i]?.open();
    await settled();
    t.ok(gates.size <= heard.length + 3);
  }
  await done;
  t.equal(heard.join(' '), text);
  t.same(lasts, [...Array<boolean>(7).fill(false), true]);
});

t.test('a reply ends once, however its model pauses', async (t) => {
  const { signal } = new AbortController();
  const speak = async () => speech;
  const collect = async (source: AsyncIterable<string>) => {
    const heard = [];
    for await (const { text, isLast } of spoken(source, speak, signal))
      heard.push({ text, isLast });
    return heard;
  };
  t.same(await collect(pieces()), []);
  t.same(await collect(pieces('One.')), [{ text: 'One.', isLast: true }]);
  t.same(await collect(pieces('😀')), [{ text: '😀', isLast: true }], 'nothing to say is silence');
  t.same(await collect(pieces('A first sentence.\n\n', sleep(20))), [
    { text: 'A first sentence.', isLast: true },
  ]);
  t.same(await collect(pieces('A first sentence.\n\n', sleep(400))), [
    { text: 'A first sentence.', isLast: false },
    { text: '', isLast: true },
  ]);
  t.same(await collect(pieces('A first sentence.\n\n', sleep(400), 'And a second sentence.')), [
    { text: 'A first sentence.', isLast: false },
    { text: 'And a second sentence.', isLast: true },
  ]);
});

t.test('what fails or is cut ends the speaking', async (t) => {
  const controller = new AbortController();
  const failing = spoken(
    pieces('The first sentence. The second one.'),
    async (text) => {
      if (text.includes('second')) throw new Error('no voice');
      return speech;
    },
    controller.signal,
  );
  t.match(await failing.next(), { value: { text: 'The first sentence.', isLast: false } });
  await t.rejects(failing.next(), /no voice/);

  const never = new Promise<void>(() => undefined);
  const stuck = spoken(pieces('Hello there. ', never), async () => speech, controller.signal);
  const next = stuck.next();
  controller.abort(new Error('cut'));
  await t.rejects(next, /cut/);
});
