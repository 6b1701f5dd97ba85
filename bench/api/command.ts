import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import closeWithGrace from 'close-with-grace';
import { machine, serverVersion } from '../engine/machine.js';
import { numberOf } from '../engine/options.js';
import { type ApiReport, type Measure, apiSummary, rowOf } from '../report/api.js';
import { writeReport } from '../report/write.js';
import { measureFanOut } from './fan-out.js';
import { type Service, openService } from './service.js';
import { measureSessions } from './sessions.js';
import { measureTasks } from './tasks.js';
import { measureTransfers } from './transfers.js';

export const apiUsage = `npm run bench -- api [--sizes 0.25,4,64] [--at-once 1,8] [--devices 4] [--tasks 20]
    [--sessions 100] [--turns 20] [--watchers 100] [--updates 20] [--runs 5] [--out FILE.json]
  measures the service on this machine, with a Redis and workers of its own: uploads and downloads
  of sizes in MiB, what a task costs beside the engine (its devices are simulated), sessions, and
  progress from a worker's report to the socket`;

/** Milliseconds per frame of a simulated device: the engine's share is known and small. */
const frameMs = 1;

function settingsOf(args: readonly string[]) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...{ sizes: { type: 'string', default: '0.25,4,64' } },
      ...{ 'at-once': { type: 'string', default: '1,8' } },
      ...{ devices: { type: 'string', default: '4' }, tasks: { type: 'string', default: '20' } },
      ...{ sessions: { type: 'string', default: '100' }, turns: { type: 'string', default: '20' } },
      ...{ watchers: { type: 'string', default: '100' } },
      ...{ updates: { type: 'string', default: '20' }, runs: { type: 'string', default: '5' } },
      ...{ out: { type: 'string' }, help: { type: 'boolean' } },
    },
  });
  if (values.help === true) return undefined;
  const one = (name: string, text: string) => numberOf(name, text, { least: 1, whole: true })!;
  const list = (text: string) => text.split(',');
  const settings: ApiReport['settings'] = {
    devices: one('devices', values.devices),
    frameMs,
    sizes: list(values.sizes).map((size) => numberOf('sizes', size, { least: 0.001 })!),
    atOnce: list(values['at-once']).map((lanes) => one('at-once', lanes)),
    tasks: one('tasks', values.tasks),
    sessions: one('sessions', values.sessions),
    turns: one('turns', values.turns),
    watchers: one('watchers', values.watchers),
    updates: one('updates', values.updates),
    runs: one('runs', values.runs),
  };
  return { settings, out: values.out };
}

async function redisVersion({ connect }: Service): Promise<string> {
  const information = await connect().info('server');
  return /redis_version:(\S+)/.exec(information)?.[1] ?? 'unknown';
}

/** `npm run bench -- api`. */
export async function apiCommand(args: readonly string[]): Promise<void> {
  const asked = settingsOf(args);
  if (asked === undefined) {
    console.log(apiUsage);
    return;
  }
  const { settings, out } = asked;
  const loadBefore = loadavg()[0]!;
  let opening: Promise<Service> | undefined;
  const close = async () => {
    const service = await opening?.catch(() => undefined);
    opening = undefined;
    await service?.stop();
  };
  const grace = closeWithGrace({ delay: 60_000 }, close);
  const measures: Measure[] = [];
  let redis = '';
  try {
    const withService = async (devices: string, measure: (service: Service) => Promise<void>) => {
      opening = openService(devices, { SIM_FRAME_MS: String(frameMs), VIDEO_ENCODER: 'x264' });
      await measure(await opening);
      await close();
    };
    const part = async (what: string, measuring: () => Promise<Measure[]>) => {
      console.error(`bench: ${what}`);
      measures.push(...(await measuring()));
    };
    await withService(`sim:${settings.devices}`, async (service) => {
      redis = await redisVersion(service);
      await part('uploads and downloads', () => measureTransfers(service.url, settings));
      await part('tasks', () => measureTasks(service, settings));
      await part('sessions', () => measureSessions(service.url, settings));
    });
    await withService('none', (service) =>
      part('progress', () => measureFanOut(service, settings)),
    );
  } finally {
    await close();
    grace.uninstall();
  }
  const report: ApiReport = {
    format: 1,
    kind: 'api',
    date: new Date().toISOString(),
    machine: machine(loadBefore),
    versions: { server: serverVersion(), node: process.version, redis },
    settings,
    rows: measures.map(rowOf),
  };
  console.log(apiSummary(report));
  if (out !== undefined) await writeReport(out, report);
}
