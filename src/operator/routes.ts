import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { Static } from 'typebox';
import { failures, who } from '../answers.js';
import type { Config } from '../config.js';
import { CodedError } from '../errors.js';
import { processOverview } from '../fleet/overview.js';
import { projectRoot } from '../paths.js';
import { cancelTask } from '../queue/cancel.js';
import {
  type DeadTask,
  deadTasks,
  dropDead,
  findDead,
  isOfSession,
  requeue,
} from '../queue/dead.js';
import { keys } from '../queue/keys.js';
import { type DeviceQueue, queueOverview } from '../queue/overview.js';
import { type Redis, inTime } from '../queue/redis.js';
import { checkOperator } from './guard.js';
import * as schema from './schema.js';
import { lastFailures, throughput } from './statistics.js';

export interface OperatorRoutesOptions {
  readonly config: Config;
  readonly redis: Redis | undefined;
}

const { version } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as {
  version: string;
};

const tags = ['operator'];
const operatorFailures = ['UNAUTHORIZED', 'FORBIDDEN', 'REDIS_UNAVAILABLE'] as const;

/** For whoever runs the service: what it does, and what can be done about it. */
export const operatorRoutes: FastifyPluginAsyncTypebox<OperatorRoutesOptions> = async (
  app,
  { config, redis: given },
) => {
  app.addHook('onRequest', async (request, reply) => {
    reply.header('cache-control', 'no-store');
    checkOperator(request, config);
    if (given === undefined)
      throw new CodedError('REDIS_UNAVAILABLE', 'this needs a Redis: set REDIS_HOST');
  });
  const redis = given as Redis;

  app.get(
    '/status',
    {
      schema: {
        tags,
        summary: 'Devices, processes, sessions and tasks, now',
        security: who.operator,
        response: { 200: schema.statusAnswer, ...failures(...operatorFailures) },
      },
    },
    async () => {
      const [devices, processes] = await inTime(
        Promise.all([queueOverview(redis, config), processOverview(redis)]),
      );
      return {
        success: true as const,
        version,
        uptime: Math.floor(process.uptime()),
        devices: devices.map(deviceJson),
        processes: processes.map(({ name, url, sessions, silentMs }) => ({
          ...{ name, sessions, silent: silentMs / 1000 },
          ...defined({ url }),
        })),
        sessions: sum(processes.map(({ sessions }) => sessions)),
        tasks: {
          waiting: sum(devices.map(({ waiting }) => waiting)),
          running: sum(devices.map(({ running }) => running.length)),
        },
      };
    },
  );

  app.get(
    '/throughput',
    {
      schema: {
        querystring: schema.throughputQuery,
        tags,
        summary: 'What was done, minute by minute',
        security: who.operator,
        response: { 200: schema.throughputAnswer, ...failures(...operatorFailures) },
      },
    },
    async ({ query: { minutes = 60 } }) => ({
      success: true as const,
      points: await inTime(throughput(redis, minutes)),
    }),
  );

  app.get(
    '/failures',
    {
      schema: {
        querystring: schema.failuresQuery,
        tags,
        summary: 'The last failed tasks, and those that are dead',
        security: who.operator,
        response: { 200: schema.failuresAnswer, ...failures(...operatorFailures) },
      },
    },
    async ({ query: { limit = 50 } }) => {
      const [failures, dead] = await inTime(
        Promise.all([lastFailures(redis, limit), deadTasks(redis, config)]),
      );
      const newest = dead.sort((a, b) => b.at.localeCompare(a.at)).slice(0, limit);
      return {
        success: true as const,
        failures,
        dead: await inTime(Promise.all(newest.map((dead) => deadJson(redis, dead)))),
        dead_total: dead.length,
      };
    },
  );

  app.post(
    '/dead/:id/requeue',
    {
      schema: {
        params: schema.idParameter,
        body: schema.requeueBody,
        tags,
        summary: 'Queue a dead task again',
        security: who.operator,
        response: {
          200: schema.requeueAnswer,
          ...failures('NOT_FOUND', 'TASK_INVALID', 'FORM_TOO_LARGE', ...operatorFailures),
        },
      },
    },
    async ({ params, body, log }) => {
      const dead = await inTime(findDead(redis, config, params.id));
      const device = body?.device;
      const queue = device === undefined ? dead.queue : keys.queue(config, device);
      await inTime(requeue(redis, dead, queue));
      log.info({ task: dead.task_id, dead: dead.id, queue }, 'an operator queued a task again');
      return { success: true as const, id: dead.id, task_id: dead.task_id, queue };
    },
  );

  app.delete(
    '/dead/:id',
    {
      schema: {
        params: schema.idParameter,
        tags,
        summary: 'Drop a dead task',
        security: who.operator,
        response: { 200: schema.dropAnswer, ...failures('NOT_FOUND', ...operatorFailures) },
      },
    },
    async ({ params, log }) => {
      const dead = await inTime(findDead(redis, config, params.id));
      await inTime(dropDead(redis, dead));
      log.info({ task: dead.task_id, dead: dead.id }, 'an operator dropped a dead task');
      return { success: true as const, id: dead.id, task_id: dead.task_id };
    },
  );

  app.post(
    '/tasks/:id/cancel',
    {
      schema: {
        params: schema.idParameter,
        tags,
        summary: 'Cancel a task',
        security: who.operator,
        response: { 200: schema.cancelAnswer, ...failures('NOT_FOUND', ...operatorFailures) },
      },
    },
    async ({ params: { id }, log }) => {
      const outcome = await inTime(cancelTask(redis, config, id));
      if (outcome === 'unknown') {
        throw new CodedError('NOT_FOUND', `there is no task "${id.slice(0, 200)}"`);
      }
      log.info({ task: id, outcome }, 'an operator cancelled a task');
      return { success: true as const, task_id: id, outcome };
    },
  );
};

const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);

type DeviceJson = Static<typeof schema.statusAnswer>['devices'][number];

function deviceJson({
  id,
  queue,
  status,
  info,
  running,
  waiting,
  next,
  dead,
}: DeviceQueue): DeviceJson {
  const [task] = running;
  const isLive = status === 'idle' || status === 'busy';
  return {
    ...{ id, queue, queue_length: waiting, dead },
    waiting_tasks: next.map((id) => id ?? ''),
    kind: info?.simulated === true ? 'sim' : (info?.provider ?? 'unknown'),
    status: isLive ? status : 'none',
    ...defined({ name: info?.model, worker: task?.worker ?? info?.worker }),
    ...defined({ task: task?.taskId, progress: task?.progress }),
  };
}

async function deadJson(redis: Redis, dead: DeadTask) {
  const { raw: _raw, text: _text, incomplete, ...known } = dead;
  const of_session = await isOfSession(redis, dead);
  return { ...known, whole: incomplete !== true, of_session };
}

/** The members that are there. */
function defined<T extends object>(members: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const there = Object.entries(members).filter(([, value]) => value !== undefined);
  return Object.fromEntries(there) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
