import { type Static, Type } from 'typebox';
import {
  isoTime,
  isoTimeOrNull,
  pageMembers,
  pageSearch,
  success,
  textOrNull,
} from '../answers.js';

/** Ids that clients choose. */
export const conversationIdPattern = '^[A-Za-z0-9._:-]{1,128}$';

const maxPosition = 2 ** 31 - 1;
const title = Type.String({ minLength: 1, maxLength: 200 });
const position = Type.Integer({ minimum: -1, maximum: maxPosition });

export const conversationSearch = Type.Object({
  q: Type.Optional(Type.String({ maxLength: 200 })),
  status: Type.Optional(Type.Enum(['active', 'ended'])),
  ...pageSearch,
});
export const newConversation = Type.Object(
  {
    id: Type.Optional(Type.String({ pattern: conversationIdPattern })),
    title: Type.Optional(title),
    role_id: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
  },
  { additionalProperties: false },
);
export const renaming = Type.Object({ title }, { additionalProperties: false });
export const messageRange = Type.Object({
  before: Type.Optional(position),
  after: Type.Optional(position),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200 })),
});
export const exportFormat = Type.Object({
  format: Type.Optional(Type.Enum(['markdown', 'json'])),
});

export const conversation = Type.Object({
  conversation_id: Type.String(),
  title: textOrNull,
  role_id: textOrNull,
  status: Type.String({ description: '"active" or "ended"' }),
  started_at: isoTime,
  last_message_at: isoTimeOrNull,
  ended_at: isoTimeOrNull,
});
export const message = Type.Object({
  message_id: Type.String(),
  position: Type.Integer({ description: 'from 0, without gaps' }),
  speaker: Type.String({ description: '"user" or "ai"' }),
  text: Type.String(),
  turn_id: Type.String(),
  created_at: isoTime,
});
/** As a document for programs. */
export const exportedConversation = Type.Object({
  conversation,
  user: Type.Object({ name: Type.String() }),
  role: Type.Union([Type.Object({ role_id: Type.String(), name: Type.String() }), Type.Null()]),
  exported_at: isoTime,
  messages: Type.Array(message),
});
export const conversationAnswer = Type.Object({ success, conversation });
export const conversationsAnswer = Type.Object({
  success,
  conversations: Type.Array(conversation),
  ...pageMembers,
});
export const messagesAnswer = Type.Object({
  success,
  messages: Type.Array(message),
  total: Type.Integer(),
  has_before: Type.Boolean(),
  has_after: Type.Boolean(),
});

export type Conversation = Static<typeof conversation>;
export type Message = Static<typeof message>;
export type ConversationSearch = Static<typeof conversationSearch>;
export type NewConversation = Static<typeof newConversation>;
export type MessageRange = Static<typeof messageRange>;
export type ConversationsAnswer = Static<typeof conversationsAnswer>;
export type MessagesAnswer = Static<typeof messagesAnswer>;
