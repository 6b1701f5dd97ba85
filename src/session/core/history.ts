import type { ChatEntry } from '../events.js';

const maxEntries = 500;

/** What was said in a session, the latest of it. */
export class History {
  readonly entries: ChatEntry[];

  constructor(entries: readonly ChatEntry[]) {
    this.entries = entries.slice(-maxEntries);
  }

  add(entry: ChatEntry): void {
    this.entries.push(entry);
    if (this.entries.length > maxEntries) this.entries.shift();
  }

  /** Replaces an entry by a fuller one. */
  amend(entry: ChatEntry, more: Partial<ChatEntry>): ChatEntry {
    const fuller = { ...entry, ...more };
    const at = this.entries.lastIndexOf(entry);
    if (at >= 0) this.entries[at] = fuller;
    return fuller;
  }
}
