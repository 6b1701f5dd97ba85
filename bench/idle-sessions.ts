/**
 * Memory of sessions on which nothing happens: resident, and the part of it that JavaScript holds
 * (its heap and what that refers to), after garbage collection, of an API process with more and
 * more connected clients, and again when they are gone. A fresh process has memory in hand, so what
 * one more session takes is told from the smallest to the largest number.
 *
 *   node dist/bench/idle-sessions.js [--counts 1000,2000,4000]
 */
import { parseArgs } from 'node:util';
import type { SocketClient } from '../scripts/socket-client.js';
import { type Condition, startMeasuredApi } from './api/process.js';
import { endSessions, openSession } from './api/sessions.js';

const { values } = parseArgs({
  options: { counts: { type: 'string', default: '1000,2000,4000' } },
});
const counts = values.counts.split(',').map(Number);
const warmUp = 20;
const openAtOnce = 10;

const api = await startMeasuredApi();
const clients: SocketClient[] = [];
async function grow(count: number): Promise<void> {
  while (clients.length < count) {
    const more = Math.min(openAtOnce, count - clients.length);
    clients.push(
      ...(await Promise.all(Array.from({ length: more }, () => openSession(api.url, 'voice')))),
    );
  }
}
async function empty(): Promise<void> {
  await endSessions(clients.splice(0));
}

const mib = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1).padStart(6)} MiB`;
const kib = (bytes: number) => `${(bytes / 1024).toFixed(1)} KiB`;
async function report(count: number): Promise<Condition> {
  await grow(count);
  const now = await api.condition();
  console.log(`${String(count).padStart(6)}   resident ${mib(now.rss)}   heap ${mib(now.heap)}`);
  return now;
}

// the first sessions also pay for code and pools
await grow(warmUp);
await empty();
await report(0);
const measured: Condition[] = [];
for (const count of counts) measured.push(await report(count));
const [few, many] = [measured.at(0), measured.at(-1)];
const more = Math.max(...counts) - Math.min(...counts);
if (few !== undefined && many !== undefined && more > 0) {
  console.log(
    `one more: resident ${kib((many.rss - few.rss) / more)}, heap ${kib((many.heap - few.heap) / more)}`,
  );
}
await empty();
await report(0);

await api.stop();
