import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import t from 'tap';
import { SocketClient } from '../../scripts/socket-client.js';
import { buildApp } from '../../src/app.js';
import { loadConfig } from '../../src/config.js';
import { createLog, secretsOf } from '../../src/log.js';
import { secretSettings } from '../../src/config/settings.js';
import { projectRoot } from '../../src/paths.js';
import { connectRedis } from '../../src/queue/redis.js';
import { upload } from '../helpers/app.js';
import { Client } from '../helpers/client.js';
import { startRedis, taskJson } from '../helpers/redis.js';
import { picture, tone } from '../helpers/samples.js';
import { ownSettings } from '../helpers/stack.js';
import { until } from '../helpers/until.js';

void t.test('a full run leaves no secret in the log', async (t) => {
  const redis = await startRedis(t);
  await redis.client.call('ACL', 'SETUSER', 'default', 'on', 'nopass', '>right-redis-word');
  const keys = {
    OPENAI_API_KEY: 'sk-openai-key-of-this-test',
    DASHSCOPE_API_KEY: 'sk-dashscope-key-of-this-test',
    JWT_SECRET: 'the signing secret of this very test',
    REDIS_PASSWORD: 'right-redis-word',
    OPERATOR_TOKEN: 'the-operator-of-this-test',
  };
  const config = redis.config({
    ...keys,
    DIALOGUE: 'openai',
    DIALOGUE_MODEL: 'none',
    OPENAI_BASE_URL: 'http://127.0.0.1:1/v1',
    PROVIDER_RETRIES: '0',
  });
  let text = '';
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString();
      done();
    },
  });
  const log = createLog('trace', sink, secretsOf(config));
  const connection = connectRedis(config, log);
  const app = await buildApp({ config, log, redis: connection });
  t.teardown(async () => {
    await app.close();
    connection.disconnect();
  });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });

  const person = { username: 'ann', password: 'the password of ann' };
  const client = new Client(url);
  await client.post('/api/auth/register', person);
  const wrong = { ...person, password: 'a wrong password' };
  t.equal((await client.post('/api/auth/login', wrong)).status, 401);
  const { body: login } = await client.post<Record<string, string>>('/api/auth/login', person);
  const access = String(login['access_token']);
  const refresh = String(login['refresh_token']);
  await client.get('/api/account?token=a-token-in-a-query');
  await new Client(url, `${access}broken`).get('/api/account');
  const operator = new Client(url, keys.OPERATOR_TOKEN);
  t.equal((await operator.get('/api/operator/status')).status, 200);
  await new Client(url, 'a-wrong-operator-token').get('/api/operator/status');
  await upload(url, tone(0.2), 'a.wav', 'file', { authorization: `Bearer ${access}` });

  const socket = await SocketClient.connect(`${url}/ws?mode=voice&token=${access}`);
  t.teardown(() => socket.socket.terminate());
  const heard = (event: string) => socket.received.filter((frame) => frame['event'] === event);
  await until(() => heard('connection_ack').length > 0, 'the session');
  const { resume_token: resume } = heard('connection_ack')[0]?.['data'] as Record<string, string>;
  socket.send({ event: 'text_message', data: { text: 'hello' } });
  await until(() => heard('error').length > 0, 'the provider fails');
  const bad = await SocketClient.connect(`${url}/ws?mode=voice&token=bad-token-in-a-query`);
  await bad.closed;
  await client.post('/api/auth/refresh', { refresh_token: refresh });

  const failing = connectRedis(
    loadConfig({ ...settingsOf(config), REDIS_PASSWORD: 'wrong-redis-word' }),
    createLog('trace', sink, ['wrong-redis-word']),
  );
  await failing.call('ACL', 'SETUSER', 'default', 'resetpass').catch(() => undefined);
  failing.disconnect();
  log.error({ err: Object.assign(new Error('no'), { command: { args: [keys.REDIS_PASSWORD] } }) });
  const database = loadConfig({ DATABASE_URL: 'postgres://ann:p%40ss-word@127.0.0.1:1/db' });
  const other = createLog('trace', sink, secretsOf(database));
  other.info('postgres://ann:p%40ss-word@127.0.0.1:1/db with p@ss-word');

  await until(() => text.includes('disconnected'), 'the log is written');
  t.ok(text.split('\n').length > 15, 'something was logged');
  const secrets = {
    ...keys,
    ...{ password: person.password, wrong: wrong.password, access, refresh, resume },
    ...{
      operator: 'a-wrong-operator-token',
      query: 'a-token-in-a-query',
      bad: 'bad-token-in-a-query',
      redis: 'wrong-redis-word',
    },
    ...{
      database: 'p%40ss-word',
      decoded: 'p@ss-word',
      worker: await redis.client.get('worker_key'),
    },
  };
  for (const [name, secret] of Object.entries(secrets)) {
    t.ok(secret, name);
    t.notOk(text.includes(String(secret)), `${name} is not in the log`);
  }
});

void t.test('nor do the processes of a whole service, whatever a task does', async (t) => {
  const redis = await startRedis(t);
  const heard = await redis.listen();
  await redis.client.call('ACL', 'SETUSER', 'default', 'on', 'nopass', '>right-redis-word');
  const { redis: at } = redis.config();
  const secrets = {
    API_TOKEN: 'the-token-of-all-programs',
    JWT_SECRET: 'the signing secret of a whole service',
    REDIS_PASSWORD: 'right-redis-word',
    OPENAI_API_KEY: 'sk-openai-key-of-a-whole-service',
  };
  const own = await ownSettings(t);
  const settings = {
    ...own,
    ...{ REDIS_HOST: at.host, REDIS_PORT: String(at.port), LOG_LEVEL: 'trace' },
    ...{ WORKER_DEVICES: 'sim:1', SIM_FRAME_MS: '1', ...secrets },
  };
  const server = spawn(process.execPath, [join(projectRoot, 'dist', 'scripts', 'start.js')], {
    env: { ...process.env, ...settings },
  });
  t.teardown(() => server.kill('SIGKILL'));
  let text = '';
  for (const stream of [server.stdout, server.stderr]) {
    stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
  }
  await until(() => text.includes('Ready: ') || server.exitCode !== null, 'the service', 120_000);
  t.equal(server.exitCode, null, 'it serves');

  const headers = { authorization: `Bearer ${secrets.API_TOKEN}` };
  const url = String(own['BASE_URL']);
  const image = await upload(url, await picture(), 'a.png', 'file', headers);
  const audio = await upload(url, tone(0.3), 'a.wav', 'file', headers);
  const files = { ref_image_id: image.body.file_id, audio_id: audio.body.file_id };
  await redis.client.rpush('task_queue_gpu_0', taskJson('good', files), taskJson('bad'));
  const ended = (id: string) =>
    heard.find((update) => update.task_id === id && /completed|failed/.test(update.status));
  await until(() => ended('bad') !== undefined, 'the end of both tasks', 60_000);
  t.match([ended('good')?.status, ended('bad')?.status], ['completed', 'failed']);
  server.kill('SIGTERM');
  await once(server, 'close');

  t.match(text, /"task_?[iI]d":"good"|"good"/, 'the worker logged its task');
  const worker = await redis.client.get('worker_key');
  for (const [name, secret] of Object.entries({ ...secrets, worker })) {
    t.ok(secret, name);
    const line = text.split('\n').find((one) => one.includes(String(secret)));
    t.equal(line?.replaceAll(String(secret), '…'), undefined, `${name} is not in the log`);
  }
});

void t.test('every secret setting is known to the log', async (t) => {
  for (const setting of secretSettings) {
    const secret = `the_${setting}_of_this_test_and_no_other`;
    const valueOf: Record<string, string> = {
      DATABASE_URL: `postgres://ann:${secret}@127.0.0.1/db`,
      OTEL_EXPORTER_OTLP_HEADERS: `authorization=${secret}`,
    };
    const value = valueOf[setting] ?? secret;
    const config = loadConfig({
      ...{ TEMP_FILE_STORE: 's3://bucket/temp', REDIS_SENTINELS: '127.0.0.1:26379' },
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318',
      ...{ S3_ACCESS_KEY_ID: 'key', S3_SECRET_ACCESS_KEY: 'secret', [setting]: value },
    });
    t.ok(secretsOf(config).includes(secret), setting);
  }
});

function settingsOf({ redis }: ReturnType<typeof loadConfig>): Record<string, string> {
  return { REDIS_HOST: redis.host, REDIS_PORT: String(redis.port) };
}
