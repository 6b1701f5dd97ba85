import t from 'tap';
import { databases } from '../helpers/database.js';

void t.test('a fresh database has the tables, and opening it again changes nothing', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const db = await database.open();
      await db
        .insertInto('portraits')
        .values({
          id: 'p',
          mime: 'image/png',
          width: 2,
          height: 1,
          data: new Uint8Array([0, 1, 255]),
          created_at: 1795345392564,
        })
        .execute();
      const again = await database.open();
      const row = await again.selectFrom('portraits').selectAll().executeTakeFirstOrThrow();
      t.match(row, { id: 'p', width: 2, created_at: 1795345392564 });
      t.same(new Uint8Array(row.data), new Uint8Array([0, 1, 255]));
    });
  }
});
