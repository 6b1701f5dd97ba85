import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { Accounts } from '../account/accounts.js';
import { bearerUser, requireUser } from '../account/guard.js';
import {
  failures,
  emptyAnswer,
  fileAnswer,
  loginFailures,
  messageAnswer,
  tokenFailures,
  pageOf,
  who,
} from '../answers.js';
import { CodedError } from '../errors.js';
import type { User } from '../store/schema.js';
import type { TempFileStore } from '../tempfile/store.js';
import {
  type ChangedRole,
  type Role as RoleAnswer,
  changedRole,
  newRole,
  roleAnswer,
  roleSearch,
  rolesAnswer,
} from './http-schema.js';
import { type Portrait, portraitOf } from './portrait.js';
import type { Role, RoleFields, Roles, Viewer } from './roles.js';

export interface RoleRoutesOptions {
  readonly roles: Roles;
  readonly accounts: Accounts;
  /** Where uploaded pictures lie. */
  readonly files: TempFileStore;
}

const tags = ['roles'];
const picture = fileAnswer('the picture', ['image/jpeg', 'image/png', 'image/webp']);
/** What may be wrong with a picture that was uploaded before. */
const portraitFailures = [
  'CONSENT_REQUIRED',
  'FILE_NOT_FOUND',
  'FILE_TYPE_UNSUPPORTED',
  'IMAGE_UNREADABLE',
  'IMAGE_TOO_SMALL',
  'IMAGE_TOO_LARGE',
  'STORAGE_UNAVAILABLE',
] as const;
const idParameter = Type.Object({ id: Type.String({ maxLength: 200 }) });

export const roleRoutes: FastifyPluginAsyncTypebox<RoleRoutesOptions> = async (
  app,
  { roles, accounts, files },
) => {
  const json = (role: Role, viewer: Viewer | undefined) => roleJson(roles, role, viewer);

  app.get(
    '/',
    {
      schema: {
        tags,
        summary: "Bundled and public roles, and one's own",
        security: who.anyone,
        querystring: roleSearch,
        response: { 200: rolesAnswer, ...failures(...loginFailures) },
      },
    },
    async (request) => {
      const { q, mine = false } = request.query;
      const { page, pageSize } = pageOf(request.query);
      const viewer = mine
        ? await requireUser(accounts, request)
        : await bearerUser(accounts, request);
      const found = await roles.list(viewer, { q, mine, page, pageSize });
      return {
        success: true as const,
        roles: found.roles.map((role) => json(role, viewer)),
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
        summary: 'Make a role',
        security: who.user,
        body: newRole,
        response: {
          201: roleAnswer,
          ...failures('TOO_MANY_ROLES', 'FORM_TOO_LARGE', ...portraitFailures, ...loginFailures),
        },
      },
    },
    async (request, reply) => {
      const owner = await requireUser(accounts, request);
      const { body } = request;
      const portrait = await newPortrait(files, owner, body);
      const role = await roles.create(
        owner,
        {
          name: body.name,
          personality: body.personality,
          gender: body.gender ?? null,
          age: body.age ?? null,
          language: body.language ?? null,
          voice: body.voice ?? null,
          greeting: body.greeting ?? null,
          isPublic: body.is_public ?? false,
        },
        portrait ?? undefined,
        body.consent_statement,
      );
      request.log.info({ role: role.id, user: owner.id }, 'role created');
      return reply.code(201).send({ success: true as const, role: json(role, owner) });
    },
  );

  app.get(
    '/:id',
    {
      schema: {
        tags,
        summary: 'One role',
        security: who.anyone,
        params: idParameter,
        response: { 200: roleAnswer, ...failures('ROLE_NOT_FOUND', ...tokenFailures) },
      },
    },
    async (request) => {
      const viewer = await bearerUser(accounts, request);
      const role = await roles.find(request.params.id, viewer);
      return { success: true as const, role: json(role, viewer) };
    },
  );

  app.patch(
    '/:id',
    {
      schema: {
        tags,
        summary: 'Change a role; null clears a field',
        security: who.user,
        params: idParameter,
        body: changedRole,
        response: {
          200: roleAnswer,
          ...failures(
            'FORBIDDEN',
            'ROLE_NOT_FOUND',
            'FORM_TOO_LARGE',
            ...portraitFailures,
            ...loginFailures,
          ),
        },
      },
    },
    async (request) => {
      const owner = await requireUser(accounts, request);
      const { id } = await roles.owned(request.params.id, owner);
      const { body } = request;
      const portrait = await newPortrait(files, owner, body);
      const changes = changesOf(body);
      const role = await roles.update(id, owner, changes, portrait, body.consent_statement);
      return { success: true as const, role: json(role, owner) };
    },
  );

  app.delete(
    '/:id',
    {
      schema: {
        tags,
        summary: 'Delete a role and its portrait',
        security: who.user,
        params: idParameter,
        response: {
          200: messageAnswer,
          ...failures('FORBIDDEN', 'ROLE_NOT_FOUND', ...loginFailures),
        },
      },
    },
    async (request) => {
      const owner = await requireUser(accounts, request);
      await roles.remove(request.params.id, owner);
      request.log.info({ role: request.params.id, user: owner.id }, 'role deleted');
      return { success: true as const, message: 'the role and its portrait were deleted' };
    },
  );

  app.get(
    '/portraits/:id',
    {
      schema: {
        tags,
        summary: 'The picture of a role',
        description: 'An id always names the same picture: keep it.',
        params: idParameter,
        response: {
          200: picture,
          304: emptyAnswer('the picture is the one of if-none-match'),
          ...failures('NOT_FOUND', 'DATABASE_UNAVAILABLE'),
        },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const etag = `"${id}"`;
      const isKnown = knows(request.headers['if-none-match'], etag);
      const portrait = isKnown ? undefined : await roles.portraitById(id);
      if (isKnown ? !(await roles.hasPortrait(id)) : portrait === undefined) {
        throw new CodedError(
          'NOT_FOUND',
          'there is no such portrait; its role may show another now',
        );
      }
      // An id always names the same picture.
      reply.headers({
        etag,
        'cache-control': 'private, max-age=31536000, immutable',
        'x-content-type-options': 'nosniff',
      });
      if (portrait === undefined) return reply.code(304).send();
      return reply.type(portrait.mime).send(Buffer.from(portrait.data));
    },
  );
};

/** The uploaded picture, null where the old one is to go, undefined where nothing is said of it. */
async function newPortrait(
  files: TempFileStore,
  owner: User,
  { image_id: imageId, consent }: Pick<ChangedRole, 'image_id' | 'consent'>,
): Promise<Portrait | null | undefined> {
  if (imageId === undefined || imageId === null) return imageId;
  if (consent !== true) {
    throw new CodedError(
      'CONSENT_REQUIRED',
      'a portrait needs "consent": true, which says that whoever it shows agrees to this use',
    );
  }
  return portraitOf(files, imageId, owner);
}

function changesOf(body: ChangedRole): Partial<RoleFields> {
  const { is_public, image_id: _image, consent: _consent, ...rest } = body;
  const { consent_statement: _statement, ...fields } = rest;
  return { ...fields, ...(is_public === undefined ? {} : { isPublic: is_public }) };
}

function roleJson(roles: Roles, role: Role, viewer: Viewer | undefined): RoleAnswer {
  const isMine = viewer !== undefined && role.owner_id === viewer.id;
  const { consent_at: at, consent_statement: statement } = role;
  return {
    role_id: role.id,
    name: role.name,
    gender: role.gender,
    age: role.age,
    personality: role.personality,
    language: role.language,
    voice: role.voice,
    greeting: role.greeting,
    is_public: role.is_public === 1,
    is_bundled: role.owner_id === null,
    is_mine: isMine,
    image_url: roles.imageUrl(role) || null,
    // Only an owner gives portraits.
    consent:
      isMine && at !== null
        ? { at: new Date(at).toISOString(), by: viewer.id, statement: statement ?? '' }
        : null,
    created_at: new Date(role.created_at).toISOString(),
  };
}

function knows(ifNoneMatch: string | undefined, etag: string): boolean {
  const known = (ifNoneMatch ?? '').split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  return known.includes(etag) || known.includes('*');
}
