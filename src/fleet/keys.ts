/** Names in Redis of what API processes tell each other. */
export const fleetKeys = {
  /** Sorted set: the API processes, by the time of their last heartbeat. */
  processes: 'session_processes',
  /** Hash: what the others have to know of each, as JSON. */
  traits: 'session_process_traits',
  /** Set: the sessions that a process holds. */
  live: (process: string) => `live_sessions:${process}`,
  /** Hash: how many of what is limited a process has open. */
  counts: (process: string) => `session_counts:${process}`,
  /** Hash: which process holds what there may be only one of. */
  holders: 'session_holders',
} as const;
