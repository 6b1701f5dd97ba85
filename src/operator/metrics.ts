import type { FastifyPluginAsync } from 'fastify';
import { type MetricObjectWithValues, type MetricValue, Registry } from 'prom-client';
import { failures, fileAnswer, who } from '../answers.js';
import type { Config } from '../config.js';
import { errorCodes } from '../errors.js';
import { processOverview } from '../fleet/overview.js';
import type { Log } from '../log.js';
import { measureProcess, registry } from '../observe/meters.js';
import { keys } from '../queue/keys.js';
import { type DeviceQueue, queueOverview } from '../queue/overview.js';
import { type Redis, inTime } from '../queue/redis.js';
import { checkOperator } from './guard.js';

/** As prelude.lua has them. */
const bounds = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];
const stages = [
  ...['waiting', 'downloading', 'face_detecting', 'inference', 'merging_audio', 'upload'],
];
/** A Redis that does not answer must not make the scrape late: then its series are missing. */
const answerMs = 2000;

export interface MetricsOptions {
  readonly config: Config;
  readonly log: Log;
  readonly redis: Redis | undefined;
}

/** `GET /metrics`, as Prometheus reads it. */
export const metricsRoute: FastifyPluginAsync<MetricsOptions> = async (
  app,
  { config, log, redis },
) => {
  app.get(
    '/metrics',
    {
      onRequest: async (request) => checkOperator(request, config),
      schema: {
        tags: ['service'],
        summary: 'Metrics, as Prometheus reads them',
        security: who.operator,
        response: {
          200: fileAnswer('the metrics', ['text/plain']),
          ...failures('UNAUTHORIZED', 'FORBIDDEN'),
        },
      },
    },
    async (_request, reply) => {
      measureProcess();
      const shared = new Registry();
      const add = (metric: Shared) => shared.registerMetric(metric as never);
      let isUp = 0;
      if (redis !== undefined) {
        try {
          for (const metric of await inTime(sharedMetrics(redis, config), answerMs)) add(metric);
          isUp = 1;
        } catch (err) {
          log.warn({ err }, 'Redis does not tell its part of the metrics');
        }
      }
      add(gauge('echomimic_redis_up', 'whether Redis answered this scrape', [[isUp]]));
      reply.header('cache-control', 'no-store').type(registry.contentType);
      return `${await registry.metrics()}\n${await shared.metrics()}`;
    },
  );
};

type Labels = Record<string, string | number>;
type Sample = readonly [value: number, labels?: Labels];
interface Shared {
  readonly name: string;
  get(): Promise<MetricObjectWithValues<MetricValue<string>>>;
}

const metric =
  (type: 'gauge' | 'counter') =>
  (name: string, help: string, samples: readonly Sample[]): Shared =>
    fixed(
      name,
      help,
      type,
      samples.map(([value, labels = {}]) => ({ value, labels })),
    );
const gauge = metric('gauge');
const counter = metric('counter');

function fixed(
  name: string,
  help: string,
  type: 'gauge' | 'counter' | 'histogram',
  values: (MetricValue<string> & { metricName?: string })[],
): Shared {
  const described = { name, help, type, values, aggregator: 'first' };
  return { name, get: async () => described as never };
}

/** What all processes and workers of the service have in common; each API process tells the same. */
async function sharedMetrics(redis: Redis, config: Config): Promise<Shared[]> {
  const [devices, processes, totals] = await Promise.all([
    queueOverview(redis, config),
    processOverview(redis),
    redis.hgetall(keys.totals),
  ]);
  return [
    gauge('echomimic_api_processes', 'API processes that share this Redis', [[processes.length]]),
    ...deviceMetrics(devices),
    ...totalMetrics(totals),
  ];
}

function deviceMetrics(devices: readonly DeviceQueue[]): Shared[] {
  const each = (value: (device: DeviceQueue) => number): Sample[] =>
    devices.map((device) => [value(device), { device: device.id }]);
  return [
    gauge(
      'echomimic_device_up',
      'whether the device has a live worker',
      each(({ status }) => Number(status !== undefined)),
    ),
    gauge(
      'echomimic_device_busy',
      'whether the worker of the device holds a task',
      each(({ status }) => Number(status === 'busy')),
    ),
    gauge(
      'echomimic_queue_length',
      'tasks that wait in the queue of the device',
      each(({ waiting }) => waiting),
    ),
    gauge(
      'echomimic_tasks_running',
      'tasks that workers of the device hold',
      each(({ running }) => running.length),
    ),
    gauge(
      'echomimic_dead_letters',
      'tasks of the queue of the device that nobody tries again',
      each(({ dead }) => dead),
    ),
  ];
}

function totalMetrics(totals: Readonly<Record<string, string>>): Shared[] {
  const total = (name: string) => Number(totals[name] ?? 0);
  const named = (prefix: string, label: string, fits: (value: string) => boolean): Sample[] =>
    Object.keys(totals)
      .filter((name) => name.startsWith(prefix) && fits(name.slice(prefix.length)))
      .map((name) => [total(name), { [label]: name.slice(prefix.length) }]);
  return [
    counter(
      'echomimic_tasks_ended_total',
      'tasks that ended, by outcome',
      ['completed', 'failed', 'cancelled'].map((outcome) => [
        total(`ended:${outcome}`),
        { outcome },
      ]),
    ),
    counter(
      'echomimic_task_failures_total',
      'tasks that failed, by code',
      named('code:', 'code', (code) => Object.hasOwn(errorCodes, code)),
    ),
    fixed(
      'echomimic_task_stage_duration_seconds',
      'how long tasks that ended were in each stage',
      'histogram',
      stages.flatMap((stage) => stageValues(stage, total)),
    ),
    counter(
      'echomimic_device_busy_seconds_total',
      'how long the worker of the device held tasks',
      named('busy:', 'device', (id) => /^\d{1,6}$/.test(id)),
    ),
    counter('echomimic_video_frames_total', 'frames of completed videos', [[total('frames')]]),
    counter('echomimic_video_seconds_total', 'length of completed videos', [
      [total('video_seconds')],
    ]),
    counter('echomimic_render_seconds_total', 'how long engines computed completed videos', [
      [total('render_seconds')],
    ]),
    counter('echomimic_tasks_recovered_total', 'tasks that came back from a lost worker', [
      [total('recovered')],
    ]),
    counter('echomimic_tasks_buried_total', 'tasks that became dead letters', [[total('buried')]]),
  ];
}

function stageValues(stage: string, total: (name: string) => number) {
  const name = 'echomimic_task_stage_duration_seconds';
  let count = 0;
  const buckets = [...bounds, '+Inf'].map((le, i) => {
    count += total(`stage:${stage}:${i + 1}`);
    return { metricName: `${name}_bucket`, labels: { stage, le }, value: count };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels: { stage }, value: total(`stage:${stage}:sum`) },
    { metricName: `${name}_count`, labels: { stage }, value: count },
  ];
}
