import type { Kysely } from 'kysely';

/** The words in which a role's owner said that whoever its portrait shows agrees. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('roles').addColumn('consent_statement', 'text').execute();
  // Until now there was only one way to say it.
  await db
    .withTables<{ roles: { consent_at: number | null; consent_statement: string | null } }>()
    .updateTable('roles')
    .set({ consent_statement: 'Whoever the picture shows agrees to be animated by this server.' })
    .where('consent_at', 'is not', null)
    .execute();
}
