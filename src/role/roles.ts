import { randomUUID } from 'node:crypto';
import type { ExpressionBuilder, Kysely } from 'kysely';
import type { Config } from '../config.js';
import type { Character } from '../dialogue/dialogue.js';
import { CodedError } from '../errors.js';
import type { Log } from '../log.js';
import type { Database, PortraitsTable, RoleRow } from '../store/schema.js';
import { contains, oneLine } from '../store/text.js';
import { toStorableText } from '../store/values.js';
import { bundledRoles, updateBundledRoles } from './bundled.js';
import { insertPortrait, removePortrait } from './portraits.js';
import type { Portrait } from './portrait.js';

export type Role = RoleRow;

/** Who looks; undefined is someone without an account. */
export interface Viewer {
  readonly id: string;
}

/** What an owner writes into a role. */
export interface RoleFields {
  readonly name: string;
  readonly gender: string | null;
  readonly age: number | null;
  readonly personality: string;
  /** BCP 47 */
  readonly language: string | null;
  /** A voice of the configured speech provider. */
  readonly voice: string | null;
  readonly greeting: string | null;
  readonly isPublic: boolean;
}

export interface RoleSearch {
  /** Looked for in name and personality. */
  readonly q?: string | undefined;
  readonly mine?: boolean | undefined;
  /** From 1. */
  readonly page: number;
  readonly pageSize: number;
}

/** What an owner says with `"consent": true`, unless in words of their own. */
export const consentStatement = 'Whoever the picture shows agrees to be animated by this server.';

const rolesPerOwner = 200;
const idPattern = /^[A-Za-z0-9._:-]{1,128}$/;

/** The people one can talk to: bundled ones, public ones, and everyone's own. */
export class Roles {
  readonly #db: Kysely<Database>;
  readonly #config: Config;
  readonly #log: Log;

  constructor(db: Kysely<Database>, config: Config, log: Log) {
    this.#db = db;
    this.#config = config;
    this.#log = log;
  }

  /** Brings the bundled roles in the database up to date; every process may do so at its start. */
  async open(): Promise<void> {
    if (await updateBundledRoles(this.#db, this.#log)) {
      this.#log.info('brought the bundled roles up to date');
    }
  }

  /** ROLE_NOT_FOUND also when it is private and not the viewer's. */
  async find(id: string, viewer?: Viewer): Promise<Role> {
    const role = idPattern.test(id)
      ? await this.#db
          .selectFrom('roles')
          .selectAll()
          .where('id', '=', id)
          .where((eb) => visibleTo(eb, viewer))
          .executeTakeFirst()
      : undefined;
    if (role === undefined) throw notFound();
    return role;
  }

  /** Whom one talks to without asking for anyone. */
  async standard(): Promise<Role> {
    return this.find(bundledRoles[0].id);
  }

  /** Bundled roles first, then the newest. */
  async list(
    viewer: Viewer | undefined,
    { q = '', mine = false, page, pageSize }: RoleSearch,
  ): Promise<{ roles: Role[]; total: number }> {
    const found = this.#db
      .selectFrom('roles')
      .where((eb) => (mine ? eb('owner_id', '=', viewer?.id ?? '') : visibleTo(eb, viewer)))
      .where((eb) =>
        q.trim() === ''
          ? eb.lit(true)
          : eb.or([contains(eb.ref('name'), q.trim()), contains(eb.ref('personality'), q.trim())]),
      );
    const { total } = await found
      .select((eb) => eb.fn.countAll().as('total'))
      .executeTakeFirstOrThrow();
    const roles = await found
      .selectAll()
      .orderBy((eb) => eb.case().when('owner_id', 'is', null).then(0).else(1).end())
      .orderBy('created_at', 'desc')
      .orderBy('id')
      .limit(pageSize)
      .offset((page - 1) * pageSize)
      .execute();
    return { roles, total: Number(total) };
  }

  /** A portrait may be given only when whoever is shown agrees: that is recorded with it. */
  async create(
    owner: Viewer,
    fields: RoleFields,
    portrait?: Portrait,
    statement = consentStatement,
  ): Promise<Role> {
    const { count } = await this.#db
      .selectFrom('roles')
      .select((eb) => eb.fn.countAll().as('count'))
      .where('owner_id', '=', owner.id)
      .executeTakeFirstOrThrow();
    if (Number(count) >= rolesPerOwner) {
      throw new CodedError(
        'TOO_MANY_ROLES',
        `an account has at most ${rolesPerOwner} roles: delete one first`,
      );
    }
    const now = Date.now();
    const columns = columnsOf(fields);
    return this.#db.transaction().execute(async (trx) => {
      if (portrait !== undefined) await insertPortrait(trx, portrait);
      return trx
        .insertInto('roles')
        .values({
          ...columns,
          id: randomUUID(),
          owner_id: owner.id,
          portrait_id: portrait?.id ?? null,
          consent_at: portrait === undefined ? null : now,
          consent_statement: portrait === undefined ? null : toStorableText(statement),
          created_at: now,
          updated_at: now,
        })
        .returningAll()
        .executeTakeFirstOrThrow();
    });
  }

  /** The role, when this is its owner; FORBIDDEN when others may see it but not change it. */
  async owned(id: string, owner: Viewer): Promise<Role> {
    const role = await this.find(id, owner);
    if (role.owner_id === owner.id) return role;
    throw new CodedError(
      'FORBIDDEN',
      role.owner_id === null
        ? `${role.name} comes with the server and cannot be changed: make a role of your own`
        : 'only its owner changes a role',
    );
  }

  /** Changes what is given; a portrait of null removes the one there is. */
  async update(
    id: string,
    owner: Viewer,
    changes: Partial<RoleFields>,
    portrait?: Portrait | null,
    statement = consentStatement,
  ): Promise<Role> {
    const role = await this.owned(id, owner);
    const columns = columnsOf({ ...fieldsOf(role), ...changes });
    const changed = Object.fromEntries(
      Object.entries(columns).filter(([key, value]) => role[key as keyof Role] !== value),
    );
    const now = Date.now();
    return this.#db.transaction().execute(async (trx) => {
      // The first write locks the row: of two new portraits at once, neither is left over.
      const old = await trx
        .updateTable('roles')
        .set({ ...changed, updated_at: now })
        .where('id', '=', id)
        .where('owner_id', '=', owner.id)
        .returningAll()
        .executeTakeFirst();
      if (old === undefined) throw notFound();
      if (portrait === undefined) return old;
      if (portrait !== null) await insertPortrait(trx, portrait);
      const updated = await trx
        .updateTable('roles')
        .set({
          portrait_id: portrait?.id ?? null,
          consent_at: portrait === null ? null : now,
          consent_statement: portrait === null ? null : toStorableText(statement),
        })
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirstOrThrow();
      await removePortrait(trx, old.portrait_id);
      return updated;
    });
  }

  async remove(id: string, owner: Viewer): Promise<void> {
    await this.owned(id, owner);
    await this.#db.transaction().execute(async (trx) => {
      const role = await trx
        .deleteFrom('roles')
        .where('id', '=', id)
        .where('owner_id', '=', owner.id)
        .returning('portrait_id')
        .executeTakeFirst();
      if (role === undefined) throw notFound();
      await removePortrait(trx, role.portrait_id);
    });
  }

  async portrait(
    role: Role,
  ): Promise<{ data: Uint8Array; mime: string; extension: string } | undefined> {
    if (role.portrait_id === null) return undefined;
    const found = await this.portraitById(role.portrait_id);
    return found === undefined
      ? undefined
      : { ...found, extension: found.mime === 'image/png' ? 'png' : 'jpg' };
  }

  /** A picture by its unguessable id; undefined when its role has gone or shows another. */
  async portraitById(id: string): Promise<Pick<PortraitsTable, 'data' | 'mime'> | undefined> {
    if (!idPattern.test(id)) return undefined;
    return this.#db
      .selectFrom('portraits')
      .select(['data', 'mime'])
      .where('id', '=', id)
      .executeTakeFirst();
  }

  async hasPortrait(id: string): Promise<boolean> {
    if (!idPattern.test(id)) return false;
    const found = await this.#db
      .selectFrom('portraits')
      .select('id')
      .where('id', '=', id)
      .executeTakeFirst();
    return found !== undefined;
  }

  /** Where a browser gets the portrait without a token; empty for a role that has none. */
  imageUrl(role: Role): string {
    return role.portrait_id === null
      ? ''
      : `${this.#config.clientUrl}/api/roles/portraits/${role.portrait_id}`;
  }
}

/** What shapes the answers of a role. */
export function characterOf(role: Role): Character {
  return {
    name: role.name,
    personality: role.personality,
    gender: role.gender ?? undefined,
    age: role.age ?? undefined,
    language: role.language ?? undefined,
  };
}

function visibleTo(eb: ExpressionBuilder<Database, 'roles'>, viewer: Viewer | undefined) {
  const open = [eb('owner_id', 'is', null), eb('is_public', '=', 1)];
  return eb.or(viewer === undefined ? open : [...open, eb('owner_id', '=', viewer.id)]);
}

function fieldsOf(role: Role): RoleFields {
  return { ...role, isPublic: role.is_public === 1 };
}

function columnsOf(fields: RoleFields) {
  const name = oneLine(fields.name);
  if (name === '') throw new CodedError('BAD_REQUEST', 'the name of a role has no letters');
  return {
    name,
    gender: fields.gender === null ? null : oneLine(fields.gender) || null,
    age: fields.age,
    personality: toStorableText(fields.personality).trim(),
    language: fields.language === null ? null : languageTag(fields.language),
    voice: fields.voice,
    greeting: fields.greeting === null ? null : toStorableText(fields.greeting).trim() || null,
    is_public: fields.isPublic ? 1 : 0,
  };
}

function languageTag(text: string): string {
  try {
    const [tag = ''] = Intl.getCanonicalLocales(text);
    // A name such as "English" has the form of a tag that nobody registered.
    if (/^[a-z]{2,3}(-|$)/.test(tag)) return tag;
  } catch {
    // Said below.
  }
  throw new CodedError(
    'BAD_REQUEST',
    `language is a BCP 47 tag such as en, de-AT or zh-Hans, not ${JSON.stringify(text)}`,
  );
}

function notFound(): CodedError {
  return new CodedError('ROLE_NOT_FOUND', 'there is no such role, or it is private');
}
