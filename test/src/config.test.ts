import { Writable } from 'node:stream';
import t from 'tap';
import { childEnvironment, doubtfulNames, loadConfig } from '../../src/config.js';
import { addEnvironmentFile } from '../../src/config/environment.js';
import { createLog } from '../../src/log.js';

void t.test('without any setting the contract defaults hold', async (t) => {
  const config = loadConfig({});
  t.match(config, {
    host: '127.0.0.1',
    port: 3000,
    baseUrl: 'http://localhost:3000',
    redis: { named: false, host: 'localhost', port: 6379, db: 0, password: undefined },
    queueName: 'task_queue_gpu_{gpu_id}',
    progressChannel: 'task_progress',
    devices: undefined,
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
      WORKER_DEVICES: 'cuda:1,cpu,cuda:1',
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
      t.match((error as Error).message, 'LOG_LEVEL="loud" must be one of trace, debug, info');
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
  t.equal(loadConfig({ PEER_URL: 'http://10.0.0.2:3000/' }).peerUrl, 'http://10.0.0.2:3000');
  t.match(loadConfig({ TEMP_FILE_STORE: 's3://bucket/p/', S3_ENDPOINT: 'http://x' }).tempFiles.s3, {
    ...{
      bucket: 'bucket',
      prefix: 'p',
      endpoint: 'http://x',
      pathStyle: true,
      credentials: undefined,
    },
  });
  t.same(loadConfig({ WORKER_DEVICES: 'cuda:0,cuda:2,cpu' }).devices, [
    { id: 0, device: 'cuda:0' },
    { id: 2, device: 'cuda:2' },
    { id: 1, device: 'cpu' },
  ]);
  const devices = (WORKER_DEVICES: string, more = {}) =>
    loadConfig({ WORKER_DEVICES, ...more }).devices?.map(({ id, device }) => `${id} ${device}`);
  t.same(devices('cpu,cuda:1,cpu,cpu'), ['0 cpu', '1 cuda:1', '2 cpu', '3 cpu']);
  t.same(devices('sim:3'), ['0 sim', '1 sim', '2 sim']);
  t.same(devices('cuda:1,cpu', { WORKER_FIRST_ID: '8' }), ['9 cuda:1', '8 cpu']);
  t.same(devices('none'), []);
  t.equal(devices('auto'), undefined, 'the processes that may load the engine find out');
  for (const wrong of [
    'sim',
    'sim:0',
    'sim:2,cpu',
    'cpu,sim:2',
    'cuda:0,cuda:00',
    'auto,cpu',
    ',',
  ]) {
    t.throws(() => devices(wrong), { code: 'CONFIG_INVALID' }, wrong);
  }
  t.throws(() => devices('gpu0'), { message: /a list such as cuda:0,cuda:1 or cpu,cpu/ });
  t.match(loadConfig({ MODEL: '/models/big' }).modelFolder, '/models/big');
  t.match(loadConfig({ MODEL: 'small' }).modelFolder, /weights.small$/);
  t.same(childEnvironment({ PORT: '1', REDIS_HOST: undefined }, { REDIS_HOST: 'a', HOME: '/h' }), {
    PORT: '1',
    HOME: '/h',
    ENV_FILE: 'none',
  });
});

void t.test('a file gives what the environment lacks', async (t) => {
  const folder = t.testdir({
    env: '# ours\nPORT=4000\nexport HOST="::1"\nTTS_COMMAND=\'say "x" # loudly\'\nMODEL=official\n',
  });
  const environment: Record<string, string | undefined> = {
    ENV_FILE: `${folder}/env`,
    PORT: '5000',
    MODEL: '',
  };
  addEnvironmentFile(environment);
  t.match(loadConfig(environment), {
    ...{ port: 5000, host: '::1', model: 'small' },
    speech: { ttsCommand: 'say "x" # loudly' },
  });
  t.throws(() => addEnvironmentFile({ ENV_FILE: `${folder}/none/env` }), {
    code: 'CONFIG_INVALID',
    message: 'none/env',
  });
  const none = { ENV_FILE: 'none' };
  addEnvironmentFile(none);
  t.same(none, { ENV_FILE: 'none' });
});

void t.test('names that resemble settings are named, with what may have been meant', async (t) => {
  const doubts = doubtfulNames({
    ...{ SESION_GRACE_SECONDS: '1', REDIS_PASWORD: 'hush', WS_IDLE_SECOND: '1', API_TOKENS: 'x' },
    ...{ HOME: '/h', PATH: '/bin', HOSTNAME: 'h', LANG: 'C', REDIS_PORT: '1', POST: '1' },
  });
  t.same(doubts, [
    'SESION_GRACE_SECONDS is no setting: did you mean SESSION_GRACE_SECONDS?',
    'REDIS_PASWORD is no setting: did you mean REDIS_PASSWORD?',
    'WS_IDLE_SECOND is no setting: did you mean WS_IDLE_SECONDS?',
    'API_TOKENS is no setting: did you mean API_TOKEN?',
  ]);
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

void t.test('sessions want a token unless only this machine can reach them', async (t) => {
  const required = (settings: Record<string, string>) => loadConfig(settings).account.authRequired;
  t.equal(required({}), false);
  t.equal(required({ HOST: 'localhost' }), false);
  t.equal(required({ HOST: '::1' }), false);
  t.equal(required({ HOST: '0.0.0.0' }), true);
  t.equal(required({ HOST: '192.0.2.1' }), true);
  t.equal(required({ HOST: '0.0.0.0', AUTH: 'optional' }), false);
  t.equal(required({ AUTH: 'required' }), true);
});

void t.test('quotas', async (t) => {
  const quotas = (text: string) => loadConfig({ QUOTAS: text }).account.quotas;
  t.match(loadConfig({}).account.quotas, { free: { messages: 1000 }, pro: {} });
  t.same(quotas('free:messages=3,audio_seconds=60;team-1:'), {
    free: { messages: 3, audio_seconds: 60 },
    'team-1': {},
  });
  for (const wrong of ['free', 'free:words=3', 'free:messages=-1', 'free:messages=x', ';']) {
    t.throws(() => quotas(wrong), { code: 'CONFIG_INVALID' }, wrong);
  }
});

void t.test(
  'a choice without what it needs is refused by name, a key without its value',
  async (t) => {
    const refused = (settings: Record<string, string>, message: RegExp) =>
      t.throws(() => loadConfig(settings), { code: 'CONFIG_INVALID', message });
    refused({ ASR: 'dashscope' }, /ASR=dashscope needs DASHSCOPE_API_KEY/);
    refused({ ASR: 'command' }, /ASR=command needs ASR_COMMAND/);
    refused({ TTS: 'command' }, /TTS=command needs TTS_COMMAND/);
    refused({ TTS: 'openai' }, /TTS=openai needs OPENAI_API_KEY/);
    refused({ DIALOGUE: 'openai', OPENAI_API_KEY: 'k' }, /DIALOGUE=openai needs DIALOGUE_MODEL/);
    t.ok(loadConfig({ TTS: 'openai', OPENAI_BASE_URL: 'http://localhost:8000/v1/' }));
    try {
      loadConfig({ JWT_SECRET: 'hush', DATABASE_URL: 'mysql://u:hush@h/d' });
      t.fail('accepted');
    } catch (error) {
      t.match((error as Error).message, /^2 settings are wrong/);
      t.notMatch((error as Error).message, 'hush');
    }
  },
);

void t.test('links for clients are built on the public address when there is one', async (t) => {
  t.match(loadConfig({}), { clientUrl: 'http://localhost:3000', isPublic: false });
  t.match(loadConfig({ PUBLIC_BASE_URL: 'https://talk.example/' }), {
    clientUrl: 'https://talk.example',
    baseUrl: 'http://localhost:3000',
    isPublic: true,
  });
});
