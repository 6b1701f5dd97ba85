import { createHash, timingSafeEqual } from 'node:crypto';
import { type Static, type TSchema, Type } from 'typebox';
import { readJson } from '../../json.js';
import type { ChatEntry } from '../events.js';

const optional = <T extends TSchema>(schema: T) =>
  Type.Optional(Type.Union([schema, Type.Undefined()]));
const optionalText = optional(Type.String());

/** What another process needs to go on with a session, as it lies in Redis. */
const snapshot = Type.Object({
  tokenHash: Type.String(),
  mode: Type.Enum(['voice', 'video', 'text']),
  address: Type.String(),
  roleId: Type.String(),
  userId: optionalText,
  tokenExpiresAt: optional(Type.Number()),
  loginId: optionalText,
  conversationId: optionalText,
  /** The client's own picture, or the copy of the role's portrait. */
  imageId: optionalText,
  voice: optionalText,
  rate: optional(Type.Number()),
  pitch: optional(Type.Number()),
  history: Type.Array(
    Type.Object({
      speaker: Type.Enum(['user', 'ai']),
      text: Type.String(),
      audioUrl: optionalText,
      videoUrl: optionalText,
    }),
  ),
  seq: Type.Integer({ minimum: 0 }),
  turns: Type.Integer({ minimum: 0 }),
  /** The turn that ran; with a task that is in the hands of a worker, it can be gone on with. */
  running: optional(Type.Object({ turn: Type.Integer(), taskId: optionalText })),
});
export type Snapshot = Omit<Static<typeof snapshot>, 'history'> & {
  readonly history: readonly ChatEntry[];
};

/** The part that the session itself knows. */
export type Memento = Pick<Snapshot, 'imageId' | 'history' | 'seq' | 'turns' | 'running'>;

/** Undefined for anything but a snapshot of this version. */
export function readSnapshot(text: string | null): Snapshot | undefined {
  return readJson(snapshot, text);
}

export function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

/** Takes the same time whatever was given; nothing fits an unknown hash. */
export function fits(token: string, hash: string | undefined): boolean {
  const given = Buffer.from(hashOf(token));
  const expected = Buffer.from(hash ?? hashOf(''));
  return given.length === expected.length && timingSafeEqual(given, expected) && hash !== undefined;
}
