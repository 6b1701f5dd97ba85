import { join } from 'node:path';
import { type Config, loadConfig } from '../src/config.js';
import { CodedError, codeOf } from '../src/errors.js';
import { type Log, createLog } from '../src/log.js';
import { cancelTask } from '../src/queue/cancel.js';
import {
  type DeadTask,
  deadTasks,
  dropDead,
  findDead,
  isOfSession,
  requeue,
} from '../src/queue/dead.js';
import { keys } from '../src/queue/keys.js';
import { queueOverview } from '../src/queue/overview.js';
import { runningServer } from '../src/queue/private-redis.js';
import { type Redis, checkRedis, connectRedis } from '../src/queue/redis.js';

const usage = `npm run tasks -- queues                      what waits, runs and is dead, per queue
npm run tasks -- cancel TASK_ID              cancels a task, whoever pushed it
npm run tasks -- dead list                   tasks that nobody tries again, and why
npm run tasks -- dead show ID                all that is known of one, and what was pushed
npm run tasks -- dead requeue ID [DEVICE]    queues it again as it was pushed, its attempts at 0
npm run tasks -- dead requeue --all
npm run tasks -- dead drop ID                forgets it
npm run tasks -- dead drop --all
ID is that of the list, or a task_id: then the newest of that task is meant.`;

const sessionsTask =
  'of a session, whose files serve no other task: queued again it fails with TASK_FILE_NOT_FOUND';

interface Service {
  readonly redis: Redis;
  readonly config: Config;
}

async function queues({ redis, config }: Service): Promise<void> {
  const devices = await queueOverview(redis, config);
  for (const { queue, status = 'no worker', waiting, dead, running } of devices) {
    console.log(`${queue}  ${status}  ${waiting} waiting  ${dead} dead`);
    for (const { taskId = 'unnamed', status = '-', progress = '-', ...more } of running) {
      const { attempts = '-', worker } = more;
      console.log(`  ${taskId}  ${status} ${progress} %  attempt ${attempts}  ${worker}`);
    }
  }
  if (devices.length === 0) console.log('no worker, and no task');
}

async function cancel({ redis, config }: Service, [taskId = '']: string[]): Promise<void> {
  console.log(`${taskId}  ${await cancelTask(redis, config, taskId)}`);
}

async function list({ redis, config }: Service): Promise<void> {
  const all = await deadTasks(redis, config);
  for (const dead of all) console.log(await describeDead(redis, dead));
  if (all.length === 0) console.log('no task is dead');
}

async function describeDead(redis: Redis, dead: DeadTask): Promise<string> {
  const { id, task_id, queue, code, error, at, attempts, worker } = dead;
  const tried = `${attempts ?? '?'} attempt${attempts === 1 ? '' : 's'}`;
  const where = `${queue}  ${worker ?? 'unknown worker'}`;
  const hint = (await isOfSession(redis, dead)) ? `\n  ${sessionsTask}` : '';
  return `${id}  ${task_id || 'unnamed'}  ${at}  ${tried}  ${where}\n  ${code}: ${error}${hint}`;
}

async function show(service: Service, [id = '']: string[]): Promise<void> {
  const [dead] = await find(service, id);
  if (dead === undefined) return;
  console.log(await describeDead(service.redis, dead));
  if (dead.incomplete === true) console.log('  what follows is only a part of what was pushed');
  console.log(dead.raw);
}

async function requeueDead(service: Service, [id = '', device]: string[]): Promise<void> {
  const { redis, config } = service;
  const queue = device === undefined ? undefined : keys.queue(config, Number(device));
  // The oldest first, as they came.
  for (const dead of (await find(service, id)).reverse()) {
    const named = `${dead.id}  ${dead.task_id || 'unnamed'}`;
    try {
      await requeue(redis, dead, queue);
      console.log(`${named}  queued on ${queue ?? dead.queue}`);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      complain(error);
    }
  }
}

async function drop(service: Service, [id = '']: string[]): Promise<void> {
  for (const dead of await find(service, id)) {
    if (await dropDead(service.redis, dead)) {
      console.log(`${dead.id}  ${dead.task_id || 'unnamed'}  dropped`);
    }
  }
}

async function find({ redis, config }: Service, id: string): Promise<DeadTask[]> {
  return id === '--all' ? deadTasks(redis, config) : [await findDead(redis, config, id)];
}

type Command = (service: Service, args: string[]) => Promise<void>;

/** What a command is called, and how many words may follow. */
const commands: readonly [words: string, least: number, most: number, run: Command][] = [
  ['queues', 0, 0, queues],
  ['cancel', 1, 1, cancel],
  ['dead list', 0, 0, list],
  ['dead show', 1, 1, show],
  ['dead requeue', 1, 2, requeueDead],
  ['dead drop', 1, 1, drop],
];

/** The Redis that the settings name, or that of the service which runs from this data folder. */
async function openRedis(config: Config, log: Log): Promise<Service> {
  let found = config;
  if (!config.redis.named) {
    const server = await runningServer(join(config.dataFolder, 'redis'));
    if (server === undefined) {
      throw new CodedError(
        'REDIS_UNAVAILABLE',
        `no service runs from ${config.dataFolder}: start it, or name its DATA_DIR or REDIS_HOST`,
      );
    }
    found = { ...config, redis: { ...config.redis, host: server.host, port: server.port } };
  }
  await checkRedis(found, log, 5000);
  return { redis: connectRedis(found, log), config: found };
}

function complain(error: unknown): void {
  console.error(`${codeOf(error)}: ${(error as Error).message}`);
  process.exitCode = 1;
}

/** `npm run tasks`: for whoever runs the server; no worker and no API needs to be there. */
async function main(words: string[]): Promise<void> {
  const given = words.join(' ');
  const command = commands.find(([name]) => given === name || given.startsWith(`${name} `));
  const [name = '', least = 0, most = 0, run] = command ?? [];
  const args = words.slice(name.split(' ').length);
  const isDevice = args[1] === undefined || /^\d{1,5}$/.test(args[1]);
  if (run === undefined || args.length < least || args.length > most || !isDevice) {
    console.error(usage);
    process.exitCode = words.length === 0 || given === '--help' ? 0 : 2;
    return;
  }
  const service = await openRedis(loadConfig(), createLog('warn'));
  try {
    await run(service, args);
  } finally {
    service.redis.disconnect();
  }
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  complain(error);
}
