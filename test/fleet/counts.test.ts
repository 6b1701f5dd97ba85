import t from 'tap';
import { LocalCounts } from '../../src/limit/counts.js';
import { Fleet, type FleetTimes } from '../../src/fleet/fleet.js';
import { startRedis, until } from '../helpers/redis.js';

const config = { hostName: 'here' };

t.test('a process alone forgets what is given back', (t) => {
  const counts = new LocalCounts();
  t.same([counts.take('a', 2), counts.take('a', 2)], [true, true]);
  t.equal(counts.take('a', 2), false);
  counts.give('a');
  t.equal(counts.get('a'), 1);
  counts.give('a');
  t.same(counts.entries(), []);
  t.end();
});

t.test('all processes count together', async (t) => {
  const redis = await startRedis(t);
  const open = async (hostName: string, times: FleetTimes = {}) => {
    const fleet = new Fleet(redis.client, { hostName }, times);
    await fleet.beat();
    return fleet;
  };
  const [one, two] = [await open('one'), await open('two')];
  const taken = await Promise.all(
    Array.from({ length: 20 }, (_, i) => [one, two][i % 2]!.counts.take('user:x', 7)),
  );
  t.equal(taken.filter(Boolean).length, 7, 'many at once cannot slip past the limit');
  t.equal(await two.counts.take('user:y', 1), true, 'each for itself');

  const third = await open('three', { deadMs: 200, beatMs: 50 });
  t.equal(await third.counts.take('user:z', 1), true);
  t.equal(await one.counts.take('user:z', 1), false);
  await until(() => one.counts.take('user:z', 1), 'a process that is not heard gives back');

  await one.retire(two.name);
  t.equal(await one.counts.take('user:y', 1), true, 'at once when it is struck off');
});

t.test('what Redis has forgotten is told again', async (t) => {
  const redis = await startRedis(t);
  const one = new Fleet(redis.client, config);
  const two = new Fleet(redis.client, { hostName: 'there' });
  await one.beat();
  t.equal(await one.counts.take('a', 1), true);
  await redis.client.flushall();
  await one.beat();
  t.equal(await two.counts.take('a', 1), false);
  one.counts.give('a');
  t.equal(await two.counts.take('a', 1), true);
});

t.test('a Redis that is away leaves each process to count by itself', async (t) => {
  const redis = await startRedis(t);
  const fleet = new Fleet(redis.client, config);
  await fleet.beat();
  await redis.server.stop();
  t.equal(await fleet.counts.take('a', 1), true);
  t.equal(await fleet.counts.take('a', 1), false);
});

t.test('what there may be only one of is held by the first', async (t) => {
  const redis = await startRedis(t);
  const [one, two] = ['one', 'two'].map((hostName) => new Fleet(redis.client, { hostName }));
  await one!.beat();
  await two!.beat();
  t.equal(await one!.hold('c'), one!.name);
  t.equal(await two!.hold('c'), one!.name);
  await two!.release('c');
  t.equal(await two!.hold('c'), one!.name, 'another cannot let it go');
  await one!.release('c');
  t.equal(await two!.hold('c'), two!.name);
  await one!.retire(two!.name);
  t.equal(await one!.hold('c'), one!.name, 'nor does it stay with one that is gone');
});
