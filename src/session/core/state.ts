/**
 * What a session is doing, and what may follow. Connections come and go in any of these states:
 * a session without one is detached, and works on until its grace time is over.
 */
const transitions = {
  opening: ['ready', 'ending'],
  /** From here to rendering: a task found again after a restart. */
  ready: ['recording', 'recognising', 'replying', 'rendering', 'ending'],
  /** Pieces of a recording arrive. */
  recording: ['recognising', 'ready', 'ending'],
  recognising: ['replying', 'ready', 'ending'],
  /** The model writes, sentences are spoken. */
  replying: ['rendering', 'ready', 'ending'],
  /** A task waits or runs. */
  rendering: ['ready', 'ending'],
  /** Everything is cancelled, files are deleted. */
  ending: ['ended'],
  ended: [],
} as const satisfies Record<string, readonly string[]>;

export type SessionState = keyof typeof transitions;

/** The state after `from`; throws for a step that the table above does not have. */
export function step(from: SessionState, to: SessionState): SessionState {
  if (from !== to && !(transitions[from] as readonly string[]).includes(to)) {
    throw new Error(`a session cannot go from ${from} to ${to}`);
  }
  return to;
}
