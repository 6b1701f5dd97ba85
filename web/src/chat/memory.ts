import { effect } from '@preact/signals';
import { changeSaid } from './entries.js';
import type { Memory } from './setup.js';
import { Talk, talk } from './talk.js';

const key = 'talk';

/** Goes on with the conversation that this tab held before it was reloaded, and keeps the next. */
export function comeBack(): void {
  const memory = read();
  if (memory !== undefined) {
    // What had not gone out yet never will.
    const entries = changeSaid(memory.entries, ({ state }) => state === 'sending', {
      ...{ state: 'failed', sent: undefined, failure: { code: 'NOT_SENT', message: '' } },
    });
    talk.value = new Talk(memory.setup, { ...memory, entries });
    // Why it fails is shown with the conversation.
    void talk.value.connect().catch(() => undefined);
  }
  effect(() => {
    const held = talk.value;
    if (held === undefined || held.line.value.state === 'closed') {
      return sessionStorage.removeItem(key);
    }
    // Entries change with every frame that matters.
    const { resume } = held;
    const next: Memory | undefined = resume && {
      ...{ setup: held.setup, entries: held.entries.value, resume },
    };
    try {
      if (next !== undefined) sessionStorage.setItem(key, JSON.stringify(next));
    } catch {
      // full: a reload begins anew
    }
  });
}

function read(): Memory | undefined {
  try {
    return (JSON.parse(sessionStorage.getItem(key) ?? 'null') as Memory | null) ?? undefined;
  } catch {
    return undefined;
  }
}
