import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Kysely } from 'kysely';
import t from 'tap';
import { createLog } from '../../src/log.js';
import { bundledRoles, updateBundledRoles } from '../../src/role/bundled.js';
import type { Portrait } from '../../src/role/portrait.js';
import { type RoleFields, Roles, characterOf } from '../../src/role/roles.js';
import type { Database } from '../../src/store/schema.js';
import { temporaryFolder } from '../helpers/app.js';
import { signIn } from '../helpers/account.js';
import { type TestDatabase, onBoth } from '../helpers/database.js';
import { refusal } from '../helpers/media.js';
import { picture } from '../helpers/samples.js';

const log = createLog('silent');

const fields = (more: Partial<RoleFields> = {}): RoleFields => ({
  name: 'Ada',
  gender: null,
  age: null,
  personality: 'precise',
  language: null,
  voice: null,
  greeting: null,
  isPublic: false,
  ...more,
});

const portrait = async (side = 64): Promise<Portrait> => ({
  id: randomUUID(),
  mime: 'image/png',
  width: side,
  height: side,
  data: await picture(side, side),
});

async function open(database: TestDatabase) {
  const db = await database.open();
  const roles = new Roles(db, database.config({ PUBLIC_BASE_URL: 'https://talk.example' }), log);
  await roles.open();
  const person = async (name = 'somebody') =>
    (await signIn(db, database.config(), { display_name: name })).user;
  return { db, roles, person };
}

const portraits = async (db: Kysely<Database>) =>
  (await db.selectFrom('portraits').select('id').orderBy('id').execute()).map(({ id }) => id);

t.test('a fresh server has two people to talk to', async (t) => {
  await onBoth(t, async (t, database) => {
    const { db, roles } = await open(database);
    const { roles: found, total } = await roles.list(undefined, { page: 1, pageSize: 10 });
    t.equal(total, 2);
    t.same(found.map(({ id }) => id).sort(), bundledRoles.map(({ id }) => id).sort());
    const standard = await roles.standard();
    t.equal(standard.id, bundledRoles[0].id);
    for (const role of found) {
      const shown = await roles.portrait(role);
      t.match(shown, { mime: 'image/png', extension: 'png' });
      t.same([...(shown?.data.subarray(0, 4) ?? [])], [0x89, 0x50, 0x4e, 0x47]);
      t.equal(roles.imageUrl(role), `https://talk.example/api/roles/portraits/${role.portrait_id}`);
      t.match(role, { language: 'en', voice: /^(slt|awb|rms|kal)$/, greeting: /\w/ });
    }
    t.match(characterOf(standard), { name: standard.name, personality: /\w/, language: 'en' });

    const before = await db.selectFrom('roles').selectAll().orderBy('id').execute();
    await Promise.all([roles.open(), new Roles(db, database.config(), log).open()]);
    const after = await db.selectFrom('roles').selectAll().orderBy('id').execute();
    t.same(after, before, 'another start changes nothing');
  });
});

t.test('bundled roles follow the bundle', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'new.png');
  await writeFile(path, await picture(80, 80));
  await onBoth(t, async (t, database) => {
    const { db, roles, person } = await open(database);
    const mine = await roles.create(await person(), fields(), await portrait());
    const [first, second] = bundledRoles as typeof bundledRoles & { 1: (typeof bundledRoles)[0] };
    t.notOk(await updateBundledRoles(db, log));
    const old = await roles.find(first.id);

    const changed = { ...first, name: 'Clara the Second', portrait: path };
    t.ok(await updateBundledRoles(db, log, [changed]));
    t.match(await roles.find(first.id), { name: 'Clara the Second', created_at: old.created_at });
    t.match(await refusal(roles.find(second.id)), { code: 'ROLE_NOT_FOUND' });
    const left = await portraits(db);
    t.equal(left.length, 2, 'portraits that no role shows are gone');
    t.ok(left.includes(String(mine.portrait_id)));

    t.ok(await updateBundledRoles(db, log, [{ ...first, portrait: join(folder, 'none.png') }]));
    const bare = await roles.find(first.id);
    t.equal(bare.portrait_id, null, 'a picture that is missing is no reason not to start');
    t.equal(roles.imageUrl(bare), '');
    t.equal(await roles.portrait(bare), undefined);

    await Promise.all([1, 2, 3].map(() => updateBundledRoles(db, log)));
    t.same((await roles.list(undefined, { page: 1, pageSize: 9 })).total, 2);
    t.equal((await portraits(db)).length, 3);
  });
});

t.test('who sees and who changes which role', async (t) => {
  await onBoth(t, async (t, database) => {
    const { roles, person } = await open(database);
    const [owner, other] = [await person('owner'), await person('other')];
    const open_ = await roles.create(owner, fields({ name: 'Open', isPublic: true }));
    const hidden = await roles.create(owner, fields({ name: 'Hidden' }));
    const bundled = await roles.standard();

    for (const [role, viewers] of [
      [open_, { owner: true, other: true, nobody: true }],
      [hidden, { owner: true, other: false, nobody: false }],
      [bundled, { owner: true, other: true, nobody: true }],
    ] as const) {
      for (const [who, viewer] of Object.entries({ owner, other, nobody: undefined })) {
        const sees = viewers[who as keyof typeof viewers];
        const { code } = await refusal(roles.find(role.id, viewer));
        t.equal(code, sees ? 'accepted' : 'ROLE_NOT_FOUND', `${who} looks at ${role.name}`);
        const { roles: listed } = await roles.list(viewer, { page: 1, pageSize: 100 });
        t.equal(
          listed.some(({ id }) => id === role.id),
          sees,
          `${who} lists ${role.name}`,
        );
      }
    }
    const changes = { name: 'Changed' };
    for (const [role, by, code] of [
      [open_, other, 'FORBIDDEN'],
      [hidden, other, 'ROLE_NOT_FOUND'],
      [bundled, other, 'FORBIDDEN'],
      [bundled, owner, 'FORBIDDEN'],
    ] as const) {
      t.match(await refusal(roles.update(role.id, by, changes)), { code });
      t.match(await refusal(roles.update(role.id, by, {}, await portrait())), { code });
      t.match(await refusal(roles.remove(role.id, by)), { code });
    }
    t.equal((await roles.update(hidden.id, owner, changes)).name, 'Changed');
    t.equal((await roles.find(open_.id)).name, 'Open');
    for (const id of ['', ' ', 'a/b', "' or 1=1 --", '\0', 'x'.repeat(500)]) {
      t.match(await refusal(roles.find(id, owner)), { code: 'ROLE_NOT_FOUND' }, JSON.stringify(id));
    }
    t.same(
      (await roles.list(owner, { mine: true, page: 1, pageSize: 9 })).roles
        .map(({ id }) => id)
        .sort(),
      [open_.id, hidden.id].sort(),
    );
    t.equal((await roles.list(undefined, { mine: true, page: 1, pageSize: 9 })).total, 0);
  });
});

t.test('search and paging', async (t) => {
  await onBoth(t, async (t, database) => {
    const { roles, person } = await open(database);
    const owner = await person();
    for (const [name, personality] of [
      ['Émile Zola', 'writes long novels'],
      ['张伟', '喜欢下棋'],
      ['100%_sure', 'back\\slash'],
      ['Plain', 'knows ÉMILE well'],
    ] as const) {
      await roles.create(owner, fields({ name, personality }));
    }
    const find = async (q: string) => {
      const { roles: found } = await roles.list(owner, { q, mine: true, page: 1, pageSize: 9 });
      return found.map(({ name }) => name).sort();
    };
    t.same(await find('LONG novels'), ['Émile Zola']);
    t.same(await find('émile'), ['Plain', 'Émile Zola']);
    t.same(await find('ÉMILE'), ['Plain', 'Émile Zola']);
    t.same(await find('张'), ['张伟']);
    t.same(await find('下棋'), ['张伟']);
    t.same(await find('%'), ['100%_sure'], 'no pattern');
    t.same(await find('_'), ['100%_sure'], 'no pattern');
    t.same(await find('\\'), ['100%_sure'], 'no escape');
    t.same(await find("' or '1'='1"), []);
    t.same(await find('  plain '), ['Plain']);
    t.same(await find('\0plain\ud800'), []);
    t.equal((await find(' ')).length, 4);

    const pages = [];
    for (const page of [1, 2, 3, 4]) {
      const { roles: found, total } = await roles.list(owner, { page, pageSize: 2 });
      t.equal(total, 6);
      pages.push(found);
    }
    t.same(
      pages.map((page) => page.length),
      [2, 2, 2, 0],
    );
    t.ok(
      pages[0]?.every(({ owner_id }) => owner_id === null),
      'bundled first',
    );
    t.equal(new Set(pages.flat().map(({ id }) => id)).size, 6);
  });
});

t.test('fields are kept as they were meant', async (t) => {
  await onBoth(t, async (t, database) => {
    const { roles, person } = await open(database);
    const owner = await person();
    const role = await roles.create(
      owner,
      fields({
        name: '  Ada\n\tLovelace\0 ',
        personality: 'line one\nline two\0',
        language: 'zh-hans-cn',
        gender: ' ',
        greeting: '',
        age: 36,
        voice: 'longxiaochun',
      }),
    );
    const expected = {
      name: 'Ada Lovelace',
      personality: 'line one\nline two',
      language: 'zh-Hans-CN',
      gender: null,
      greeting: null,
      age: 36,
      voice: 'longxiaochun',
      is_public: 0,
      consent_at: null,
    };
    t.match(role, expected);
    t.match(await roles.find(role.id, owner), expected);
    t.same(characterOf(role), {
      name: 'Ada Lovelace',
      personality: 'line one\nline two',
      gender: undefined,
      age: 36,
      language: 'zh-Hans-CN',
    });
    const changed = await roles.update(role.id, owner, { age: null, isPublic: true });
    t.match(changed, { ...expected, age: null, is_public: 1 });
    t.match(await roles.find(role.id), { ...expected, age: null, is_public: 1 });
    for (const wrong of [{ name: ' \0\u0007' }, { language: 'English' }, { language: 'de_AT' }]) {
      t.match(await refusal(roles.update(role.id, owner, wrong)), { code: 'BAD_REQUEST' });
      t.match(await refusal(roles.create(owner, fields(wrong))), { code: 'BAD_REQUEST' });
    }
    for (let i = 1; i < 200; i++) await roles.create(owner, fields());
    t.match(await refusal(roles.create(owner, fields())), {
      code: 'TOO_MANY_ROLES',
      message: /200/,
    });
  });
});

t.test('a portrait lives as long as its role shows it', async (t) => {
  await onBoth(t, async (t, database) => {
    const { db, roles, person } = await open(database);
    const owner = await person();
    const bundled = await portraits(db);
    const others = async () => (await portraits(db)).filter((id) => !bundled.includes(id));

    const [first, second] = [await portrait(), await portrait(70)];
    const role = await roles.create(owner, fields({ isPublic: true }), first);
    t.ok(role.consent_at !== null && role.consent_at <= Date.now(), 'consent is recorded');
    t.same(await roles.portrait(role), {
      data: Buffer.from(first.data),
      mime: 'image/png',
      extension: 'png',
    });
    t.same(await others(), [first.id]);

    const shown = await roles.update(role.id, owner, { name: 'Grace' }, second);
    t.match(shown, { name: 'Grace', portrait_id: second.id });
    t.same(await others(), [second.id], 'the old portrait is gone');
    t.equal(await roles.portraitById(first.id), undefined);
    t.notOk(await roles.hasPortrait(first.id));
    t.ok(await roles.hasPortrait(second.id));

    const many = await Promise.all([1, 2, 3, 4, 5].map(() => portrait()));
    await Promise.all(many.map((one) => roles.update(role.id, owner, {}, one)));
    const last = await roles.find(role.id);
    t.same(await others(), [last.portrait_id], 'of portraits at once the last one remains');

    const without = await roles.update(role.id, owner, {}, null);
    t.match(without, { portrait_id: null, consent_at: null, consent_statement: null });
    t.same(await others(), []);

    await roles.update(role.id, owner, {}, await portrait());
    await roles.remove(role.id, owner);
    t.same(await others(), []);
    t.match(await refusal(roles.find(role.id, owner)), { code: 'ROLE_NOT_FOUND' });
    t.match(await refusal(roles.remove(role.id, owner)), { code: 'ROLE_NOT_FOUND' });
    for (const id of ['\0', '../x', '']) t.equal(await roles.portraitById(id), undefined);
  });
});
