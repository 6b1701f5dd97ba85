import { Writable } from 'node:stream';
import t from 'tap';
import { SocketClient } from '../../scripts/socket-client.js';
import { buildApp } from '../../src/app.js';
import { loadConfig } from '../../src/config.js';
import { createLog, secretsOf } from '../../src/log.js';
import { secretSettings } from '../../src/settings.js';
import { connectRedis } from '../../src/queue/redis.js';
import { upload } from '../helpers/app.js';
import { Client } from '../helpers/client.js';
import { startRedis } from '../helpers/redis.js';
import { tone } from '../helpers/samples.js';
import { until } from '../helpers/until.js';

void t.test('a full run leaves no secret in the log', async (t) => {
  const redis = await startRedis(t);
  await redis.client.call('ACL', 'SETUSER', 'default', 'on', 'nopass', '>right-redis-word');
  const keys = {
    OPENAI_API_KEY: 'sk-openai-key-of-this-test',
    DASHSCOPE_API_KEY: 'sk-dashscope-key-of-this-test',
    JWT_SECRET: 'the signing secret of this very test',
    REDIS_PASSWORD: 'right-redis-word',
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
    ...{ query: 'a-token-in-a-query', bad: 'bad-token-in-a-query', redis: 'wrong-redis-word' },
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

void t.test('every secret setting is known to the log', async (t) => {
  for (const setting of secretSettings) {
    const secret = `the_${setting}_of_this_test_and_no_other`;
    const value = setting === 'DATABASE_URL' ? `postgres://ann:${secret}@127.0.0.1/db` : secret;
    const config = loadConfig({
      ...{ TEMP_FILE_STORE: 's3://bucket/temp', REDIS_SENTINELS: '127.0.0.1:26379' },
      ...{ S3_ACCESS_KEY_ID: 'key', S3_SECRET_ACCESS_KEY: 'secret', [setting]: value },
    });
    t.ok(secretsOf(config).includes(secret), setting);
  }
});

function settingsOf({ redis }: ReturnType<typeof loadConfig>): Record<string, string> {
  return { REDIS_HOST: redis.host, REDIS_PORT: String(redis.port) };
}
