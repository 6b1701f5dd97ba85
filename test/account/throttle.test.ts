import t from 'tap';
import { LoginThrottle } from '../../src/account/throttle.js';
import { networkOf } from '../../src/limit/network.js';
import { loadConfig } from '../../src/config.js';
import { connectRedis } from '../../src/queue/redis.js';
import { createLog } from '../../src/log.js';
import { startRedis, until } from '../helpers/redis.js';

const settings = { LOGIN_ATTEMPTS: '2', LOGIN_WINDOW_MINUTES: '10' };

void t.test('attempts are counted by user and address, and by address', async (t) => {
  const throttle = new LoginThrottle(loadConfig(settings));
  const attempt = (address: string, name: string) => throttle.attempt(address, name);
  await attempt('192.0.2.1', 'ann');
  await attempt('192.0.2.1', 'ann');
  const refused = await attempt('192.0.2.1', 'ann').catch((error: unknown) => error);
  t.match(refused, {
    code: 'LOGIN_THROTTLED',
    status: 429,
    retryAfterSeconds: 600,
    message: 'too many attempts from this address: try again in 600 seconds',
  });
  await attempt('192.0.2.1', 'bob');
  await attempt('192.0.2.2', 'ann');
  for (let i = 0; i < 16; i++) await attempt('192.0.2.1', `user ${i}`);
  await t.rejects(attempt('192.0.2.1', 'new'), { code: 'LOGIN_THROTTLED' }, '20 are enough');
});

void t.test('a success takes back what was counted', async (t) => {
  const throttle = new LoginThrottle(loadConfig(settings));
  for (let i = 0; i < 50; i++) {
    await throttle.attempt('2001:db8::1', 'ann');
    await throttle.succeeded('2001:db8::1', 'ann');
  }
  t.pass();
  await throttle.attempt('2001:db8::1', 'ann');
  await throttle.attempt('2001:db8:0:0:ffff::2', 'ann');
  await t.rejects(throttle.attempt('2001:db8::3', 'ann'), { code: 'LOGIN_THROTTLED' });
});

void t.test('with Redis, processes count together; without it each goes on alone', async (t) => {
  const running = await startRedis(t);
  const config = running.config(settings);
  const redis = connectRedis(config, createLog('silent'));
  t.teardown(() => redis.disconnect());
  await redis.ping();
  const [one, two] = [new LoginThrottle(config, redis), new LoginThrottle(config, redis)];
  await one.attempt('192.0.2.1', 'ann');
  await two.attempt('192.0.2.1', 'ann');
  await t.rejects(one.attempt('192.0.2.1', 'ann'), { code: 'LOGIN_THROTTLED' });
  const keys = await running.client.keys('login_attempts_*');
  t.equal(keys.length, 2);
  t.notMatch(keys.join(' '), /ann/, 'names are not kept');
  for (const key of keys) t.ok((await running.client.ttl(key)) > 0);

  await running.server.stop();
  await until(() => redis.status !== 'ready', 'Redis is away');
  await one.attempt('192.0.2.1', 'ann');
  await one.attempt('192.0.2.1', 'ann');
  await t.rejects(one.attempt('192.0.2.1', 'ann'), { code: 'LOGIN_THROTTLED' });
});

void t.test('of an IPv6 address its /64 network counts', async (t) => {
  const same: [string, string][] = [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::1', '0:0:0:0::/64'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:DB8:0001:2::6', '2001:db8:1:2::/64'],
    ['2001:db8::', '2001:db8:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['not an address', 'not an address'],
  ];
  for (const [address, network] of same) t.equal(networkOf(address), network, address);
});
