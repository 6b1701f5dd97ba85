import { readdir } from 'node:fs/promises';
import { Writable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import t, { type Test } from 'tap';
import { buildApp } from '../../src/app.js';
import type { Config } from '../../src/config.js';
import { createLog } from '../../src/log.js';
import { freePort } from '../../src/queue/private-redis.js';
import { connectRedis } from '../../src/queue/redis.js';
import type { SessionServices } from '../../src/session/services.js';
import { dashscopeSynthesiser } from '../../src/speech/dashscope/index.js';
import { openDatabase } from '../../src/store/database.js';
import { startDashscopeFake, toneOf } from '../fakes/dashscope/index.js';
import { type ChatRequest, startOpenAiFake } from '../fakes/openai/server.js';
import { textsOfWav } from '../fakes/openai/voice.js';
import { signIn } from '../helpers/account.js';
import { Client } from '../helpers/client.js';
import { type RunningRedis, startRedis, until } from '../helpers/redis.js';
import { picture } from '../helpers/samples.js';
import { startSmallestClipWorker } from '../helpers/smallest-clip.js';
import { Visitor, type VisitorOptions, nameOf, replyTo } from './visitor.js';

const count = 200;
const devices = [0, 1, 2, 3];

interface Server {
  readonly app: FastifyInstance;
  readonly url: string;
  readonly config: Config;
}

/** Lines of the log, from warnings on. */
const lines: { level: number; msg: string }[] = [];
const log = createLog(
  'warn',
  new Writable({
    write(line: Buffer, _encoding, done) {
      lines.push(JSON.parse(line.toString()) as { level: number; msg: string });
      done();
    },
  }),
);

async function startServer(
  t: Test,
  redis: RunningRedis,
  settings: Record<string, string>,
  servicesOf: (config: Config) => Partial<SessionServices> = () => ({}),
): Promise<Server> {
  const port = String(await freePort());
  const config = redis.config({
    ...{ PORT: port, BASE_URL: `http://127.0.0.1:${port}`, SESSIONS_PER_ADDRESS: String(count) },
    ...{ UPLOADS_PER_ADDRESS: String(count) },
    ...{ SESSION_GRACE_SECONDS: '0.5', TRANSFER_TIMEOUT_SECONDS: '200' },
    ...{ PROVIDER_TIMEOUT_SECONDS: '200', WS_AUTH_SECONDS: '200', TASK_WORKER_WAIT_SECONDS: '200' },
    ...settings,
  });
  const connection = connectRedis(config, log);
  const app = await buildApp({ config, log, redis: connection, services: servicesOf(config) });
  t.teardown(async () => {
    await app.close();
    connection.disconnect();
  });
  return { app, config, url: await app.listen({ host: '127.0.0.1', port: config.port }) };
}

/** The fake of the service shares a processor with everything else. */
const patient = (config: Config) => ({
  synthesiser: dashscopeSynthesiser(config, log, { connectMs: 200_000, startedMs: 200_000 }),
});

/** The model of both providers: answers with the last words, and counts them. */
function chat({ messages }: ChatRequest): string {
  const words = messages.at(-1)?.content ?? '';
  const others = JSON.stringify(messages)
    .match(/visitor \d+/g)
    ?.filter((name) => !words.includes(name));
  if (others === undefined || others.length > 0) throw new Error(`${others?.join()} in ${words}`);
  return replyTo(words, messages.filter(({ role }) => role === 'user').length);
}

/** The names of what is in Redis beyond devices, limits, tasks that are over, and cached histories. */
async function leftInRedis({ client }: RunningRedis): Promise<string[]> {
  const names = await client.keys('*');
  const states = names.filter((name) => name.startsWith('task:'));
  const last = await Promise.all(states.map((name) => client.hget(name, 'last')));
  const open = states.filter((_, i) => !/"status":"(completed|failed)"/.test(last[i] ?? ''));
  const known =
    /^(task:|gpu_status:\d+$|task_(gpus|workers|turn|recovery_turn|orphans|totals|failures)$|task_minute:\d+$|tasks_of:|worker_key$|conversation_history:)/;
  return [...open, ...names.filter((name) => !known.test(name))].sort();
}

t.test(`${count} visitors at once get what is theirs`, async (t) => {
  const redis = await startRedis(t);
  const openai = await startOpenAiFake(t, { chat });
  const dashscope = await startDashscopeFake(t, {
    transcripts: ({ audio }) => textsOfWav(audio)?.join(' ') ?? '',
    // all visitors, servers and services share this process
    failedMs: 20_000,
  });
  const compatible = await startOpenAiFake(t, { chat, dashscope: true, apiKey: dashscope.apiKey });
  const servers = [
    await startServer(t, redis, openai.settings),
    await startServer(t, redis, { ...compatible.settings, ...dashscope.settings }, patient),
  ] as const;
  const { config } = servers[0];
  const worker = await startSmallestClipWorker(
    t,
    {
      ...{ REDIS_HOST: config.redis.host, REDIS_PORT: String(config.redis.port) },
      ...{ BASE_URL: config.baseUrl, DATA_DIR: config.dataFolder, LOG_LEVEL: 'silent' },
    },
    devices,
  );

  const says: readonly VisitorOptions['says'][] = [
    ({ file }, words) => textsOfWav(file)?.join(' ') === words,
    ({ pcm, sampleRate }, words, pitch) => toneOf(words, 1, pitch, sampleRate).equals(pcm),
  ];
  const db = await openDatabase(config, log);
  t.teardown(() => db.destroy());
  const visitors: Visitor[] = [];
  for (let number = 0; number < count; number++) {
    const which = number % 5 < 3 ? 0 : 1;
    const isVideo = number % 2 === 1;
    const { url } = servers[which];
    const nickname = nameOf(number);
    const token = number % 4 < 2 ? (await signIn(db, config, { nickname })).token : undefined;
    visitors.push(
      new Visitor({
        ...{ number, url, mode: isVideo ? 'video' : 'voice', says: says[which]! },
        way: (['upload', 'chunks', 'text'] as const)[number % 3]!,
        farewell: (['stop', 'close', 'vanish'] as const)[Math.floor(number / 6) % 3]!,
        pitch: 0.5 + number / 200,
        picture: isVideo && number % 7 < 5 ? await picture(64, 64 + number) : undefined,
        account: token === undefined ? undefined : { token, rest: new Client(url, token) },
      }),
    );
  }
  const all = (work: (visitor: Visitor, i: number) => Promise<void>) =>
    Promise.all(visitors.map(work));

  await all((visitor) => visitor.connect());
  t.equal(new Set(visitors.map(({ sessionId }) => sessionId)).size, count);
  await all((visitor) => visitor.talk());
  await all((visitor) => visitor.check());
  const owners = new Map<string, Visitor>();
  for (const visitor of visitors) {
    for (const id of visitor.ids()) {
      const owner = owners.get(id);
      if (owner !== undefined) visitor.problems.push(`${id} belongs to ${owner.name}`);
      owners.set(id, visitor);
    }
  }
  await all((visitor, i) => visitor.trespass(visitors[(i + 7) % count]!));
  const found = () =>
    visitors
      .filter(({ problems }) => problems.length > 0)
      .map(({ name, problems }) => [name, problems]);
  t.same(found(), []);

  await t.test('nothing is left of them', async (t) => {
    await worker.setDelay(3_600_000);
    await all((visitor) => visitor.beginAnother());
    const places = visitors.map(({ lastPlace }) => lastPlace);
    t.ok(Math.max(...places) >= (count / 2 - devices.length) / devices.length - 1, 'tasks wait');
    await all((visitor) => visitor.leave());
    t.same(found(), []);
    await until(
      async () => (await readdir(config.tempFiles.folder)).length === 0,
      'the files are deleted',
      200_000,
    );
    const fleet = ['session_process_traits', 'session_processes'];
    let left: string[] = [];
    const settles = async () => (left = await leftInRedis(redis)).length === fleet.length;
    await until(settles, 'Redis is empty', 60_000).catch(() => undefined);
    t.same(left, fleet, 'of sessions nothing is left but who may hold some');
    await worker.stop();
    await Promise.all(servers.map(({ app }) => app.close()));
    t.same(await leftInRedis(redis), []);
    t.same(await readdir(config.tempFiles.folder), []);
  });

  t.same([...openai.violations, ...compatible.violations, ...dashscope.violations], []);
  // A cache that is late on a busy machine is done without.
  const told = lines.filter(({ msg }) => msg !== 'the history cache failed; the database answers');
  t.same(
    told.filter(({ level, msg }) => level >= 50 || msg !== 'a turn failed'),
    [],
    'the log holds refused turns and nothing worse',
  );
  t.equal(told.length, count);
});
