import { createRequire } from 'node:module';
import { Writable } from 'node:stream';
import t from 'tap';
import { SocketClient } from '../../scripts/socket-client.js';
import { loadConfig } from '../../src/config.js';
import { CodedError } from '../../src/errors.js';
import { createLog } from '../../src/log.js';
import { startTracing, traced, traceparent } from '../../src/observe/trace.js';
import { isTraceparent } from '../../src/observe/traceparent.js';
import { type ReceivedSpan, startOtlpFake } from '../fakes/otlp.js';
import { startApp } from '../helpers/app.js';
import { Client } from '../helpers/client.js';
import { until } from '../helpers/redis.js';
import { picture, tone } from '../helpers/samples.js';
import { Service, ownSettings } from '../helpers/stack.js';

/** Spans begin at whole milliseconds and end at finer times; ns. */
const clock = 2_000_000n;

t.setTimeout(120_000);

void t.test('what is not set costs nothing', async (t) => {
  const { url } = await startApp(t);
  t.equal((await new Client(url).get('/livez')).status, 200);
  const stop = await startTracing(loadConfig({}), 'api', createLog('silent'));
  await stop();
  t.equal(await traced('work', {}, async () => traceparent()), undefined);
  const loaded = Object.keys(createRequire(import.meta.url).cache);
  t.same(
    loaded.filter((path) => /@opentelemetry\/(sdk|exporter|otlp|resources)/.test(path)),
    [],
  );
});

void t.test('traceparent', async (t) => {
  const good = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  t.ok(isTraceparent(good));
  for (const bad of [
    ...['', 5, undefined, good.toUpperCase(), `${good}-00`, good.replace(/^00/, 'ff')],
    ...[good.replace('0af7651916cd43dd8448eb211c80319c', '0'.repeat(32))],
    ...[good.replace('b7ad6b7169203331', '0'.repeat(16))],
  ]) {
    t.notOk(isTraceparent(bad), String(bad));
  }
});

void t.test('a trace follows a task from where it is asked for to its result', async (t) => {
  const collector = await startOtlpFake(t);
  const service = await Service.start(t, {
    ...(await ownSettings(t)),
    ...{ WORKER_DEVICES: 'sim:1', SIM_FRAME_MS: '1' },
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_HEADERS: 'x-collector-key=a%20key',
    OTEL_SERVICE_NAME: 'test',
  });
  await service.stack.workersReady;
  const of = (traceId: string, name: string) =>
    collector.spans.filter((span) => span.traceId === traceId && span.name === name);
  /** The one span of this name in a trace, once it was received. */
  const span = async (traceId: string, name: string): Promise<ReceivedSpan> => {
    await until(() => of(traceId, name).length > 0, `the span ${name}`);
    t.equal(of(traceId, name).length, 1, `one ${name}`);
    return of(traceId, name)[0] as ReceivedSpan;
  };
  /** The part of a trace that is the worker's, below the span that queued the task. */
  const checkWork = async (submit: ReceivedSpan, taskId: string) => {
    const { traceId } = submit;
    const task = await span(traceId, 'task');
    t.match(task, { service: 'test-worker', parentSpanId: submit.spanId, status: 0 });
    t.match(task.attributes, { task: taskId, attempt: 1, device: 0 });
    const stages = ['downloading', 'face_detecting', 'inference', 'merging_audio', 'upload'];
    const parts = await Promise.all(['claim', ...stages].map((name) => span(traceId, name)));
    for (const [i, part] of parts.entries()) {
      t.equal(part.parentSpanId, task.spanId, `${part.name} is a part of the task`);
      const isWithin = part.start >= task.start - clock && part.end <= task.end + clock;
      t.ok(isWithin, `${part.name} lies within it`);
      const before = parts[i - 1] ?? task;
      t.ok(part.start >= before.start - clock, `${part.name} in order`);
    }
    const inference = parts[3] as ReceivedSpan;
    for (const name of ['audio', 'reference', 'denoise', 'decode']) {
      t.equal((await span(traceId, name)).parentSpanId, inference.spanId, name);
    }
    const stored = await span(traceId, 'POST /api/tempfile/upload');
    t.match(stored, { service: 'test-api', parentSpanId: parts[5]?.spanId });
    const fetched = of(traceId, 'GET /api/tempfile/download/:id');
    t.same(
      fetched.map(({ parentSpanId }) => parentSpanId),
      [parts[1]?.spanId, parts[1]?.spanId],
      'both files are fetched by the worker',
    );
  };

  await t.test('POST /api/tasks, in the trace of its client', async (t) => {
    const [image_id, audio_id] = await Promise.all([
      service.upload(await picture()),
      service.upload(tone(0.2)),
    ]);
    const [traceId, parent] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331'];
    const { status, body } = await new Client(service.url).request<{ task_id: string }>(
      ...(['POST', '/api/tasks', { image_id, audio_id }] as const),
      { traceparent: `00-${traceId}-${parent}-01` },
    );
    t.equal(status, 202);
    t.match(await service.end(body.task_id), { status: 'completed' });
    const request = await span(traceId, 'POST /api/tasks');
    t.match(request, { service: 'test-api', parentSpanId: parent });
    t.match(request.attributes, { 'http.response.status_code': 202 });
    const submit = await span(traceId, 'task.submit');
    t.equal(submit.parentSpanId, request.spanId);
    await checkWork(submit, body.task_id);
    t.match(collector.headers[0], { 'x-collector-key': 'a key' });
  });

  await t.test('a turn of a session', async (t) => {
    const socket = await SocketClient.connect(`${service.url}/ws?mode=video`);
    t.teardown(() => socket.socket.terminate());
    socket.send({ event: 'text_message', data: { text: 'Hello.' } });
    const result = await socket.next(({ event }) => event === 'task_result', 'the result');
    const taskId = String((result['data'] as Record<string, unknown>)['task_id']);
    await until(
      () =>
        collector.spans.some(({ name, attributes }) => name === 'turn' && attributes['turn'] === 1),
      'the turn',
    );
    const turn = collector.spans.find(({ name }) => name === 'turn') as ReceivedSpan;
    t.match(turn, { service: 'test-api', parentSpanId: undefined, status: 0 });
    const { traceId } = turn;
    for (const name of ['dialogue:echo', 'tts:flite', 'video']) {
      t.equal((await span(traceId, name)).parentSpanId, turn.spanId, name);
    }
    const submit = await span(traceId, 'task.submit');
    t.equal(submit.parentSpanId, (await span(traceId, 'video')).spanId);
    await checkWork(submit, taskId);
  });
});

void t.test('a collector that is away hurts nobody', async (t) => {
  let text = '';
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString();
      done();
    },
  });
  const config = loadConfig({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' });
  const stop = await startTracing(config, 'api', createLog('info', sink));
  t.equal(await traced('good', {}, async () => 5), 5);
  const broken = new CodedError('INTERNAL', 'broken');
  await t.rejects(
    traced('bad', {}, () => Promise.reject(broken)),
    broken,
  );
  t.ok(isTraceparent(await traced('outer', {}, async () => traceparent())));
  await stop();
  t.ok(text === '' || text.split('\n').filter(Boolean).length === 1, 'it is told once at most');
});
