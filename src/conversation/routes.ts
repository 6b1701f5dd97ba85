import { Readable } from 'node:stream';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import * as contentDisposition from 'content-disposition';
import { Type } from 'typebox';
import type { Accounts } from '../account/accounts.js';
import { requireUser } from '../account/guard.js';
import { failures, fileAnswer, loginFailures, messageAnswer, pageOf, who } from '../answers.js';
import { codeOf } from '../errors.js';
import type { Roles } from '../role/roles.js';
import type { MessageRow, User } from '../store/schema.js';
import { oneLine } from '../store/text.js';
import type { Conversations } from './conversations.js';
import { type Exported, conversationJson, jsonOf, markdownOf, messageJson } from './export.js';
import {
  conversationAnswer,
  conversationSearch,
  conversationsAnswer,
  exportFormat,
  exportedConversation,
  messageRange,
  messagesAnswer,
  newConversation,
  renaming,
} from './http-schema.js';

export interface ConversationRoutesOptions {
  readonly conversations: Conversations;
  readonly roles: Roles;
  readonly accounts: Accounts;
}

const tags = ['conversations'];
/** One's own, by id. */
const foundFailures = ['FORBIDDEN', 'CONVERSATION_NOT_FOUND', ...loginFailures] as const;
const exportedAtOnce = 500;
const idParameter = Type.Object({ id: Type.String({ maxLength: 200 }) });

export const conversationRoutes: FastifyPluginAsyncTypebox<ConversationRoutesOptions> = async (
  app,
  { conversations, roles, accounts },
) => {
  app.get(
    '/',
    {
      schema: {
        tags,
        summary: "One's own conversations, the latest first",
        security: who.user,
        querystring: conversationSearch,
        response: { 200: conversationsAnswer, ...failures(...loginFailures) },
      },
    },
    async (request) => {
      const user = await requireUser(accounts, request);
      const { q, status } = request.query;
      const { page, pageSize } = pageOf(request.query);
      const found = await conversations.list(user, { q, status, page, pageSize });
      return {
        success: true as const,
        conversations: found.conversations.map(conversationJson),
        page,
        page_size: pageSize,
        total: found.total,
      };
    },
  );

  app.post(
    '/',
    {
      schema: {
        tags,
        summary: 'Begin a conversation',
        security: who.user,
        body: newConversation,
        response: {
          201: conversationAnswer,
          ...failures(
            'ROLE_NOT_FOUND',
            'CONVERSATION_EXISTS',
            'CONVERSATION_DELETED',
            'TOO_MANY_CONVERSATIONS',
            'FORM_TOO_LARGE',
            ...loginFailures,
          ),
        },
      },
    },
    async (request, reply) => {
      const user = await requireUser(accounts, request);
      const { id, title, role_id } = request.body;
      const roleId = role_id === undefined ? undefined : (await roles.find(role_id, user)).id;
      const row = await conversations.create(user, { id, title, roleId });
      return reply.code(201).send({ success: true as const, conversation: conversationJson(row) });
    },
  );

  app.get(
    '/:id',
    {
      schema: {
        tags,
        summary: 'One conversation',
        security: who.user,
        params: idParameter,
        response: { 200: conversationAnswer, ...failures(...foundFailures) },
      },
    },
    async (request) => {
      const user = await requireUser(accounts, request);
      const row = await conversations.find(request.params.id, user);
      return { success: true as const, conversation: conversationJson(row) };
    },
  );

  app.patch(
    '/:id',
    {
      schema: {
        tags,
        summary: 'Give a conversation a title',
        security: who.user,
        params: idParameter,
        body: renaming,
        response: { 200: conversationAnswer, ...failures('FORM_TOO_LARGE', ...foundFailures) },
      },
    },
    async (request) => {
      const user = await requireUser(accounts, request);
      const row = await conversations.rename(request.params.id, user, request.body.title);
      return { success: true as const, conversation: conversationJson(row) };
    },
  );

  app.delete(
    '/:id',
    {
      schema: {
        tags,
        summary: 'Delete a conversation',
        security: who.user,
        params: idParameter,
        response: { 200: messageAnswer, ...failures(...foundFailures) },
      },
    },
    async (request) => {
      const user = await requireUser(accounts, request);
      await conversations.remove(request.params.id, user);
      return { success: true as const, message: 'the conversation was deleted' };
    },
  );

  app.get(
    '/:id/messages',
    {
      schema: {
        tags,
        summary: 'What was said, a page of it',
        description:
          'Positions are exclusive; without after the last messages before before are meant.',
        security: who.user,
        params: idParameter,
        querystring: messageRange,
        response: { 200: messagesAnswer, ...failures(...foundFailures) },
      },
    },
    async (request) => {
      const user = await requireUser(accounts, request);
      const { id } = await conversations.find(request.params.id, user);
      const { before, after, limit = 50 } = request.query;
      const messages = await conversations.messages(id, { before, after, limit });
      const total = await conversations.messageCount(id);
      const start = messages[0]?.position ?? Math.min((after ?? -1) + 1, total);
      const end = start + messages.length;
      return {
        success: true as const,
        messages: messages.map(messageJson),
        total,
        // Pages are asked for by the position at the edge of this one.
        has_before: start > 0,
        has_after: end < total,
      };
    },
  );

  app.get(
    '/:id/export',
    {
      schema: {
        tags,
        summary: 'The whole conversation as a document',
        security: who.user,
        params: idParameter,
        querystring: exportFormat,
        response: {
          200: fileAnswer('the document', ['text/markdown'], exportedConversation),
          ...failures(...foundFailures),
        },
      },
    },
    async (request, reply) => {
      const user = await requireUser(accounts, request);
      const conversation = await conversations.find(request.params.id, user);
      const exported: Exported = {
        conversation,
        userName: user.nickname ?? user.display_name,
        role: await roleOf(roles, conversation.role_id, user),
        messages: everything(conversations, conversation.id),
      };
      const isJson = request.query.format === 'json';
      const name = `${fileName(conversation.title)}.${isJson ? 'json' : 'md'}`;
      return reply
        .headers({
          'content-disposition': contentDisposition.create(name),
          'cache-control': 'private, no-store',
          'x-content-type-options': 'nosniff',
        })
        .type(isJson ? 'application/json; charset=utf-8' : 'text/markdown; charset=utf-8')
        .send(Readable.from(isJson ? jsonOf(exported) : markdownOf(exported)));
    },
  );
};

/** The role by name, unless it was deleted or is private again. */
async function roleOf(roles: Roles, id: string | null, user: User): Promise<Exported['role']> {
  if (id === null) return undefined;
  try {
    return await roles.find(id, user);
  } catch (error) {
    if (codeOf(error) === 'ROLE_NOT_FOUND') return undefined;
    throw error;
  }
}

/** Page by page, so that a long conversation needs no more memory than a short one. */
async function* everything(conversations: Conversations, id: string): AsyncGenerator<MessageRow> {
  for (let after = -1; ;) {
    const page = await conversations.messages(id, { after, limit: exportedAtOnce });
    yield* page;
    const last = page.at(-1);
    if (last === undefined || page.length < exportedAtOnce) return;
    after = last.position;
  }
}

function fileName(title: string | null): string {
  const name = oneLine((title ?? '').replace(/[/\\:*?"<>|]/g, ' '));
  return [...name].slice(0, 80).join('').replace(/^\.+/, '').trim() || 'conversation';
}
