import { Writable } from 'node:stream';
import t from 'tap';
import { childEnvironment, loadConfig } from '../src/config.js';
import { createLog } from '../src/log.js';

void t.test('without any setting the contract defaults hold', async (t) => {
  const config = loadConfig({});
  t.match(config, {
    host: '127.0.0.1',
    port: 3000,
    baseUrl: 'http://localhost:3000',
    redis: { named: false, host: 'localhost', port: 6379, db: 0, password: undefined },
    queueName: 'task_queue_gpu_{gpu_id}',
    progressChannel: 'task_progress',
    devices: [{ id: 0, device: 'cpu' }],
    tempFiles: { expiryMs: 24 * 3_600_000 },
  });
  t.throws(() => ((config.redis as { port: number }).port = 1), TypeError, 'frozen to the bottom');
});

void t.test(
  'everything that is wrong is reported at once, secrets without their value',
  async (t) => {
    const wrong = {
      PORT: '70000',
      REDIS_PORT: 'abc',
      TEMP_FILE_EXPIRY: '-1',
      WORKER_DEVICES: 'cpu,cpu',
      API_TOKEN: 'short',
      LOG_LEVEL: 'loud',
      BASE_URL: 'ftp://x',
    };
    try {
      loadConfig(wrong);
      t.fail('accepted');
    } catch (error) {
      t.match(error, { code: 'CONFIG_INVALID', message: /^7 settings are wrong/ });
      for (const key of Object.keys(wrong)) t.match((error as Error).message, key);
      t.notMatch((error as Error).message, 'short');
    }
  },
);

void t.test('values', async (t) => {
  t.equal(loadConfig({ REDIS_DB: '0' }).redis.named, true);
  t.equal(
    loadConfig({ PORT: '', BASE_URL: 'https://a.example/x/' }).baseUrl,
    'https://a.example/x',
  );
  t.same(loadConfig({ WORKER_DEVICES: 'cuda:0,cuda:2,cpu' }).devices, [
    { id: 0, device: 'cuda:0' },
    { id: 2, device: 'cuda:2' },
    { id: 1, device: 'cpu' },
  ]);
  t.match(loadConfig({ MODEL: '/models/big' }).modelFolder, '/models/big');
  t.match(loadConfig({ MODEL: 'small' }).modelFolder, /weights.small$/);
  t.same(childEnvironment({ PORT: '1', REDIS_HOST: undefined }, { REDIS_HOST: 'a', HOME: '/h' }), {
    PORT: '1',
    HOME: '/h',
  });
});

void t.test('the log hides secrets and queries', async (t) => {
  const lines: string[] = [];
  const log = createLog(
    'info',
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        lines.push(chunk.toString());
        done();
      },
    }),
  );
  log.info({
    password: 'hush',
    redis: { password: 'hush' },
    a: { headers: { authorization: 'hush' } },
  });
  log.info({ req: { method: 'GET', url: '/ws?token=hush', ip: '::1' } });
  t.equal(lines.length, 2);
  t.notMatch(lines.join(''), 'hush');
  t.match(lines[1], '/ws?[redacted]');
});
