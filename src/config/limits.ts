import type { Settings } from './settings.js';

/** Limits of users and addresses, and of their lines; 0 is none. */
export interface Limits {
  readonly requestsPerMinute: number;
  readonly turnsPerMinute: number;
  readonly tasksPerUser: number;
  readonly tasksPerQueue: number;
  readonly conversationsPerUser: number;
  readonly storageBytesPerUser: number;
  readonly uploadsPerAddress: number;
  readonly connections: number;
  readonly connectionsPerAddress: number;
  /** How long the headers of a request may take. */
  readonly headerMs: number;
  /** How long a body may come too slowly. */
  readonly bodyStallMs: number;
}

export function readLimits(raw: Settings): Limits {
  return {
    requestsPerMinute: raw.REQUESTS_PER_MINUTE,
    turnsPerMinute: raw.TURNS_PER_MINUTE,
    tasksPerUser: raw.TASKS_PER_USER,
    tasksPerQueue: raw.TASK_QUEUE_LIMIT,
    conversationsPerUser: raw.CONVERSATIONS_PER_USER,
    storageBytesPerUser: raw.STORAGE_PER_USER_MB * 1024 * 1024,
    uploadsPerAddress: raw.UPLOADS_PER_ADDRESS,
    connections: raw.CONNECTIONS,
    connectionsPerAddress: raw.CONNECTIONS_PER_ADDRESS,
    headerMs: raw.HEADER_SECONDS * 1000,
    bodyStallMs: raw.BODY_STALL_SECONDS * 1000,
  };
}
