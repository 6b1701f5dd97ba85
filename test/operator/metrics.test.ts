import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { CodedError } from '../../src/errors.js';
import { projectRoot } from '../../src/paths.js';
import { startApp } from '../helpers/app.js';
import { Client } from '../helpers/client.js';
import { startRedis, taskJson } from '../helpers/redis.js';
import { openWorker, takeAndClaim } from '../helpers/tasks.js';
import { ScriptedDialogue, startSessions } from '../session/session-helper.js';

const token = 'the-token-of-the-operator';

interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The text format of Prometheus: each family with its type and its samples. */
function parse(text: string) {
  const families = new Map<string, { type: string; samples: Map<string, Sample[]> }>();
  let family: { type: string; samples: Map<string, Sample[]> } | undefined;
  let name = '';
  for (const line of text.split('\n').filter(Boolean)) {
    const [, typed, type] = /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(line) ?? [];
    if (typed !== undefined) {
      if (families.has(typed)) throw new Error(`${typed} is there twice`);
      family = { type: String(type), samples: new Map() };
      families.set((name = typed), family);
    } else if (!/^# HELP \S+ \S/.test(line)) {
      const [, of = '', labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      const rest = of.slice(name.length);
      if (!of.startsWith(name) || !/^(_bucket|_sum|_count)?$/.test(rest)) {
        throw new Error(`not of ${name}: ${line}`);
      }
      const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, a, b]) => [a, b]);
      const samples = family?.samples.get(of) ?? [];
      family?.samples.set(of, samples);
      samples.push({
        labels: Object.fromEntries(pairs) as Record<string, string>,
        value: value === '+Inf' ? Infinity : Number(value),
      });
    }
  }
  return {
    names: [...families.keys()],
    types: new Map([...families].map(([name, { type }]) => [name, type])),
    all: [...families.values()].flatMap(({ samples }) => [...samples.values()].flat()),
    /** The sum of the samples with these labels. */
    value: (sample: string, labels: Record<string, string> = {}) =>
      [...families.values()]
        .flatMap(({ samples }) => samples.get(sample) ?? [])
        .filter((one) => Object.entries(labels).every(([key, is]) => one.labels[key] === is))
        .reduce((sum, { value }) => sum + value, 0),
  };
}

void t.test('/metrics tells what happened, in the words of the documents', async (t) => {
  const redis = await startRedis(t);
  const dialogue = new ScriptedDialogue(async function* ({ text }) {
    if (text === 'fail') throw new CodedError('DIALOGUE_FAILED', 'no');
    yield 'Yes.';
  });
  const server = await startSessions(t, { OPERATOR_TOKEN: token }, { dialogue }, redis);
  const scrape = async () => {
    const { body, headers } = await new Client(server.url, token).get<Uint8Array>('/metrics');
    t.match(headers.get('content-type'), /^text\/plain; version=0\.0\.4/);
    return parse(Buffer.from(body).toString());
  };
  const before = await scrape();

  const worker = await openWorker(t, redis);
  await worker.setStatus('busy');
  for (const [id, seconds] of Object.entries({ short: '0.2', long: '70' })) {
    await redis.client.rpush('task_queue_gpu_0', taskJson(id));
    const facts = { video_seconds: '2', frames: '50', seconds_inference: seconds };
    await worker.complete(await takeAndClaim(worker), 'video', facts);
  }
  await redis.client.rpush('task_queue_gpu_0', taskJson('bad'), taskJson('waits'));
  const bad = await takeAndClaim(worker);
  await worker.fail(bad, 0, new CodedError('AUDIO_EMPTY', 'no sound'));
  await worker.setStatus('idle');

  const client = await (await server.client()).connect();
  client.send('text_message', { text: 'hello' });
  await client.lastAudio();
  client.send('text_message', { text: 'fail' });
  await client.error('DIALOGUE_FAILED');
  await new Client(server.url).get('/api/tempfile/download/550e8400-e29b-41d4-a716-446655440000');
  await new Client(server.url).get('/no/such/page');
  const after = await scrape();
  const grown = (sample: string, labels?: Record<string, string>) =>
    after.value(sample, labels) - before.value(sample, labels);

  t.equal(grown('echomimic_tasks_ended_total', { outcome: 'completed' }), 2);
  t.equal(grown('echomimic_tasks_ended_total', { outcome: 'failed' }), 1);
  t.equal(grown('echomimic_task_failures_total', { code: 'AUDIO_EMPTY' }), 1);
  const stage = 'echomimic_task_stage_duration_seconds';
  const inference = (le: string) => grown(`${stage}_bucket`, { stage: 'inference', le });
  t.same(['0.1', '0.25', '60', '120', '+Inf'].map(inference), [0, 1, 1, 2, 2]);
  t.equal(grown(`${stage}_count`, { stage: 'inference' }), 2);
  t.equal(grown(`${stage}_sum`, { stage: 'inference' }), 70.2);
  t.same([grown('echomimic_video_seconds_total'), grown('echomimic_video_frames_total')], [4, 100]);
  t.equal(grown('echomimic_render_seconds_total'), 70.2);
  t.ok(grown('echomimic_device_busy_seconds_total', { device: '0' }) > 0);
  t.equal(after.value('echomimic_device_up', { device: '0' }), 1);
  t.equal(after.value('echomimic_device_busy', { device: '0' }), 0);
  t.equal(after.value('echomimic_queue_length', { device: '0' }), 1);
  t.equal(after.value('echomimic_redis_up'), 1);
  t.equal(after.value('echomimic_api_processes'), 1);

  const session = { dialect: 'echomimic', mode: 'voice' };
  t.equal(grown('echomimic_sessions_opened_total', session), 1);
  t.equal(grown('echomimic_sessions_open', session), 1);
  t.equal(grown('echomimic_frames_total', { dialect: 'echomimic', direction: 'in' }), 3);
  t.ok(grown('echomimic_frames_total', { dialect: 'echomimic', direction: 'out' }) >= 3);
  t.equal(grown('echomimic_turns_total', { mode: 'voice', outcome: 'done' }), 1);
  t.equal(grown('echomimic_turns_total', { mode: 'voice', outcome: 'failed' }), 1);
  t.equal(grown('echomimic_turn_first_audio_seconds_count', { mode: 'voice' }), 1);
  const calls = (service: string, outcome: string) =>
    grown('echomimic_provider_duration_seconds_count', { service, outcome });
  t.same([calls('dialogue:scripted', 'ok'), calls('dialogue:scripted', 'failed')], [1, 1]);
  t.equal(calls('tts:flite', 'ok'), 1);
  const refused = { service: 'dialogue:scripted', code: 'DIALOGUE_FAILED' };
  t.equal(grown('echomimic_provider_failures_total', refused), 1);
  t.equal(grown('echomimic_errors_total', { code: 'DIALOGUE_FAILED', via: 'turn' }), 1);
  t.equal(grown('echomimic_errors_total', { code: 'FILE_NOT_FOUND', via: 'http' }), 1);
  const download = { method: 'GET', route: '/api/tempfile/download/:id', status: '404' };
  t.equal(grown('echomimic_http_request_duration_seconds_count', download), 1);
  const unknown = { method: 'GET', route: 'none', status: '404' };
  t.equal(grown('echomimic_http_request_duration_seconds_count', unknown), 1);
  t.ok(after.value('process_cpu_seconds_total') > 0);

  client.send('stop_session');
  await client.client.closed;
  const closed = { ...session, reason: 'stopped' };
  t.equal((await scrape()).value('echomimic_sessions_closed_total', closed), 1);

  await t.test('values of labels are bounded, names follow the conventions', async (t) => {
    for (const { labels } of after.all) {
      for (const [label, value] of Object.entries(labels)) {
        t.notMatch(value, /[0-9a-f]{8}-[0-9a-f]{4}|127\.0\.0\.1|\?/, `${label}="${value}"`);
      }
    }
    for (const [name, type] of after.types) {
      if (name.startsWith('echomimic_')) t.equal(name.endsWith('_total'), type === 'counter', name);
    }
  });

  await t.test('the documents, the dashboard and the alerts know the same names', async (t) => {
    const ours = after.names.filter((name) => name.startsWith('echomimic_')).sort();
    const text = await readFile(join(projectRoot, 'docs', 'operations.md'), 'utf8');
    const documented = [...text.matchAll(/^\| `(echomimic_\w+)`/gm)].map(([, name]) => name);
    t.same(documented.sort(), ours);
    const deploy = join(projectRoot, 'deploy');
    const known = new Set([...after.names].flatMap((name) => withParts(name, after.types)));
    for (const path of ['grafana/echomimic.json', 'prometheus/alerts.yml']) {
      const used = await readFile(join(deploy, path), 'utf8');
      const names = new Set(used.match(/\b(echomimic|process|nodejs)_[a-z0-9_]+/g));
      t.same(
        [...names].filter((name) => !known.has(name)),
        [],
        path,
      );
      t.ok(names.size > 8, path);
    }
  });
});

void t.test('without a Redis a process tells of itself', async (t) => {
  const { app } = await startApp(t);
  const headers = { host: 'localhost' };
  const { statusCode, body } = await app.inject({ url: '/metrics', headers });
  t.equal(statusCode, 200);
  const metrics = parse(body);
  t.ok(metrics.names.includes('echomimic_http_request_duration_seconds'));
  t.equal(metrics.value('echomimic_redis_up'), 0);
  const stranger = await app.inject({ url: '/metrics', headers: { host: 'evil.example' } });
  t.equal(stranger.statusCode, 403);
});

function withParts(name: string, types: ReadonlyMap<string, string>): string[] {
  if (types.get(name) !== 'histogram') return [name];
  return ['', '_bucket', '_sum', '_count'].map((part) => name + part);
}
