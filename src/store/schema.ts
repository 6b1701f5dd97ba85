import type { ColumnType, Generated, Insertable, Selectable } from 'kysely';

/**
 * Tables, the same on SQLite and Postgres. Times are milliseconds since 1970 (bigint), booleans are
 * integers 0 and 1, ids are text.
 */
export interface Database {
  users: UsersTable;
  refresh_tokens: RefreshTokensTable;
  usage: UsageTable;
  reservations: ReservationsTable;
  roles: RolesTable;
  portraits: PortraitsTable;
  conversations: ConversationsTable;
  conversation_messages: MessagesTable;
  segments: SegmentsTable;
}

type Time = ColumnType<number, number, number>;

export interface UsersTable {
  id: string;
  /** Lower case; what was typed stands in `display_name`. */
  username: string;
  display_name: string;
  password_hash: string;
  subscription_type: string;
  /** Tokens issued under an older number are void. */
  token_version: Generated<number>;
  nickname: string | null;
  birth_year: number | null;
  birth_place: string | null;
  grew_up_place: string | null;
  occupation: string | null;
  created_at: Time;
}
export type UserRow = Selectable<UsersTable>;
/** A user without the hash of the password, which only src/account reads. */
export type User = Omit<UserRow, 'password_hash'>;

export interface RefreshTokensTable {
  id: string;
  user_id: string;
  /** All tokens that one login led to; a used one that comes back voids the family. */
  family: string;
  token_hash: string;
  used_at: number | null;
  expires_at: Time;
  created_at: Time;
}

/** What a user has used on one UTC day (`YYYY-MM-DD`), reservations included. */
export interface UsageTable {
  user_id: string;
  day: string;
  kind: string;
  /** Thousandths (of a message, of a second), so that sums are exact. */
  amount: number;
}

/** One kind of what was set aside; `usage` counts it already. */
export interface ReservationsTable {
  id: string;
  kind: string;
  user_id: string;
  day: string;
  /** Thousandths. */
  amount: number;
  /** The process that settles it, as `host.pid.run`, or `task`: then `id` is that of a task. */
  holder: string;
  expires_at: Time;
}

export interface RolesTable {
  id: string;
  /** Null: bundled with the server. */
  owner_id: string | null;
  name: string;
  gender: string | null;
  age: number | null;
  personality: string;
  language: string | null;
  voice: string | null;
  greeting: string | null;
  is_public: Generated<number>;
  portrait_id: string | null;
  /** When the owner confirmed that whoever is shown agrees. */
  consent_at: number | null;
  /** In which words. */
  consent_statement: string | null;
  created_at: Time;
  updated_at: Time;
}
export type RoleRow = Selectable<RolesTable>;
export type NewRoleRow = Insertable<RolesTable>;

export interface PortraitsTable {
  id: string;
  mime: string;
  width: number;
  height: number;
  data: Uint8Array;
  created_at: Time;
}

export interface ConversationsTable {
  id: string;
  user_id: string;
  role_id: string | null;
  title: string | null;
  /** `active` or `ended` */
  status: string;
  started_at: Time;
  last_message_at: number | null;
  ended_at: number | null;
  deleted_at: number | null;
}
export type ConversationRow = Selectable<ConversationsTable>;

export interface MessagesTable {
  id: string;
  conversation_id: string;
  /** From 0, without gaps, within a conversation. */
  position: number;
  /** `user` or `ai` */
  speaker: string;
  text: string;
  /** The turn they belong to; AI-only turns (openings) have no user message. */
  turn_id: string;
  created_at: Time;
}
export type MessageRow = Selectable<MessagesTable>;

export interface SegmentsTable {
  id: string;
  conversation_id: string;
  transcript_text: string;
  audio_url: string | null;
  audio_duration_seconds: number | null;
  processed: Generated<number>;
  created_at: Time;
}
export type SegmentRow = Selectable<SegmentsTable>;
