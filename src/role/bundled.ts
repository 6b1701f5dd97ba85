import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Kysely, Transaction } from 'kysely';
import type { Log } from '../log.js';
import { projectRoot } from '../paths.js';
import type { Database, NewRoleRow } from '../store/schema.js';
import { type Portrait, bundledPortrait, bundledPortraitId, bundledPrefix } from './portrait.js';
import { insertPortrait } from './portraits.js';

export interface BundledRole {
  readonly id: string;
  readonly name: string;
  readonly gender: string;
  readonly age: number;
  readonly personality: string;
  readonly language: string;
  readonly voice: string;
  readonly greeting: string;
  /** Path of the picture. */
  readonly portrait: string;
}

const sample = (name: string) => join(projectRoot, 'weights', 'bundled', 'samples', name);

/** Someone to talk to on a fresh server; both people are drawn. The first is the standard role. */
export const bundledRoles: readonly [BundledRole, ...BundledRole[]] = [
  {
    id: 'clara',
    name: 'Clara',
    gender: 'female',
    age: 36,
    personality:
      'Calm, attentive and practical. Listens first, asks one short question when something is ' +
      'unclear, and answers in plain words, in two or three sentences. Admits what she does not know.',
    language: 'en',
    voice: 'slt',
    greeting: 'Hello, I am Clara. What would you like to talk about?',
    portrait: sample('portrait.png'),
  },
  {
    id: 'maya',
    name: 'Maya',
    gender: 'female',
    age: 27,
    personality:
      'Curious, warm and quick to laugh. Loves stories of travel, food and music, likes to hear ' +
      'how things were back then, and encourages people to tell more.',
    language: 'en',
    voice: 'slt',
    greeting: 'Hi, I am Maya! Tell me, what was the best part of your day?',
    portrait: sample('portrait-2.png'),
  },
];

type Row = Omit<NewRoleRow, 'created_at' | 'updated_at'>;

/** Makes the database hold these roles and no other bundled ones; false when it already does. */
export async function updateBundledRoles(
  db: Kysely<Database>,
  log: Log,
  roles: readonly BundledRole[] = bundledRoles,
): Promise<boolean> {
  const rows = await Promise.all(roles.map((role) => rowOf(role, log)));
  const present = await db.selectFrom('roles').selectAll().where('owner_id', 'is', null).execute();
  const isCurrent = (row: Row): boolean => {
    const old = present.find(({ id }) => id === row.id) as Record<string, unknown> | undefined;
    return old !== undefined && Object.entries(row).every(([key, value]) => old[key] === value);
  };
  if (present.length === rows.length && rows.every(isCurrent)) return false;
  const portraits: Portrait[] = [];
  for (const [i, { portrait }] of roles.entries()) {
    if (rows[i]?.portrait_id !== null) portraits.push(await bundledPortrait(portrait));
  }
  await db.transaction().execute(async (trx) => {
    for (const portrait of portraits) await insertPortrait(trx, portrait);
    await replace(trx, rows);
  });
  return true;
}

async function rowOf(role: BundledRole, log: Log): Promise<Row> {
  const { portrait, ...fields } = role;
  const data = await readFile(portrait).catch((err: unknown) => {
    log.warn({ err, role: role.id }, 'the portrait of a bundled role is missing');
  });
  return {
    ...fields,
    owner_id: null,
    is_public: 1,
    ...{ consent_at: null, consent_statement: null },
    portrait_id: data === undefined ? null : bundledPortraitId(data),
  };
}

async function replace(trx: Transaction<Database>, rows: readonly Row[]): Promise<void> {
  const now = Date.now();
  for (const row of rows) {
    await trx
      .insertInto('roles')
      .values({ ...row, created_at: now, updated_at: now })
      .onConflict((conflict) => conflict.column('id').doUpdateSet({ ...row, updated_at: now }))
      .execute();
  }
  const ids = rows.map(({ id }) => id);
  await trx.deleteFrom('roles').where('owner_id', 'is', null).where('id', 'not in', ids).execute();
  await trx
    .deleteFrom('portraits')
    .where('id', 'like', `${bundledPrefix}%`)
    .where('id', 'not in', (eb) =>
      eb.selectFrom('roles').select('portrait_id').where('portrait_id', 'is not', null),
    )
    .execute();
}
