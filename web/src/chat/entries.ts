import type { Failure } from '../failure.js';

/** What the user said, typed or recorded. */
export interface Said {
  readonly kind: 'said';
  readonly id: number;
  readonly how: 'text' | 'speech';
  /** Of the file that was chosen. */
  readonly name?: string | undefined;
  /** Of speech, once it is recognised; it stays empty on a server that recognises no words. */
  readonly text: string;
  readonly audioUrl?: string | undefined;
  /** The turn that answers it, once the server has begun it. */
  readonly turn?: string | undefined;
  readonly state: 'sending' | 'sent' | 'heard' | 'failed';
  /** While a file goes up; 0 to 100. */
  readonly sent?: number | undefined;
  readonly failure?: Failure | undefined;
}

export interface Sentence {
  readonly text: string;
  readonly audioUrl?: string | undefined;
}

export interface Render {
  readonly taskId: string;
  readonly status: string;
  readonly percentage: number;
  /** Tasks ahead of it while it waits. */
  readonly position?: number | undefined;
  /** When it began to be worked on, and how far it was then; milliseconds since 1970. */
  readonly from?: { readonly at: number; readonly percentage: number } | undefined;
}

/** What the portrait answers. */
export interface Reply {
  readonly kind: 'reply';
  readonly id: number;
  readonly turn: string;
  readonly sentences: readonly Sentence[];
  readonly isSpoken: boolean;
  readonly render?: Render | undefined;
  readonly videoUrl?: string | undefined;
  readonly state: 'open' | 'done' | 'cut';
  readonly failure?: Failure | undefined;
}

export type Entry = Said | Reply;

export const textOf = ({ sentences }: Reply): string =>
  sentences
    .map(({ text }) => text)
    .filter(Boolean)
    .join(' ');

/** Whether something of it is still to come. */
export const isOpen = (entry: Entry): boolean =>
  entry.kind === 'reply'
    ? entry.state === 'open'
    : entry.turn === undefined && entry.state !== 'failed' && entry.state !== 'heard';

/** The entries with those of `turn`: a turn answers the oldest words that wait for one. */
export function withTurn(entries: readonly Entry[], turn: string, nextId: number): Entry[] {
  if (entries.some((entry) => entry.turn === turn)) return [...entries];
  const said = entries.find(
    (entry) => entry.kind === 'said' && isOpen(entry) && entry.state !== 'sending',
  );
  const known = entries.map((entry) =>
    entry === said && entry.kind === 'said' ? { ...entry, turn, state: 'heard' as const } : entry,
  );
  return [
    ...known,
    { kind: 'reply', id: nextId, turn, sentences: [], isSpoken: false, state: 'open' },
  ];
}

export function changeReply(
  entries: readonly Entry[],
  turn: string,
  change: (reply: Reply) => Partial<Reply>,
): Entry[] {
  return entries.map((entry) =>
    entry.kind === 'reply' && entry.turn === turn ? { ...entry, ...change(entry) } : entry,
  );
}

export function changeSaid(
  entries: readonly Entry[],
  fits: (said: Said) => boolean,
  change: Partial<Said>,
): Entry[] {
  return entries.map((entry) =>
    entry.kind === 'said' && fits(entry) ? { ...entry, ...change } : entry,
  );
}

export interface Past {
  readonly type: 'user' | 'ai';
  readonly text: string;
  readonly audio_url?: string | undefined;
  readonly video_url?: string | undefined;
}

/** What a conversation that is kept began with. */
export function pastEntries(history: readonly Past[], session: string): Entry[] {
  return history.map((past, i) =>
    past.type === 'user'
      ? {
          ...{ kind: 'said', id: i, how: past.audio_url === undefined ? 'text' : 'speech' },
          ...{ text: past.text, audioUrl: past.audio_url, turn: `${session}:past`, state: 'heard' },
        }
      : {
          ...{ kind: 'reply', id: i, turn: `${session}:past:${i}`, isSpoken: true, state: 'done' },
          ...{ sentences: [{ text: past.text, audioUrl: past.audio_url }] },
          videoUrl: past.video_url,
        },
  );
}

/**
 * What came while nobody listened and is not told again, after the process that held the session
 * was replaced: the last answer as the server remembers it.
 */
export function caughtUp(entries: readonly Entry[], history: readonly Past[]): Entry[] {
  const last = history.at(-1);
  const open = entries.findLast((entry) => entry.kind === 'reply');
  if (last?.type !== 'ai' || open === undefined || open.state === 'cut') return [...entries];
  const isSame = open.sentences.length === 0 || last.text.startsWith(open.sentences[0]?.text ?? '');
  if (!isSame) return [...entries];
  return changeReply(entries, open.turn, (reply) => ({
    ...(reply.sentences.length === 0
      ? { sentences: [{ text: last.text, audioUrl: last.audio_url }], isSpoken: true }
      : {}),
    ...(last.video_url === undefined
      ? {}
      : { videoUrl: last.video_url, render: undefined, state: 'done' as const }),
  }));
}
