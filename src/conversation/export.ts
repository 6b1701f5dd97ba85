import type { ConversationRow, MessageRow } from '../store/schema.js';
import { oneLine } from '../store/text.js';

export interface Exported {
  readonly conversation: ConversationRow;
  readonly userName: string;
  /** Undefined: the conversation is with nobody in particular, or their role was deleted. */
  readonly role: { readonly id: string; readonly name: string } | undefined;
  /** In order. */
  readonly messages: AsyncIterable<MessageRow>;
}

/** What the AI is called where no role gives it a name. */
const nobody = 'AI';

/** A document for people; nothing that was said acts as Markdown in it. */
export async function* markdownOf(exported: Exported): AsyncGenerator<string> {
  const { conversation, userName, role, messages } = exported;
  const names = { user: inline(userName), ai: inline(role?.name ?? nobody) };
  yield `# ${inline(conversation.title ?? 'Conversation')}\n\n`;
  yield `- Between: ${names.user} and ${names.ai}\n`;
  yield `- Started: ${iso(conversation.started_at)}\n`;
  if (conversation.ended_at !== null) yield `- Ended: ${iso(conversation.ended_at)}\n`;
  yield `- Conversation: ${inline(conversation.id)}\n`;
  for await (const { speaker, text, created_at } of messages) {
    const name = speaker === 'user' ? names.user : names.ai;
    yield `\n---\n\n**${name}** · ${iso(created_at)}\n\n${block(text)}\n`;
  }
}

export async function* jsonOf(exported: Exported): AsyncGenerator<string> {
  const { conversation, userName, role, messages } = exported;
  const head = JSON.stringify({
    conversation: conversationJson(conversation),
    user: { name: userName },
    role: role === undefined ? null : { role_id: role.id, name: role.name },
    exported_at: iso(Date.now()),
  });
  yield `${head.slice(0, -1)},"messages":[`;
  let separator = '\n';
  for await (const message of messages) {
    yield separator + JSON.stringify(messageJson(message));
    separator = ',\n';
  }
  yield '\n]}\n';
}

export function conversationJson(row: ConversationRow) {
  return {
    conversation_id: row.id,
    title: row.title,
    role_id: row.role_id,
    status: row.status,
    started_at: iso(row.started_at),
    last_message_at: row.last_message_at === null ? null : iso(row.last_message_at),
    ended_at: row.ended_at === null ? null : iso(row.ended_at),
  };
}

export function messageJson(row: MessageRow) {
  return {
    message_id: row.id,
    position: row.position,
    speaker: row.speaker,
    text: row.text,
    turn_id: row.turn_id,
    created_at: iso(row.created_at),
  };
}

function iso(time: number): string {
  return new Date(time).toISOString();
}

/** Paragraphs and line breaks stay as they were typed. */
function block(text: string): string {
  const lines = text.split(/\r\n|[\n\r\u2028\u2029]/).map(escapeLine);
  return lines
    .map((line, i) => (line !== '' && (lines[i + 1] ?? '') !== '' ? `${line}\\` : line))
    .join('\n')
    .replace(/^\n+|\n+$/g, '');
}

function escapeLine(line: string): string {
  const visible = line.replace(/(?!\t)\p{Cc}/gu, '').trimEnd();
  const text = visible.trimStart();
  // Blanks in front would vanish, or make code of the line.
  const indent = visible.slice(0, visible.length - text.length).replace(/./gu, '\u00a0');
  return (
    indent +
    text
      .replace(/[\\`*_[\]<>&~|$]/g, '\\$&')
      .replace(/^[#+=-]/, '\\$&')
      .replace(/^(\d{1,9})([.)])/, '$1\\$2')
  );
}

function inline(text: string): string {
  return escapeLine(oneLine(text));
}
