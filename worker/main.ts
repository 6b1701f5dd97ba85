import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import closeWithGrace from 'close-with-grace';
import { Engine } from '../native/index.js';
import { crashSignals } from '../src/alive.js';
import { loadConfig, simulatedDevice } from '../src/config.js';
import { type CodedError, codeOf } from '../src/errors.js';
import { processLog } from '../src/log.js';
import { withIds } from '../src/observe/scope.js';
import { beginSpan, startTracing } from '../src/observe/trace.js';
import { WorkerQueue } from '../src/queue/worker-queue.js';
import {
  type VideoEncoder,
  chooseEncoder,
  closeFaceDetector,
  warmFaceDetector,
} from './media/index.js';
import { type ClipEngine, loadOptions } from './pipeline/engine.js';
import { Interrupted, largestSize, removeLeftovers, runJob, workerFolder } from './pipeline/job.js';
import { beat } from './keeper.js';
import { SimulatedEngine } from './simulated-engine.js';

/** The process that owns one device: loads the model once and serves one task after another. */
const { values } = parseArgs({
  options: { device: { type: 'string', default: 'cpu' }, id: { type: 'string', default: '0' } },
});
const gpuId = Number(values.id);
const simulated = values.device === simulatedDevice;
const config = loadConfig();
/** Names this run of the worker; no other run ever has the same name. */
const worker = `${simulated ? 'simulated-' : ''}${config.hostName}-${process.pid}-${randomBytes(4).toString('hex')}`;
const log = processLog(config, { device: gpuId, worker });
const stopTracing = await startTracing(config, 'worker', log);
const workFolder = join(config.dataFolder, 'work');
const folder = join(workFolder, workerFolder(config.hostName, process.pid));
const shutdown = new AbortController();
let stopping = false;
let queue: WorkerQueue | undefined;
let engine: ClipEngine | undefined;
let serving: Promise<void> | undefined;

process.send?.({ type: 'hello', worker });
beat();

// The delay is the last resort, for a Redis or an engine that does not let go.
const grace = { delay: config.shutdownMs + 15_000, logger: log, skip: crashSignals };
const { close } = closeWithGrace(grace, stop);
process.on('disconnect', close);

async function stop(): Promise<void> {
  stopping = true;
  log.info('the worker stops');
  await queue?.stopTaking();
  const timer = setTimeout(() => shutdown.abort(new Interrupted('shutdown')), config.shutdownMs);
  await serving;
  clearTimeout(timer);
  await queue?.close();
  await engine?.dispose();
  await closeFaceDetector();
  await rm(folder, { recursive: true, force: true });
  await stopTracing();
}

async function loadEngine(): Promise<ClipEngine> {
  if (simulated) {
    return SimulatedEngine.load(config.modelFolder, config.engine.simulatedFrameMs);
  }
  const [engine] = await Promise.all([
    Engine.load({ ...loadOptions(config), device: values.device }, ({ network, reason }) => {
      if (reason !== '')
        log.warn({ network, reason }, 'TensorRT builds an engine; it takes minutes');
    }),
    warmFaceDetector(),
  ]);
  const { plan, passedOver, driverVersion, tensorrtVersion, engineCache } = engine.info();
  for (const reason of passedOver) log.warn({ reason }, 'a provider is not used');
  if (plan !== undefined)
    log.info({ plan, driverVersion, tensorrtVersion, engineCache }, 'the GPU');
  return engine;
}

/**
 * Ends this process as a crash does, so that its supervisor starts another one and the task comes
 * back. Nothing that runs at a proper exit: freeing what the engine holds may wait for ever for a
 * driver that lost its device.
 */
async function giveUp(err: CodedError): Promise<never> {
  log.fatal({ err, code: err.code }, 'the device failed: this worker ends, another one follows');
  await rm(folder, { recursive: true, force: true });
  await stopTracing();
  process.kill(process.pid, 'SIGKILL');
  return new Promise(() => {});
}

async function serve(queue: WorkerQueue, engine: ClipEngine, encoder: VideoEncoder): Promise<void> {
  while (!stopping) {
    const raw = await queue.take();
    if (raw === undefined || stopping) return;
    try {
      const takenAt = Date.now();
      const claim = await queue.claim(raw);
      if (claim === undefined) continue;
      const { taskId: task, attempt, entry } = claim;
      const span = beginSpan('task', {
        ...{ kind: 'consumer', startTime: takenAt, parent: entry.traceparent ?? null },
        attributes: { task, attempt, device: gpuId, worker, session: entry.sessionId },
      });
      const claiming = { startTime: takenAt, parent: span?.traceparent };
      beginSpan('claim', claiming)?.end();
      await queue.setStatus('busy').catch((err: unknown) => log.warn({ err }, 'no status'));
      const context = { config, engine, encoder, queue, log, folder, shutdown: shutdown.signal };
      const work = () => withIds({ task, session: entry.sessionId }, () => runJob(claim, context));
      const fatal = await (span === undefined ? work() : span.run(work));
      span?.end(fatal);
      if (fatal !== undefined) await giveUp(fatal);
    } catch (err) {
      log.error({ err }, 'a task could not be ended; trying it again');
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    await queue.setStatus('idle').catch((err: unknown) => log.warn({ err }, 'no status'));
  }
}

try {
  await removeLeftovers(workFolder, config.hostName);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const started = performance.now();
  engine = await loadEngine();
  const { model, defaults, provider, threads } = engine.info();
  const { width, height, fps } = defaults;
  const wish = { wanted: config.videoEncoder, device: values.device, width, height, fps };
  const encoder = await chooseEncoder(wish, log);
  queue = new WorkerQueue(config, gpuId, worker, log);
  await queue.open({
    ...{ model: model.name, provider, simulated, steps: defaults.steps, cfg: defaults.cfg, fps },
    ...{ size: width, max_size: largestSize(config, defaults) },
  });
  log.info(
    {
      model: model.name,
      provider,
      threads,
      encoder: encoder.name,
      ms: Math.round(performance.now() - started),
    },
    'the worker is ready',
  );
  if (simulated) log.warn('this device is simulated: its videos are no work of a model');
  process.send?.({ type: 'ready', worker });
  serving = serve(queue, engine, encoder);
} catch (error) {
  if (stopping) process.exit(0);
  log.fatal({ err: error }, 'the worker cannot start');
  process.send?.({ type: 'failed', code: codeOf(error), message: (error as Error).message });
  await stop();
  process.exit(1);
}
