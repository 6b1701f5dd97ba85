/**
 * Many sockets on loopback: how long progress takes from a worker's report to the frame, what a
 * socket costs, and how late the API's event loop is, with most sessions idle and some of them
 * watching a task. It ends by itself.
 *
 *   npm run bench -- load [--idle 5000] [--active 200] [--updates 20]
 */
import { parseArgs } from 'node:util';
import { measureFanOut } from './api/fan-out.js';
import { type Condition, startMeasuredApi } from './api/process.js';
import { inLanes } from './api/service.js';
import { endSessions, openSession } from './api/sessions.js';
import { numberOf } from './engine/options.js';
import { rowOf } from './report/api.js';
import { short } from './report/table.js';

const { values } = parseArgs({
  options: {
    idle: { type: 'string', default: '5000' },
    active: { type: 'string', default: '200' },
    updates: { type: 'string', default: '20' },
  },
});
const whole = (name: 'idle' | 'active' | 'updates') =>
  numberOf(name, values[name], { least: 1, whole: true })!;
const [idle, active, updates] = [whole('idle'), whole('active'), whole('updates')];
const openAtOnce = 20;

function tell(what: string, { rss, heap, delay }: Condition): void {
  const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  const late = `${short(delay.p50)} / ${short(delay.p99)} / ${short(delay.max)} ms`;
  console.log(
    `${what}: resident ${mib(rss)}, heap ${mib(heap)}; event loop p50 / p99 / max ${late}`,
  );
}

const api = await startMeasuredApi();
try {
  // the first sessions also pay for code and pools
  await endSessions(await inLanes(openAtOnce, openAtOnce, () => openSession(api.url, 'voice')));
  const before = await api.condition();
  tell('no session', before);
  const clients = await inLanes(idle, openAtOnce, () => openSession(api.url, 'voice'));
  const after = await api.condition();
  tell(`${idle} idle sessions, while they opened`, after);
  const each = (name: 'rss' | 'heap') =>
    `${((after[name] - before[name]) / idle / 1024).toFixed(1)} KiB`;
  console.log(`each: resident ${each('rss')}, heap ${each('heap')}`);
  tell(`${idle} idle sessions`, await api.condition());
  for (const measure of await measureFanOut(api, { watchers: active, updates, runs: 1 })) {
    const { what, p50, p99, max } = rowOf(measure);
    console.log(`${what}: p50 ${short(p50)}, p99 ${short(p99)}, max ${short(max)} ms`);
  }
  tell(`${idle} idle and ${active} active sessions`, await api.condition(0));
  await endSessions(clients);
  tell('no session again', await api.condition());
} finally {
  await api.stop();
}
