import fc from 'fast-check';
import t from 'tap';
import { loadConfig } from '../../src/config.js';
import { networkOf as addressKey } from '../../src/limit/network.js';
import { checkOrigin } from '../../src/limit/origin.js';
import { closeReason } from '../../src/session/socket/close.js';
import { parseFrame } from '../../src/session/socket/frame.js';
import { Alarm, TokenBucket } from '../../src/session/socket/limits.js';
import { type Line, Outbox } from '../../src/session/socket/outbox.js';
import { until } from '../helpers/redis.js';
import { cpuMs } from '../helpers/cpu.js';

const config = (settings: Record<string, string> = {}) =>
  loadConfig({ DATA_DIR: '/nowhere', ...settings });

t.test('any JSON object of a modest shape is read as it is', async (t) => {
  const value = fc.letrec((tie) => ({
    leaf: fc.oneof(fc.string({ unit: 'binary' }), fc.integer(), fc.boolean(), fc.constant(null)),
    tree: fc.oneof(
      { maxDepth: 3 },
      tie('leaf'),
      fc.array(tie('tree'), { maxLength: 5 }),
      fc.dictionary(fc.string({ unit: 'binary' }), tie('tree'), { maxKeys: 5 }),
    ),
  })).tree;
  fc.assert(
    fc.property(fc.dictionary(fc.string(), value, { maxKeys: 5 }), (frame) => {
      const text = JSON.stringify(frame);
      t.strictSame(JSON.stringify(parseFrame(Buffer.from(text))), text);
    }),
    { numRuns: 300 },
  );
});

t.test('anything else is FRAME_MALFORMED, whatever it is', async (t) => {
  const hostile = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('{', '{"', '{"\\', '{"a":"\\"}', '[[[[', '{}{}', '"\\u', '', '{"a":1}]'),
    fc.nat(2000).map((n) => '{"a":'.repeat(n)),
    fc.nat(5000).map((n) => `{"a":[${'0,'.repeat(n)}0]}`),
  );
  fc.assert(
    fc.property(hostile, (text) => {
      try {
        const frame = parseFrame(Buffer.from(text));
        return typeof frame === 'object' && frame !== null && !Array.isArray(frame);
      } catch (error) {
        return (error as { code?: string }).code === 'FRAME_MALFORMED';
      }
    }),
    { numRuns: 1000 },
  );
  t.throws(() => parseFrame(Buffer.from('[]')), { code: 'FRAME_MALFORMED' });
});

t.test('a large hostile frame costs little', async (t) => {
  const frames = [
    '['.repeat(16_000_000),
    `{"a":[${'[],'.repeat(5_000_000)}0]}`,
    `{"a":[${'"",'.repeat(5_000_000)}0]}`,
  ];
  const ms = cpuMs(() => {
    for (const text of frames) {
      t.throws(() => parseFrame(Buffer.from(text)), { code: 'FRAME_MALFORMED' });
    }
    const escapes = `{"a":"${'\\"'.repeat(4_000_000)}"}`;
    t.equal((parseFrame(Buffer.from(escapes))['a'] as string).length, 4_000_000);
  });
  t.ok(ms < 3000, `${ms} ms`);
});

t.test('a token bucket', async (t) => {
  let now = 0;
  const bucket = new TokenBucket(10, () => now);
  const taken = () => {
    let count = 0;
    while (bucket.take()) count++;
    return count;
  };
  t.equal(taken(), 20, 'the burst');
  now += 500;
  t.equal(taken(), 5);
  now += 60_000;
  t.equal(taken(), 20, 'never more than the burst');
});

t.test('an alarm may be a month away, and moved', async (t) => {
  let rings = 0;
  const alarm = new Alarm(() => rings++);
  alarm.set(Date.now() + 40 * 86_400_000);
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.equal(rings, 0);
  alarm.set(Date.now() - 1);
  await until(() => rings === 1, 'it rang');
  alarm.set(Date.now() + 5);
  alarm.clear();
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.equal(rings, 1);
});

t.test('whose pages may connect', async (t) => {
  const admits = (
    settings: Record<string, string>,
    origin: string | undefined,
    host = 'h:3000',
  ) => {
    try {
      checkOrigin(origin, host, config(settings));
      return true;
    } catch (error) {
      t.match(error, { code: 'ORIGIN_REFUSED' });
      return false;
    }
  };
  const loopback = {};
  t.ok(admits(loopback, undefined));
  t.ok(admits(loopback, 'http://localhost:5173'));
  t.ok(admits(loopback, 'http://127.0.0.1'));
  t.ok(admits(loopback, 'http://[::1]:8080'));
  t.notOk(admits(loopback, 'https://evil.example'));
  t.notOk(admits(loopback, 'http://evil.example:3000', 'evil.example:3000'), 'DNS rebinding');
  t.notOk(admits(loopback, 'http://localhost.evil.example'));
  t.notOk(admits(loopback, 'null'));
  t.notOk(admits(loopback, 'file://'));
  const behindProxy = { PUBLIC_BASE_URL: 'https://chat.example' };
  t.ok(admits(behindProxy, 'https://chat.example', 'chat.example'));
  const network = { HOST: '0.0.0.0' };
  t.ok(admits(network, 'http://server.lan:3000', 'server.lan:3000'));
  t.notOk(admits(network, 'http://localhost:5173', 'server.lan:3000'));
  t.notOk(admits(network, 'https://evil.example', 'server.lan:3000'));
  const listed = { HOST: '0.0.0.0', WS_ALLOWED_ORIGINS: 'https://a.example,http://B.example:8080' };
  t.ok(admits(listed, 'https://a.example'));
  t.ok(admits(listed, 'http://b.example:8080'));
  t.notOk(admits(listed, 'http://b.example'));
  t.notOk(admits(listed, 'http://h:3000', 'h:3000'), 'a list is the whole list');
  t.ok(admits(listed, undefined));
  t.ok(admits({ WS_ALLOWED_ORIGINS: '*' }, 'null'));
});

t.test('what counts as one address', async (t) => {
  t.equal(addressKey('192.0.2.1'), '192.0.2.1');
  t.equal(addressKey('::ffff:192.0.2.1'), '192.0.2.1');
  t.equal(addressKey('2001:db8:1:2:3:4:5:6'), addressKey('2001:db8:1:2::1'));
  t.equal(addressKey('2001:0db8:1:2::1'), addressKey('2001:db8:1:2:ffff::1'));
  t.not(addressKey('2001:db8:1:2::1'), addressKey('2001:db8:1:3::1'));
  t.equal(addressKey('::1'), '0:0:0:0::/64');
  t.equal(addressKey('fe80::1%eth0'), addressKey('fe80::2'));
});

t.test('close reasons fit into their frame', async (t) => {
  t.equal(closeReason('short'), 'short');
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), (text) => {
      const reason = closeReason(text);
      return (
        Buffer.byteLength(reason) <= 123 && text.startsWith(reason) && !reason.includes('\ufffd')
      );
    }),
  );
});

/** Takes a frame off the wire whenever the test says so. */
class Wire implements Line {
  readonly sent: string[] = [];
  readonly #callbacks: { bytes: number; sent: () => void }[] = [];
  bufferedAmount = 0;

  send(text: string, sent: () => void): void {
    this.sent.push(text);
    this.bufferedAmount += text.length;
    this.#callbacks.push({ bytes: text.length, sent });
  }

  take(): boolean {
    const next = this.#callbacks.shift();
    if (next === undefined) return false;
    this.bufferedAmount -= next.bytes;
    next.sent();
    return true;
  }
}

t.test(
  'an outbox keeps order, loses nothing but what was replaced, and knows its limit',
  async (t) => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.record({ key: fc.constantFrom(undefined, undefined, 'p', 'q') }) },
      { weight: 2, arbitrary: fc.constant('take' as const) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const wire = new Wire();
        const slow: string[] = [];
        const limits = { coalesceBytes: 30, maxBufferBytes: 100_000, stuckMs: 60_000 };
        const outbox = new Outbox(wire, limits, (message) => slow.push(message));
        const last = new Map<string, number>();
        const plain: number[] = [];
        let n = 0;
        for (const one of steps) {
          if (one === 'take') {
            wire.take();
            continue;
          }
          outbox.send(`${one.key ?? ''}:${++n}`, one.key);
          if (one.key === undefined) plain.push(n);
          else last.set(one.key, n);
        }
        while (wire.take());
        outbox.close();
        const sent = wire.sent.map((text) => text.split(':') as [string, string]);
        const numbers = sent.map(([, number]) => Number(number));
        t.strictSame(
          numbers,
          [...numbers].sort((a, b) => a - b),
        );
        t.strictSame(
          sent.filter(([key]) => key === '').map(([, number]) => Number(number)),
          plain,
        );
        for (const [key, number] of last) {
          t.ok(sent.some(([k, sentNumber]) => k === key && Number(sentNumber) === number));
        }
        t.strictSame(slow, []);
      }),
      { numRuns: 200 },
    );
  },
);

t.test('an outbox that overflows gives up once and sends nothing more', async (t) => {
  const wire = new Wire();
  const slow: string[] = [];
  const limits = { coalesceBytes: 10, maxBufferBytes: 100, stuckMs: 60_000 };
  const outbox = new Outbox(wire, limits, (message) => slow.push(message));
  for (let i = 0; i < 50; i++) outbox.send('0123456789');
  t.equal(slow.length, 1);
  const count = wire.sent.length;
  while (wire.take());
  outbox.send('more');
  t.equal(wire.sent.length, count);
});

t.test('an outbox hands over what waits before it is closed', async (t) => {
  const wire = new Wire();
  const limits = { coalesceBytes: 5, maxBufferBytes: 1000, stuckMs: 60_000 };
  const outbox = new Outbox(wire, limits, () => t.fail('not slow'));
  for (let i = 0; i < 5; i++) outbox.send(`frame ${i}`);
  outbox.flush();
  outbox.send('too late');
  while (wire.take());
  outbox.close();
  t.strictSame(wire.sent, ['frame 0', 'frame 1', 'frame 2', 'frame 3', 'frame 4']);
});
