import type { Kysely } from 'kysely';

/** What is set aside and not yet used, so that nobody pays for a process that died. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('reservations')
    .addColumn('id', 'text', (c) => c.notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('user_id', 'text', (c) => c.notNull().references('users.id').onDelete('cascade'))
    .addColumn('day', 'text', (c) => c.notNull())
    .addColumn('amount', 'bigint', (c) => c.notNull())
    .addColumn('holder', 'text', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('reservations_key', ['id', 'kind'])
    .execute();
  await db.schema
    .createIndex('reservations_by_user_id')
    .on('reservations')
    .columns(['user_id'])
    .execute();
  await db.schema
    .createIndex('conversations_by_deleted_at')
    .on('conversations')
    .columns(['deleted_at'])
    .execute();
}
