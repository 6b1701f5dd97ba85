import type { Transaction } from 'kysely';
import type { Database } from '../store/schema.js';
import type { Portrait } from './portrait.js';

export async function insertPortrait(
  trx: Transaction<Database>,
  portrait: Portrait,
): Promise<void> {
  await trx
    .insertInto('portraits')
    .values({ ...portrait, created_at: Date.now() })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .execute();
}

export async function removePortrait(trx: Transaction<Database>, id: string | null): Promise<void> {
  if (id !== null) await trx.deleteFrom('portraits').where('id', '=', id).execute();
}
