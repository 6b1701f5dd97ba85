import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createLog } from '../../src/log.js';
import { type SentinelConfig, loadConfig } from '../../src/config.js';
import { freePort } from '../../src/queue/private-redis.js';
import { checkRedis, connectRedis } from '../../src/queue/redis.js';
import { temporaryFolder } from '../helpers/folder.js';
import { until } from '../helpers/until.js';

const log = createLog('silent');

/** A redis-server with these lines of configuration. */
async function start(t: Test, port: number, lines: readonly string[], ...more: string[]) {
  const folder = await temporaryFolder(t);
  const file = join(folder, 'redis.conf');
  const all = [`port ${port}`, 'bind 127.0.0.1', `dir ${folder}`, 'save ""', ...lines];
  await writeFile(file, `${all.join('\n')}\n`);
  const child = spawn('redis-server', [file, ...more], { stdio: 'ignore' });
  t.teardown(() => child.kill('SIGKILL'));
  return child;
}

t.test('connections follow the master that the sentinels name', async (t) => {
  const [first, second, sentinel] = [await freePort(), await freePort(), await freePort()];
  const master = await start(t, first, []);
  await start(t, second, [`replicaof 127.0.0.1 ${first}`, 'repl-diskless-sync-delay 0']);
  const config = loadConfig({
    ...{ LOG_LEVEL: 'silent', DATA_DIR: '/nowhere', REDIS_SENTINEL_NAME: 'tasks' },
    REDIS_SENTINELS: `127.0.0.1:${await freePort()},127.0.0.1:${sentinel}`,
  });
  t.equal(config.redis.named, true);
  const replica = connectRedis(
    {
      ...config,
      redis: { ...config.redis, port: second, sentinels: undefined, host: '127.0.0.1' },
    },
    log,
  );
  t.teardown(() => replica.disconnect());
  await until(
    async () => /master_link_status:up/.test(await replica.info('replication')),
    'the replica follows',
  );
  await start(
    t,
    sentinel,
    [
      `sentinel monitor tasks 127.0.0.1 ${first} 1`,
      'sentinel down-after-milliseconds tasks 500',
      'sentinel failover-timeout tasks 3000',
    ],
    '--sentinel',
  );
  await checkRedis(config, log, 20_000);
  // One that takes connections and says nothing, as a sentinel that hangs.
  const mute = createServer(() => undefined);
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
  t.teardown(() => mute.close());
  const { port } = mute.address() as AddressInfo;
  const named = config.redis.sentinels as SentinelConfig;
  const servers = [{ host: '127.0.0.1', port }, ...named.servers];
  const redis = connectRedis(
    { ...config, redis: { ...config.redis, sentinels: { ...named, servers } } },
    log,
  );
  t.teardown(() => redis.disconnect());
  await redis.rpush('queue', 'before');
  t.match(await redis.info('server'), new RegExp(`tcp_port:${first}`));
  await until(async () => (await replica.llen('queue')) === 1, 'it is replicated');
  // a sentinel promotes only replicas that it has heard of
  const watcher = connectRedis(
    {
      ...config,
      redis: { ...config.redis, port: sentinel, sentinels: undefined, host: '127.0.0.1' },
    },
    log,
  );
  t.teardown(() => watcher.disconnect());
  await until(
    async () => /slaves=1/.test(await watcher.info('sentinel')),
    'the sentinel knows the replica',
  );
  master.kill('SIGKILL');
  await redis.rpush('queue', 'after');
  t.match(await redis.info('server'), new RegExp(`tcp_port:${second}`));
  t.same(await redis.lrange('queue', 0, -1), ['before', 'after']);
});
