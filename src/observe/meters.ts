import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';

/**
 * What this process counts of itself. What belongs to the whole service lies in Redis and is read
 * when it is asked for (src/operator/metrics.ts). Values of labels are bounded: patterns of routes, codes
 * of errors and names of providers, never an id or an address.
 */
export const registry = new Registry();
const registers = [registry];

export const meters = {
  httpDuration: new Histogram({
    name: 'echomimic_http_request_duration_seconds',
    help: 'HTTP requests from their headers to the end of their answer',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.005, 0.025, 0.1, 0.5, 2.5, 10, 60],
    registers,
  }),
  errors: new Counter({
    name: 'echomimic_errors_total',
    help: 'failures and refusals that clients were told, by code; via http, socket or turn',
    labelNames: ['code', 'via'],
    registers,
  }),
  sessionsOpen: new Gauge({
    name: 'echomimic_sessions_open',
    help: 'open sessions of this process',
    labelNames: ['dialect', 'mode'],
    registers,
  }),
  sessionsOpened: new Counter({
    name: 'echomimic_sessions_opened_total',
    help: 'sessions that were opened, or taken over from a process that is gone',
    labelNames: ['dialect', 'mode'],
    registers,
  }),
  sessionsClosed: new Counter({
    name: 'echomimic_sessions_closed_total',
    help: 'sessions that ended, by reason',
    labelNames: ['dialect', 'mode', 'reason'],
    registers,
  }),
  frames: new Counter({
    name: 'echomimic_frames_total',
    help: 'frames of sockets, in and out',
    labelNames: ['dialect', 'direction'],
    registers,
  }),
  turns: new Counter({
    name: 'echomimic_turns_total',
    help: 'turns of sessions that ended: done, failed or cut',
    labelNames: ['mode', 'outcome'],
    registers,
  }),
  firstAudio: new Histogram({
    name: 'echomimic_turn_first_audio_seconds',
    help: 'from the beginning of a turn to the first sentence of its spoken reply',
    labelNames: ['mode'],
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16],
    registers,
  }),
  providerDuration: new Histogram({
    name: 'echomimic_provider_duration_seconds',
    help: 'calls of speech and dialogue services to their answer, of a dialogue to its first words',
    labelNames: ['service', 'outcome'],
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
    registers,
  }),
  providerFailures: new Counter({
    name: 'echomimic_provider_failures_total',
    help: 'calls of speech and dialogue services that failed, by code',
    labelNames: ['service', 'code'],
    registers,
  }),
  circuitOpen: new Gauge({
    name: 'echomimic_provider_circuit_open',
    help: '1 while a service gets no calls because it failed too often',
    labelNames: ['service'],
    registers,
  }),
  progressLag: new Histogram({
    name: 'echomimic_progress_lag_seconds',
    help: 'from when a worker says how a watched task comes along to when this process hears it',
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
    registers,
  }),
};

let isMeasured = false;

/** Processor, memory, event loop and collector of garbage, from the first call on. */
export function measureProcess(): void {
  if (isMeasured) return;
  isMeasured = true;
  collectDefaultMetrics({ register: registry });
  // Gauges whose names say that they are counters; the same numbers stand beside them by type.
  for (const what of ['handles', 'requests', 'resources']) {
    registry.removeSingleMetric(`nodejs_active_${what}_total`);
  }
}
